"""What is painted in a Labels layer, taken over a cell at a time, whichever tool has painted it."""

from collections.abc import Iterable, Iterator
from itertools import islice, product
from math import prod
from typing import Any

import numpy as np
from napari.layers import Labels
from numpy.typing import NDArray

from napari_unet.session.images import Index
from napari_unet.session.regions import CELL_SHAPE, Corner, Region, cells_in, pixels_of

Cell = NDArray[np.integer[Any]]
Spot = tuple[Index, Corner]
"""A plane, and the row and column of a cell on it."""

CELLS_AT_ONCE = 512
"""Known cells that are compared at once, the rest next time: some milliseconds."""
BYTES_AT_ONCE = 2**25
STRIP_COST = 2**14
"""Bytes that could be looked through in the time that a strip of cells costs by itself."""
SMALL = 2**26
"""Bytes of an array that is looked through whenever it is refreshed."""


class Strokes:
    """Read-only copies of the cells that hold annotation, by plane and by place on it."""

    def __init__(self, layer: Labels) -> None:
        self._layer = layer
        self.cells: dict[Index, dict[Corner, Cell]] = {}
        self._values: dict[Spot, set[int]] = {}
        # napari's undo only refreshes: whatever was painted once may be back, or gone, after a refresh
        self._touched: dict[Spot, None] = {}
        self._suspects: dict[Spot, None] = {}
        self._scan: Iterator[tuple[int, Index, Corner]] = self._strips()
        self._is_scanning, self._scan_again = True, False
        layer.events.paint.connect(self._on_paint)
        layer.events.labels_update.connect(self._on_brush)
        layer.events.set_data.connect(self._on_refresh)
        layer.events.data.connect(self._on_data)

    def take(self) -> set[Index]:
        """Copy what has changed since the last call and return its planes."""
        suspects = list(islice(self._suspects, CELLS_AT_ONCE))
        for spot in suspects:
            del self._suspects[spot]
        if self._is_scanning:
            suspects += self._scan_on()
        return {index for index, corner in suspects if self._take(index, corner)}

    def values(self, index: Index) -> set[int]:
        """Return the annotation values on a plane, without 0."""
        found: set[int] = set()
        for corner, cell in self.cells.get(index, {}).items():
            if (index, corner) not in self._values:
                self._values[index, corner] = _values(cell)
            found |= self._values[index, corner]
        return found

    def _take(self, index: Index, corner: Corner) -> bool:
        """Take over one cell; return whether it has changed."""
        block = np.asarray(self._layer.data[(*index, *pixels_of(corner))])
        plane = self.cells.get(index, {})
        is_empty = not block.any()
        if (corner not in plane) if is_empty else np.array_equal(block, plane.get(corner, 0)):
            return False
        self._touched[index, corner] = None
        self._values.pop((index, corner), None)
        plane = self.cells.setdefault(index, plane)
        if not is_empty:
            plane[corner] = np.array(block, block.dtype.newbyteorder("="))
            plane[corner].flags.writeable = False
            return True
        del plane[corner]
        if not plane:
            del self.cells[index]
        return True

    def _scan_on(self) -> list[Spot]:
        """Look through some strips of the array for cells that are not known to hold anything."""
        found: list[Spot] = []
        cost = 0
        for size, index, strip in self._scan:
            found += [(index, corner) for corner in self._filled(index, strip)]
            cost += size + STRIP_COST
            if cost > BYTES_AT_ONCE:
                return found
        self._is_scanning, self._scan_again = self._scan_again, False
        self._scan = self._strips()
        return found

    def _strips(self) -> Iterator[tuple[int, Index, Corner]]:
        """Yield the size of each row of cells, its plane, and its place on it."""
        *outer, n_rows, n_columns = self._layer.data.shape
        size = min(CELL_SHAPE[1], n_rows) * n_columns * self._layer.dtype.itemsize
        for index in np.ndindex(*outer):
            for row in range(-(-n_rows // CELL_SHAPE[1])):
                yield size, index, (row,)

    def _filled(self, index: Index, strip: Corner) -> Iterable[Corner]:
        rows = slice(strip[0] * CELL_SHAPE[1], (strip[0] + 1) * CELL_SHAPE[1])
        block = np.asarray(self._layer.data[(*index, rows)])
        if not block.any():
            return ()
        corners = cells_in((slice(0, 1), slice(0, block.shape[1])))
        return [(*strip, column) for _, column in corners]

    def _on_paint(self, event: Any) -> None:
        """Stroke, fill and polygon tell where they were, as pieces of napari's history."""
        for atom in event.value:
            key = getattr(atom, "slice_key", None)
            planes, region = _of_region(key) if key else _of_pixels(atom[0], self._layer.data.shape)
            self._suspect(planes, region)

    def _on_brush(self, event: Any) -> None:
        """While the mouse is down there is no history yet, but something new to see."""
        index = shown_plane(self._layer)
        if index is not None:
            ends = np.add(event.offset, event.data.shape).tolist()
            region = tuple(slice(first, end) for first, end in zip(event.offset, ends, strict=True))
            self._suspect([index], region)

    def _on_refresh(self) -> None:
        """Undo, redo, a write into the array; or only another plane to show."""
        self._suspects.update(self._touched)
        shape = self._layer.data.shape
        if prod(shape) * self._layer.dtype.itemsize <= SMALL:
            self._scan_again, self._is_scanning = self._is_scanning, True
        elif (index := shown_plane(self._layer)) is not None:
            self._suspect([index], tuple(slice(0, size) for size in shape[-2:]))

    def _on_data(self) -> None:
        """Another array: nothing of it is known, and its shape is looked at by whoever uses it."""
        self._suspects = dict(self._touched)
        self._scan, self._is_scanning, self._scan_again = self._strips(), True, False

    def _suspect(self, planes: Iterable[Index], region: Region) -> None:
        corners = cells_in(region)
        self._suspects.update(dict.fromkeys(product(planes, corners)))


def shown_plane(layer: Labels) -> Index | None:
    """Return the plane that a layer shows, None where it shows another cut."""
    shown = layer._slice_input  # napari tells it nowhere else
    if shown.displayed != [layer.ndim - 2, layer.ndim - 1]:
        return None
    place = np.round(layer.world_to_data(shown.world_slice.point)[:-2]).astype(int).tolist()
    inside = all(0 <= at < size for at, size in zip(place, layer.data.shape, strict=False))
    return tuple(place) if inside else None


def _of_region(key: Region) -> tuple[Iterable[Index], Region]:
    return product(*(range(part.start, part.stop) for part in key[:-2])), key[-2:]


def _of_pixels(places: tuple[Any, ...], shape: tuple[int, ...]) -> tuple[Iterable[Index], Region]:
    """Planes and surroundings of single pixels, an array of positions for each axis."""
    at = np.stack(np.broadcast_arrays(*places)).reshape(len(shape), -1) % np.array(shape)[:, None]
    first, last = at[-2:].min(axis=1).tolist(), at[-2:].max(axis=1).tolist()
    planes = {tuple(plane) for plane in at[:-2].T.tolist()}
    return planes, tuple(slice(a, b + 1) for a, b in zip(first, last, strict=True))


def _values(cell: Cell) -> set[int]:
    is_countable = cell.min() >= 0 and cell.max() < 2**16  # many times faster than sorting
    values = np.flatnonzero(np.bincount(cell.ravel())) if is_countable else np.unique(cell)
    return set(values.tolist()) - {0}
