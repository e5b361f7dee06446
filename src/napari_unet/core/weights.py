"""Boundary weight maps: pixels in narrow gaps between objects weigh more."""

from collections.abc import Iterator, Sequence
from functools import partial, reduce
from itertools import combinations, count, islice
from math import comb, inf, log, prod, sqrt

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import sparse

# A boundary term below this is written as 0, which bounds how far apart two objects can matter together.
_NEGLIGIBLE = 1e-6
# Elements of one working block: small enough to stay in the processor's cache through all shifts.
_BLOCK_SIZE = 1 << 17


def boundary_weights(
    labels: ArrayLike, *, w0: float = 10.0, sigma: float = 5.0, spacing: Sequence[float] | None = None
) -> NDArray[np.float32]:
    """Class balance plus boundary term: the weight map of the U-Net paper.

    ``w(x) = w_class(x) + w0 * exp(-(d1(x) + d2(x))**2 / (2 * sigma**2))``, where the second term is that of
    `separation_weights` and the first gives background and objects the same total: its mean is 1.

    Parameters
    ----------
    labels : array of int, any number of dimensions
        One value per object, 0 = background. Objects are taken as given: values need not be consecutive and
        an object need not be connected.
    w0 : float
        Height of the boundary term in a gap of no width.
    sigma : float
        Width of the boundary term, in units of the finest spacing.
    spacing : sequence of float, optional
        Size of a pixel along each dimension, in any one unit; equal sizes if absent.

    Returns
    -------
    array of float32, shape of `labels`

    Raises
    ------
    TypeError
        If the labels are not integers.
    ValueError
        If a label is negative, or `sigma`, `w0` or `spacing` makes no sense.

    References
    ----------
    Ronneberger, Fischer, Brox 2015, "U-Net: Convolutional Networks for Biomedical Image Segmentation".

    Examples
    --------
    >>> boundary_weights([1, 0, 2, 2, 2], sigma=2).round(2)
    array([0.62, 8.57, 0.62, 0.62, 0.62], dtype=float32)
    """
    labels = _as_labels(labels)
    return class_weights(labels) + separation_weights(labels, w0=w0, sigma=sigma, spacing=spacing)


def class_weights(labels: ArrayLike) -> NDArray[np.float32]:
    """Weight of each pixel that gives background and objects the same total; the mean is 1.

    Examples
    --------
    >>> class_weights([0, 0, 0, 7])
    array([0.6666667, 0.6666667, 0.6666667, 2.       ], dtype=float32)
    """
    objects = _as_labels(labels) != 0
    n_pixels = np.array([objects.size - np.count_nonzero(objects), np.count_nonzero(objects)])
    n_classes = np.count_nonzero(n_pixels)
    weights = objects.size / np.maximum(n_pixels * n_classes, 1)
    return np.where(objects, np.float32(weights[1]), np.float32(weights[0]))


def separation_weights(
    labels: ArrayLike, *, w0: float = 10.0, sigma: float = 5.0, spacing: Sequence[float] | None = None
) -> NDArray[np.float32]:
    """Boundary term alone: ``w0 * exp(-(d1 + d2)**2 / (2 * sigma**2))`` on background, 0 on objects.

    d1 and d2 are the distances to the nearest and to the second nearest object; with fewer than two objects
    the term is 0. Parameters and errors are those of `boundary_weights`; terms below 1e-6 are written as 0,
    which is the only difference from one distance map per object.

    Examples
    --------
    >>> separation_weights([3, 0, 0, 9, 0], sigma=2).round(2)
    array([0.  , 3.25, 3.25, 0.  , 0.44], dtype=float32)
    """
    labels = _as_labels(labels)
    if not (0 < sigma < inf and 0 <= w0 < inf):
        raise ValueError(f"w0 = {w0} and sigma = {sigma}: give a w0 of at least 0 and a sigma above 0.")
    steps = _steps(labels.ndim, spacing)
    if w0 <= _NEGLIGIBLE:
        return np.zeros(labels.shape, np.float32)
    nearest, second = two_nearest_objects(labels, steps, reach=sigma * sqrt(2 * log(w0 / _NEGLIGIBLE)))
    weights = np.add(nearest, second, out=nearest)
    np.multiply(weights, weights, out=weights)
    np.multiply(weights, np.float32(-0.5 / sigma**2), out=weights)
    np.multiply(np.exp(weights, out=weights), np.float32(w0), out=weights)
    weights[labels != 0] = 0
    return weights


def two_nearest_objects(
    labels: NDArray[np.integer], steps: Sequence[float], *, reach: float
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Distances of background pixels to their nearest and second nearest object.

    Exact wherever the two add up to at most `reach`; elsewhere d2, or both, may be larger than they are, up
    to infinity. Values on objects mean nothing. The work grows with the number of pixels and with `reach`,
    not with the number of objects.

    Objects closer than `reach` get different *codes*: each belongs to `k // 2` out of `k` groups, no two to
    the same ones. Then `k` distance maps, one per group, say it all: half of them hold d1, because they
    contain the nearest object, and the second nearest is in at least one of the others, so that d2 is the
    value of rank `k // 2 + 1`. Six colours need 4 maps, 20 colours 6, 70 colours 8.

    Parameters
    ----------
    labels : array of int in native byte order, 0 = background
    steps : size of a pixel along each dimension
    reach : distance, in the unit of `steps`

    Returns
    -------
    d1, d2 : arrays of float32, shape of `labels`

    Examples
    --------
    >>> two_nearest_objects(np.array([5, 0, 0, 0, 8]), (1.0,), reach=5)[1][1:4]
    array([3., 2., 3.], dtype=float32)
    """
    borders = _border_pixels(labels)
    _, objects = np.unique(labels[borders], return_inverse=True)
    colours = _colours(_close_objects(np.stack(borders), objects, np.asarray(steps), reach))
    n_groups, groups = _codes(int(colours.max(initial=0)) + 1)
    ranked = [_far(labels.shape, steps, reach) for _ in range(n_groups // 2 + 1)]
    for group in range(n_groups):
        squared = _far(labels.shape, steps, reach)
        members = groups[colours[objects], group]
        squared[tuple(index[members] for index in borders)] = 0
        for axis, step in enumerate(steps):
            _spread(np.moveaxis(squared, axis, 0), step, reach)
        for rank, smaller in enumerate(ranked):
            ranked[rank], squared = np.minimum(smaller, squared), np.maximum(smaller, squared)
    return _distance(ranked[0], reach), _distance(ranked[-1], reach)


def _as_labels(labels: ArrayLike) -> NDArray[np.integer]:
    """Labels as a native integer array, refused if they are not labels."""
    array = np.asarray(labels)
    if array.dtype.kind not in "biu":
        raise TypeError(f"Labels of type {array.dtype} are not integers: save them as an integer type.")
    if array.dtype.kind == "i" and array.size and array.min() < 0:
        raise ValueError(f"Label {array.min()} is negative: use 0 for background and more for objects.")
    return array.astype(np.uint8 if array.dtype.kind == "b" else array.dtype.newbyteorder("="), copy=False)


def _steps(ndim: int, spacing: Sequence[float] | None) -> tuple[float, ...]:
    """Pixel size along each dimension in units of the finest."""
    steps = tuple(float(size) for size in spacing) if spacing is not None else (1.0,) * ndim
    if len(steps) != ndim or not all(0 < size < inf for size in steps):
        raise ValueError(f"Spacing {steps} does not fit {ndim} dimensions: give {ndim} sizes above 0.")
    return tuple(size / min(steps) for size in steps)


def _border_pixels(labels: NDArray[np.integer]) -> tuple[NDArray[np.intp], ...]:
    """Find the object pixels with a neighbour of another value: from outside, no other can be nearest."""
    border = np.zeros(labels.shape, bool)
    for axis in range(labels.ndim):
        line, edge = np.moveaxis(labels, axis, 0), np.moveaxis(border, axis, 0)
        change = line[1:] != line[:-1]
        edge[1:] |= change
        edge[:-1] |= change
    return np.nonzero(border & (labels != 0))


def _close_objects(
    points: NDArray[np.intp], objects: NDArray[np.intp], steps: NDArray[np.float64], reach: float
) -> sparse.csr_array:
    """Mark pairs of objects: all that are within `reach` of each other and some up to a quarter farther.

    `points` is (ndim, n) and `objects` (n,) says whose they are; the result is objects x objects, symmetric.
    """
    n_around = 4
    width = (
        reach / n_around * (1 + 1e-9)
    )  # cells of this width: points within reach are n_around apart at most
    cells = (points * (steps / width)[:, None]).astype(np.intp)
    shape = tuple((cells.max(axis=1, initial=0) + 1).tolist())
    occupied = sparse.coo_array(
        (np.ones(len(objects), bool), (objects, np.ravel_multi_index(tuple(cells), shape))),
        shape=(objects.max(initial=-1) + 1, prod(shape)),
    ).tocsr()
    around, same = occupied, partial(sparse.eye_array, dtype=bool)
    offsets = np.arange(-n_around, n_around + 1)
    for axis, n_cells in enumerate(shape):
        near = sparse.dia_array((np.ones((len(offsets), n_cells), bool), offsets), shape=(n_cells, n_cells))
        step = reduce(sparse.kron, [same(prod(shape[:axis])), near, same(prod(shape[axis + 1 :]))])
        around = around @ step.tocsr()
    return sparse.csr_array(around @ occupied.T)


def _colours(close: sparse.csr_array) -> NDArray[np.intp]:
    """Colour the objects, no two close ones alike: greedily, from the object with most neighbours."""
    colours = np.full(close.shape[0], -1)
    for one in np.argsort(-np.diff(close.indptr), kind="stable"):
        taken = set(colours[close.indices[close.indptr[one] : close.indptr[one + 1]]].tolist())
        colours[one] = next(colour for colour in count() if colour not in taken)
    return colours


def _codes(n_colours: int) -> tuple[int, NDArray[np.bool_]]:
    """Give each colour its own choice of k // 2 out of k groups: k and the choices, (n_colours, k)."""
    n_groups = next(k for k in count(2) if comb(k, k // 2) >= n_colours)
    chosen = list(islice(combinations(range(n_groups), n_groups // 2), n_colours))
    groups = np.zeros((n_colours, n_groups), bool)
    np.put_along_axis(groups, np.array(chosen), True, axis=1)
    return n_groups, groups


def _far(shape: tuple[int, ...], steps: Sequence[float], reach: float) -> NDArray[np.int16 | np.float32]:
    """Make squared distances, all beyond reach: 16 bits where they are whole and small, else float32."""
    beyond = int(reach**2) + 1
    whole = all(step.is_integer() for step in steps) and 2 * beyond < np.iinfo(np.int16).max
    return np.full(shape, beyond, np.int16 if whole else np.float32)


def _spread(squared: NDArray[np.int16 | np.float32], step: float, reach: float) -> None:
    """Put the least of ``squared[i + n] + (n * step)**2``, n within reach, along the first axis, in place."""
    n_shifts = min(int(reach / step), len(squared) - 1)
    for block in _blocks(squared):
        start = np.ascontiguousarray(block)
        least, shifted = start.copy(), np.empty_like(start)
        for n in range(1, n_shifts + 1):
            np.add(start, start.dtype.type((n * step) ** 2), out=shifted)
            np.minimum(least[n:], shifted[:-n], out=least[n:])
            np.minimum(least[:-n], shifted[n:], out=least[:-n])
        block[...] = least


def _blocks(array: NDArray[np.int16 | np.float32]) -> Iterator[NDArray[np.int16 | np.float32]]:
    """Cut the second axis, if there is one, and keep the first whole."""
    if array.ndim == 1:
        yield array
        return
    width = max(1, _BLOCK_SIZE * array.shape[1] // max(array.size, 1))
    for start in range(0, array.shape[1], width):
        yield array[:, start : start + width]


def _distance(squared: NDArray[np.int16 | np.float32], reach: float) -> NDArray[np.float32]:
    distance = np.sqrt(squared, dtype=np.float32)
    distance[distance > reach] = np.inf
    return distance
