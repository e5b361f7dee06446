"""Search of label images for what is labelled, a bounded block at a time."""

from collections.abc import Collection, Iterator
from itertools import groupby

from napari_unet.core.annotated_regions import CELL_SHAPE, Corner, Region, labelled_cells
from napari_unet.core.io import Image, read_labels

MAX_BYTES = 2**26
"""Bytes of labels that are read at once, but for at least one row of cells."""


def scan_labels(labels: Image, t: int, planes: Collection[int]) -> dict[int, list[Corner]]:
    """Find the cells that hold a label, in one pass over the stored chunks.

    Parameters
    ----------
    labels : Image
        At most one channel of integers.
    t : int
        Time point.
    planes : collection of int
        Planes to search; of others no more is read than shares chunks with them.

    Returns
    -------
    dict of int to list of tuple of int
        Rows and columns of cells, by plane; planes without a label are left out.

    Raises
    ------
    ValueError
        Where values are negative or no integers, or the file is damaged.

    Examples
    --------
    >>> import numpy as np
    >>> pixels = np.zeros((50, 300, 600), np.uint8)
    >>> pixels[7, 260, 520] = 1
    >>> scan_labels(Image(pixels, "ZYX", (1.0, 1.0, 1.0), "pixel", ("",), "strokes"), 0, range(50))
    {7: [(1, 2)]}
    """
    found: dict[int, list[Corner]] = {}
    for region in _blocks(labels, planes):
        values = read_labels(labels, region, t=t)
        if not values.max():
            continue
        first_plane, first_row = region[0].start if len(region) == 3 else 0, region[-2].start // CELL_SHAPE[1]
        for z, plane in enumerate(values.reshape(-1, *values.shape[-2:]), first_plane):
            cells = labelled_cells(plane) if z in planes else []
            if cells:
                found.setdefault(z, []).extend((first_row + row, column) for row, column in cells)
    return found


def _blocks(labels: Image, planes: Collection[int]) -> Iterator[Region]:
    """Divide the wanted planes into blocks as deep as a stored chunk, of whole rows of cells."""
    *_, height, width = labels.spatial_shape
    row_bytes = CELL_SHAPE[1] * width * labels.dtype.itemsize
    depth = max(1, min(labels.chunk_shape[0] if len(labels.chunk_shape) == 3 else 1, MAX_BYTES // row_bytes))
    n_rows = max(1, MAX_BYTES // (depth * row_bytes)) * CELL_SHAPE[1]
    for _, group in groupby(sorted(planes), lambda z: z // depth):
        wanted = list(group)
        outer = (slice(wanted[0], wanted[-1] + 1),) if len(labels.spatial_shape) == 3 else ()
        for start in range(0, height, n_rows):
            yield (*outer, slice(start, min(start + n_rows, height)), slice(0, width))
