"""What adds up over the parts of an object: pixels, moments, bounds and intensities.

The parts are runs of equal pixels along a row at first, then what lies in a block, then whole objects; the
same formula joins them each time. Moments are central, so that nothing is lost far from the origin.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

_SLAB = 2**19  # pixels that are taken apart at once: where every pixel is a run, each takes some 300 bytes


@dataclass(frozen=True, eq=False)
class Sums:
    """Parts of objects, a row for each: n rows, d axes, C channels.

    Parameters
    ----------
    label : (n,)
        The object that it is a part of.
    n_pixels : (n,)
    centroid : (n, d)
        In pixels of the scene.
    scatter : (n, d, d)
        Sum over the pixels of the products of their distances from the centroid.
    start, stop : (n, d)
        Bounds, half open.
    mean, squares, low, high : (n, C)
        Intensities: mean, sum of squared distances from it, smallest and largest.
    """

    label: NDArray[Any]
    n_pixels: Ints
    centroid: Floats
    scatter: Floats
    start: Ints
    stop: Ints
    mean: Floats
    squares: Floats
    low: Floats
    high: Floats

    def __len__(self) -> int:
        return len(self.label)

    def __getitem__(self, rows: NDArray[Any]) -> "Sums":
        return Sums(*(getattr(self, field.name)[rows] for field in fields(self)))

    @property
    def shape(self) -> Ints:
        """(n, d): the size of each box."""
        return self.stop - self.start


def sum_parts(labels: NDArray[Any], values: NDArray[Any], origin: Sequence[int]) -> Sums:
    """Sum up what lies in a block.

    Parameters
    ----------
    labels : ndarray of integers, spatial shape
        0 is background.
    values : ndarray, (C, *spatial)
        Intensities; C may be 0.
    origin : sequence of int
        Where the block begins in its scene.

    Returns
    -------
    Sums
        A row for each object, by ascending label.

    Examples
    --------
    >>> sums = sum_parts(np.array([[0, 7, 7], [0, 0, 7]]), np.array([[[0, 1, 2], [0, 0, 6]]]), (0, 10))
    >>> sums.n_pixels.tolist(), sums.mean.tolist(), sums.start.tolist(), sums.stop.tolist()
    ([3], [[3.0]], [[0, 11]], [[2, 13]])
    """
    return join_parts([join_parts([runs]) for runs in _slabs(labels, values, np.array(origin))])


def join_parts(parts: Sequence[Sums]) -> Sums:
    """Join the parts of each object to one row, by ascending label."""
    every = Sums(*(np.concatenate([getattr(part, f.name) for part in parts]) for f in fields(Sums)))
    if not len(every):
        return every
    every = every[np.argsort(every.label, kind="stable")]
    label, first, group = np.unique(every.label, return_index=True, return_inverse=True)

    def total(values: NDArray[Any]) -> NDArray[Any]:
        summed: NDArray[Any] = np.add.reduceat(values, first, axis=0)
        return summed

    n = every.n_pixels[:, None]
    n_pixels = total(every.n_pixels)
    centroid = total(n * every.centroid) / n_pixels[:, None]
    mean = total(n * every.mean) / n_pixels[:, None]
    shift = every.centroid - centroid[group]
    apart = n[..., None] * shift[:, :, None] * shift[:, None, :]
    return Sums(
        label,
        n_pixels,
        centroid,
        total(every.scatter + apart),
        np.minimum.reduceat(every.start, first, axis=0),
        np.maximum.reduceat(every.stop, first, axis=0),
        mean,
        total(every.squares + n * (every.mean - mean[group]) ** 2),
        np.minimum.reduceat(every.low, first, axis=0),
        np.maximum.reduceat(every.high, first, axis=0),
    )


def _slabs(labels: NDArray[Any], values: NDArray[Any], origin: Ints) -> Iterator[Sums]:
    """Take a block apart into runs, some rows at a time."""
    shape, width = labels.shape, labels.shape[-1]
    rows = labels.reshape(-1, width)
    channels = values.reshape(len(values), len(rows), width)
    n_rows = max(1, _SLAB // width)
    for row in range(0, len(rows), n_rows):
        some = slice(row, row + n_rows)
        yield _runs(
            rows[some].ravel(), channels[:, some].reshape(len(channels), rows[some].size), row, shape, origin
        )


def _runs(labels: NDArray[Any], values: NDArray[Any], row: int, shape: Sequence[int], origin: Ints) -> Sums:
    """Make a part of each run of one object along the last axis; labels (pixels,), values (C, pixels)."""
    width = shape[-1]
    is_first = np.ones(len(labels), bool)
    is_first[1:] = labels[1:] != labels[:-1]
    is_first[::width] = True
    begin = np.flatnonzero(is_first)
    length = np.diff(begin, append=len(labels))
    kept = labels[begin] != 0
    begin, length = begin[kept], length[kept]
    start = np.stack(np.unravel_index(begin + row * width, shape), axis=1) + origin
    stop = start + 1
    stop[:, -1] += length - 1
    scatter = np.zeros((len(begin), len(shape), len(shape)))
    scatter[:, -1, -1] = length * (length.astype(np.float64) ** 2 - 1) / 12
    intensities = _intensities(values[:, labels != 0], length)
    return Sums(labels[begin], length, (start + stop - 1) / 2, scatter, start, stop, *intensities)


def _intensities(values: NDArray[Any], length: Ints) -> tuple[Floats, ...]:
    """Mean, sum of squared distances from it, least and greatest of each run; values (C, pixels of runs)."""
    if not len(length) or not len(values):
        return (np.zeros((len(length), len(values))),) * 4
    values = values.astype(np.float64)
    first = np.cumsum(length) - length
    mean = np.add.reduceat(values, first, axis=1) / length
    squares = np.add.reduceat((values - np.repeat(mean, length, axis=1)) ** 2, first, axis=1)
    low, high = (extreme.reduceat(values, first, axis=1) for extreme in (np.minimum, np.maximum))
    return mean.T, squares.T, low.T, high.T
