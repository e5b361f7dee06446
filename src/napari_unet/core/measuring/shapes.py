"""What needs all pixels of an object at once: its outline and its convex hull, as scikit-image defines them.

A hull meets a row of pixels in one interval, so that the ends of rows suffice; scikit-image compares all
pixels of a volume's box with all facets, and fails for a flat one.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import ConvexHull
from scipy.spatial.distance import pdist

_AT_ONCE = 2**20  # products of rows and facets
_TOLERANCE = 1e-10  # as scikit-image has it: what lies on the hull is inside


class Shape(NamedTuple):
    """What is measured of the whole object; NaN where it is not."""

    perimeter: float = np.nan
    n_convex: float = np.nan
    feret_diameter_max: float = np.nan


def measure_shape(mask: NDArray[np.bool_], spacing: Sequence[float]) -> Shape:
    """Measure the shape of one object.

    Parameters
    ----------
    mask : ndarray of bool, 2D or 3D
        The object within its box.
    spacing : sequence of float
        Size of a pixel along each axis.

    Returns
    -------
    Shape
        Perimeter of 2D objects with square pixels; number of pixels of the convex hull; largest distance
        between two points of its border.

    Examples
    --------
    >>> shape = measure_shape(np.array([[1, 1, 1], [1, 0, 0]], bool), (0.5, 0.5))
    >>> int(shape.n_convex), round(shape.feret_diameter_max, 3)
    (5, 1.581)
    """
    from skimage.measure import perimeter  # half a second that --help does not need

    is_square = mask.ndim == 2 and spacing[0] == spacing[1]
    outline = float(perimeter(mask)) if is_square else np.nan  # type: ignore[no-untyped-call]
    hull = ConvexHull(_edges(*_ends(mask)))
    rows, first, last = _inside(hull.equations, mask.shape)
    corners = _edges(rows, first, last)
    corners = corners[ConvexHull(corners).vertices] * spacing
    return Shape(outline * spacing[0], float((last - first + 1).sum()), float(pdist(corners).max()))


def _ends(mask: NDArray[np.bool_]) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.intp]]:
    """Return the rows that have pixels (n, d - 1), and where the first and last of each are."""
    filled = mask.any(axis=-1)
    first = mask.argmax(axis=-1)
    last = mask.shape[-1] - 1 - mask[..., ::-1].argmax(axis=-1)
    return np.argwhere(filled), first[filled], last[filled]


def _edges(rows: NDArray[np.intp], first: NDArray[np.intp], last: NDArray[np.intp]) -> NDArray[np.float64]:
    """Return the middles of the faces of the pixels at the ends of rows, (n, d)."""
    ends = np.concatenate([np.column_stack((rows, at)) for at in (first, last)])
    half = np.eye(ends.shape[1]) / 2
    return (ends[:, None] + np.concatenate((half, -half))).reshape(-1, ends.shape[1])


def _inside(
    equations: NDArray[np.float64], shape: tuple[int, ...]
) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.intp]]:
    """Return the rows that a hull meets, and the first and last pixel of each that it holds."""
    found = [_interval(equations, rows, shape[-1]) for rows in _rows(shape[:-1], len(equations))]
    rows, first, last = (np.concatenate(part) for part in zip(*found, strict=True))
    return rows, first, last


def _rows(shape: tuple[int, ...], n_facets: int) -> Iterator[NDArray[np.intp]]:
    """Places of all rows, some at a time."""
    n_rows, step = int(np.prod(shape)), max(1, _AT_ONCE // n_facets)
    for at in range(0, n_rows, step):
        yield np.stack(np.unravel_index(np.arange(at, min(at + step, n_rows)), shape), axis=1)


def _interval(
    equations: NDArray[np.float64], rows: NDArray[np.intp], width: int
) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.intp]]:
    """Cut rows with half spaces: slope * x + height <= 0 for each facet."""
    slope = equations[:, -2]
    room = _TOLERANCE - (rows @ equations[:, :-2].T + equations[:, -1])  # (rows, facets)
    rises, falls = slope > _TOLERANCE, slope < -_TOLERANCE
    last = np.floor((room[:, rises] / slope[rises]).min(axis=1, initial=width - 1)).astype(np.intp)
    first = np.ceil((room[:, falls] / slope[falls]).max(axis=1, initial=0)).astype(np.intp)
    meets = (room[:, ~rises & ~falls] > 0).all(axis=1) & (first <= last)
    return rows[meets], first[meets], last[meets]
