"""Cells of a fixed grid that hold annotation, and the regions around them that networks train on."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

Region = tuple[slice, ...]
Corner = tuple[int, ...]
"""Where a cell lies in the grid; its first pixel is at `Corner` times `CELL_SHAPE`."""

CELL_SHAPE = (32, 256, 256)
"""Planes, rows and columns of a cell; regions reach half of this beyond the cells they are around."""


def regions_around(cells: Iterable[Corner], shape: Sequence[int]) -> list[Region]:
    """Return boxes around neighbouring cells, grown by half a cell and cut to the shape; none overlap.

    Examples
    --------
    >>> regions_around([(0, 0), (0, 3)], (256, 2048))
    [(slice(0, 256, None), slice(0, 384, None)), (slice(0, 256, None), slice(640, 1152, None))]
    """
    cell_shape = CELL_SHAPE[-len(shape) :]
    grid = np.zeros([-(-size // cell) for size, cell in zip(shape, cell_shape, strict=True)], bool)
    grid[tuple(np.array(list(cells), int).reshape(-1, len(shape)).T)] = True
    groups, _ = ndimage.label(grid, np.ones((3,) * len(shape)))
    return _disjoint(
        tuple(
            slice(max(0, part.start * cell - cell // 2), min(size, part.stop * cell + cell // 2))
            for part, cell, size in zip(group, cell_shape, shape, strict=True)
        )
        for group in ndimage.find_objects(groups)
    )


def example_regions(
    planes: Mapping[int, Collection[Corner]], shape: Sequence[int], ndim: int
) -> list[Region]:
    """Regions of one image or time point that become examples; the rest is never read.

    Parts that touch lie in one region, so that it cuts no stroke and no object, with half a cell around
    them: patches of the usual sizes fit in beside every label.

    Parameters
    ----------
    planes : mapping of int to collection of tuple of int
        Labelled cells of each plane, by its number; all of them where a plane is labelled completely.
    shape : sequence of int
        Of the image, along its spatial axes.
    ndim : {2, 3}
        Whether a network sees planes or volumes.

    Returns
    -------
    list of tuple of slice
        A slice along each spatial axis of the image; none of them overlap.

    Examples
    --------
    >>> example_regions({40: [(0, 0)]}, (100, 2048, 2048), 2)
    [(slice(40, 41, None), slice(0, 384, None), slice(0, 384, None))]
    >>> example_regions({40: [(0, 0)]}, (100, 2048, 2048), 3)
    [(slice(16, 80, None), slice(0, 384, None), slice(0, 384, None))]
    """
    if ndim == 3:
        depth = CELL_SHAPE[0]
        return regions_around({(z // depth, *cell) for z in planes for cell in planes[z]}, shape)
    flat = ((z, region) for z in sorted(planes) for region in regions_around(planes[z], shape[-2:]))
    return [(slice(z, z + 1), *region)[-len(shape) :] for z, region in flat]


def cells_in(region: Region) -> list[Corner]:
    """Return the cells that a region of the last axes touches.

    Examples
    --------
    >>> cells_in((slice(0, 10), slice(250, 600)))
    [(0, 0), (0, 1), (0, 2)]
    """
    spans = [
        range(part.start // cell, -(-part.stop // cell))
        for part, cell in zip(region, CELL_SHAPE[-len(region) :], strict=True)
    ]
    return list(product(*spans))


def labelled_cells(values: NDArray[Any]) -> list[Corner]:
    """Return the cells of a plane (Y, X) in which some value is not 0.

    Examples
    --------
    >>> labelled_cells(np.eye(300, dtype=np.uint8))
    [(0, 0), (1, 1)]
    """
    marked = values != 0
    for axis, cell in enumerate(CELL_SHAPE[-2:]):
        marked = np.logical_or.reduceat(marked, range(0, values.shape[axis], cell), axis)
    return [(row, column) for row, column in np.argwhere(marked).tolist()]


def cell_pixels(corner: Corner) -> Region:
    """Return the pixels of a cell; the last ones may lie beyond the image.

    Examples
    --------
    >>> cell_pixels((1, 0))
    (slice(256, 512, None), slice(0, 256, None))
    """
    return tuple(
        slice(at * cell, (at + 1) * cell) for at, cell in zip(corner, CELL_SHAPE[-len(corner) :], strict=True)
    )


def _disjoint(boxes: Iterable[Region]) -> list[Region]:
    """Merge boxes that overlap, so that no stroke is learnt from twice."""
    found: list[Region] = []
    for new in boxes:
        box = new
        while overlapping := [other for other in found if _overlap(box, other)]:
            found = [other for other in found if other not in overlapping]
            box = _around([box, *overlapping])
        found.append(box)
    return sorted(found, key=lambda box: [part.start for part in box])


def _overlap(one: Region, other: Region) -> bool:
    return all(a.start < b.stop and b.start < a.stop for a, b in zip(one, other, strict=True))


def _around(boxes: Sequence[Region]) -> Region:
    return tuple(
        slice(min(part.start for part in parts), max(part.stop for part in parts))
        for parts in zip(*boxes, strict=True)
    )
