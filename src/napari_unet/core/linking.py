"""Objects that were found plane by plane become objects of the volume: partners overlap from plane to plane.

Numbers tell objects of all planes apart. What two planes have in common may come in pieces, as tiles have
it, and in any order; memory grows with the number of objects, not with pixels or planes.
"""

from collections.abc import Iterable

import numpy as np
from numpy.typing import ArrayLike, NDArray


def overlaps(below: ArrayLike, above: ArrayLike) -> NDArray[np.int64]:
    """Count the pixels that objects of one plane share with those of the next.

    Parameters
    ----------
    below, above : arrays of unsigned integers below 2³², of equal shapes
        The same part of two planes; 0 = background.

    Returns
    -------
    ndarray of int64, (n, 3)
        Number below, number above, pixels; each pair once, ascending.

    Raises
    ------
    ValueError
        If the shapes differ.

    Examples
    --------
    >>> overlaps([1, 1, 2, 0], [7, 7, 7, 8]).tolist()
    [[1, 7, 2], [2, 7, 1]]
    """
    first, second = np.asarray(below), np.asarray(above)
    if first.shape != second.shape:
        raise ValueError(f"shapes {first.shape} and {second.shape} differ: give two sides of one size")
    both = (first != 0) & (second != 0)
    keys = first[both].astype(np.uint64) << np.uint64(32) | second[both].astype(np.uint64)
    pairs, n_pixels = np.unique(keys, return_counts=True)
    return np.stack((pairs >> np.uint64(32), pairs & np.uint64(2**32 - 1), n_pixels), axis=1).astype(np.int64)


def link(
    sizes: ArrayLike, pieces: Iterable[NDArray[np.integer]], *, least_iou: float = 0.25
) -> NDArray[np.uint32]:
    """Link each object to its partner in the next plane, and number the chains.

    Two objects are partners if neither overlaps another object of the other's plane more than its partner,
    by intersection over union; among equals the lowest number counts. So an object that parts in two goes
    on in one of them, and the other begins anew.

    Parameters
    ----------
    sizes : array of int, (highest number + 1,)
        Pixels of the object of each number; 0 where there is no such object, that of 0 does not count.
    pieces : iterable of ndarray of int, (n, 3)
        What `overlaps` gives of two consecutive planes, or of parts of them: those of a pair are summed.
    least_iou : float, above 0, at most 1
        Of partners.

    Returns
    -------
    ndarray of uint32, (highest number + 1,)
        The final number of each object: 1 to N in the order of the numbers of the lowest objects of the
        chains. 0 where there is no object.

    Raises
    ------
    ValueError
        If `least_iou` is out of its range, or a piece names an object without a size.

    Examples
    --------
    >>> planes = np.uint8([[1, 1, 0, 2, 2], [3, 3, 3, 4, 0], [0, 5, 5, 0, 0]])
    >>> numbers = link(np.bincount(planes.ravel()), map(overlaps, planes, planes[1:]))
    >>> numbers[planes]
    array([[1, 1, 0, 2, 2],
           [1, 1, 1, 2, 0],
           [0, 1, 1, 0, 0]], dtype=uint32)
    """
    if not 0 < least_iou <= 1:
        raise ValueError(f"an IoU of {least_iou} links all or nothing: give one above 0, at most 1")
    n_pixels = np.asarray(sizes, np.int64)
    below, above, shared = _sum(pieces)
    exists = n_pixels > 0
    exists[:1] = False
    numbers = np.concatenate((below, above))
    if numbers.max(initial=0) >= len(exists) or not exists[numbers].all():
        raise ValueError(f"sizes of {len(exists)} numbers lack some that overlap: count all objects anew")
    iou = shared / (n_pixels[below] + n_pixels[above] - shared)
    linked = (iou >= least_iou) & _is_best(below, iou, above) & _is_best(above, iou, below)
    lowest = np.arange(len(exists))
    lowest[above[linked]] = below[linked]
    while (lowest[lowest] != lowest).any():  # each time chains of twice the length know where they begin
        lowest = lowest[lowest]
    begins = exists & (lowest == np.arange(len(exists)))
    return np.where(exists, begins.cumsum()[lowest], 0).astype(np.uint32)


def partners(below: ArrayLike, above: ArrayLike) -> NDArray[np.uint32]:
    """Return the partner in the plane below of each object of a plane, as `link` finds it.

    Parameters
    ----------
    below, above : arrays of unsigned integers below 2³², of equal shapes
        Whole planes; 0 = background.

    Returns
    -------
    ndarray of uint32, (highest number above + 1,)
        0 for those that have none.

    Examples
    --------
    >>> partners([8, 8, 0, 0], [2, 2, 0, 1])
    array([0, 0, 8], dtype=uint32)
    """
    names, first = np.unique(np.asarray(below), return_inverse=True)  # numbers of the whole may be large
    if names[0] != 0:
        names, first = np.concatenate(([0], names)), first + 1
    second = np.asarray(above).astype(np.int64)
    both = first.ravel(), np.where(second > 0, second + len(names) - 1, 0).ravel()
    sizes = np.bincount(np.concatenate(both))
    numbers = link(sizes, [overlaps(*both)])
    called = np.zeros(int(numbers.max(initial=0)) + 1, np.uint32)
    called[numbers[: len(names)]] = names
    found = np.concatenate(([0], called[numbers[len(names) :]])).astype(np.uint32)
    return np.pad(found, (0, int(second.max(initial=0)) + 1 - len(found)))


def _sum(pieces: Iterable[NDArray[np.integer]]) -> NDArray[np.int64]:
    """Return numbers below, numbers above and pixels, (3, n), each pair once."""
    rows = np.concatenate([np.zeros((0, 3), np.int64), *pieces]).astype(np.int64)
    pairs, places = np.unique(rows[:, :2], axis=0, return_inverse=True)
    shared = np.bincount(places.ravel(), rows[:, 2], len(pairs)).astype(np.int64)
    return np.column_stack((pairs, shared)).T


def _is_best(
    numbers: NDArray[np.int64], iou: NDArray[np.float64], partners: NDArray[np.int64]
) -> NDArray[np.bool_]:
    """Mark the pair of each number that has the highest IoU."""
    order = np.lexsort((partners, -iou, numbers))
    _, first = np.unique(numbers[order], return_index=True)
    best = np.zeros(len(numbers), bool)
    best[order[first]] = True
    return best
