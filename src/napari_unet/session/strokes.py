"""What is painted in a Labels layer, taken over a cell at a time, whichever tool has painted it."""

from collections.abc import Iterator
from itertools import chain, islice, product
from math import prod
from typing import Any

import numpy as np
from napari.layers import Labels
from numpy.typing import NDArray

from napari_unet.core.annotated_regions import CELL_SHAPE, Corner, Region, cell_pixels, cells_in
from napari_unet.session.images import Index

Cell = NDArray[np.integer[Any]]
Spot = tuple[Index, Corner]
"""A plane, and the row and column of a cell on it."""
Strip = tuple[Index, Region]
"""A plane, and a row of cells on it."""

CELLS_AT_ONCE = 96
"""Known cells that are compared at once, the rest next time: a few milliseconds."""
BYTES_AT_ONCE = 2**23
STRIP_COST = 2**14
"""Bytes that could be looked through in the time that a strip of cells costs by itself."""


class Strokes:
    """Read-only copies of the cells that hold annotation, by plane and by place on it."""

    def __init__(self, layer: Labels) -> None:
        self._layer = layer
        self.cells: dict[Index, dict[Corner, Cell]] = {}
        self._values: dict[Spot, set[int]] = {}
        self._painted: set[Spot] = set()
        # napari's undo only refreshes: whatever was painted once, here the latest last, may have changed then
        self._touched: dict[Spot, None] = {}
        self._suspects: dict[Spot, None] = {}
        self._strips_shown: Iterator[Strip] = iter(())
        self._next_strip, self._n_strips_left = 0, prod(self._strips_shape)
        layer.events.paint.connect(self._on_paint)
        layer.events.labels_update.connect(self._on_brush)
        layer.events.set_data.connect(self._on_refresh)
        layer.events.data.connect(self._on_data)

    def take(self) -> set[Index]:
        """Copy what has changed since the last call and return its planes.

        What was painted is found at once; what was undone or written past the layer in the calls after its
        next refresh: known cells and the shown plane come first, then everything, 8 MiB a call.
        """
        painted, self._painted = self._painted, set()
        suspects = list(islice(self._suspects, CELLS_AT_ONCE))
        for spot in suspects:
            del self._suspects[spot]
        looked_at = [*painted, *suspects, *self._look_through()]
        return {index for index, corner in looked_at if self._take(index, corner)}

    def fill(self, index: Index, corner: Corner, cell: Cell) -> None:
        """Write a cell wherever nothing is painted, past napari's history; it is found by the next `take`."""
        highest, place = int(cell.max()), (*index, *cell_pixels(corner))
        if highest > np.iinfo(self._layer.dtype).max:
            raise ValueError(f"{self._layer.name} cannot hold {highest}: give it data of a wider type")
        now = np.asarray(self._layer.data[place])
        self._layer.data[place] = np.where(now == 0, cell, now)
        self._painted.add((index, corner))

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
        block = np.asarray(self._layer.data[(*index, *cell_pixels(corner))])
        known = self.cells.get(index, {}).get(corner)
        if not block.any() if known is None else np.array_equal(block, known):
            return False
        self._touched.pop((index, corner), None)
        self._touched[index, corner] = None
        self._values.pop((index, corner), None)
        if block.any():
            cell = np.array(block, block.dtype.newbyteorder("="))
            cell.flags.writeable = False
            self.cells.setdefault(index, {})[corner] = cell
        else:
            self._forget(index, corner)
        return True

    def _forget(self, index: Index, corner: Corner) -> None:
        del self.cells[index][corner]
        if not self.cells[index]:
            del self.cells[index]

    def _look_through(self) -> list[Spot]:
        """Look through some strips for cells that are not known to hold anything."""
        found: list[Spot] = []
        cost = 0
        for index, strip in chain(self._strips_shown, self._strips_left()):
            unknown = [(index, corner) for corner in cells_in(strip) if (index, corner) not in self._touched]
            if unknown:
                block = np.asarray(self._layer.data[(*index, *strip)])
                found += unknown if block.any() else []
                cost += block.nbytes
            cost += STRIP_COST
            if cost > BYTES_AT_ONCE:
                break
        return found

    @property
    def _strips_shape(self) -> tuple[int, ...]:
        """How many planes there are along each axis, and strips on each."""
        *outer, n_rows, _ = self._layer.data.shape
        return (*outer, -(-n_rows // CELL_SHAPE[1]))

    def _strip(self, number: int) -> Strip:
        *_, n_rows, n_columns = self._layer.data.shape
        *index, row = (int(at) for at in np.unravel_index(number, self._strips_shape))
        rows = slice(row * CELL_SHAPE[1], min((row + 1) * CELL_SHAPE[1], n_rows))
        return tuple(index), (rows, slice(0, n_columns))

    def _strips_of(self, index: Index) -> Iterator[Strip]:
        n_strips = self._strips_shape[-1]
        first = int(np.ravel_multi_index((*index, 0), self._strips_shape))
        return (self._strip(number) for number in range(first, first + n_strips))

    def _strips_left(self) -> Iterator[Strip]:
        """Go on where the last look has ended, round and round until all have been seen."""
        while self._n_strips_left:
            number, self._n_strips_left = self._next_strip, self._n_strips_left - 1
            self._next_strip = (number + 1) % prod(self._strips_shape)
            yield self._strip(number)

    def _on_paint(self, event: Any) -> None:
        """Stroke, fill and polygon tell where they were, as pieces of napari's history."""
        for atom in event.value:
            key = getattr(atom, "slice_key", None)
            self._painted.update(_of_region(key) if key else _of_pixels(atom[0], self._layer.data.shape))

    def _on_brush(self, event: Any) -> None:
        """While the mouse is down there is no history yet, but something new to see."""
        index = shown_plane(self._layer)
        if index is not None:
            ends = np.add(event.offset, event.data.shape).tolist()
            region = tuple(slice(first, end) for first, end in zip(event.offset, ends, strict=True))
            self._painted.update((index, corner) for corner in cells_in(region))

    def _on_refresh(self) -> None:
        """Undo, redo, a write into the array; or only another plane to show: that one is looked at first."""
        self._suspects = dict.fromkeys(reversed(self._touched))
        shown = shown_plane(self._layer)
        self._strips_shown = iter(()) if shown is None else self._strips_of(shown)
        self._n_strips_left = prod(self._strips_shape)

    def _on_data(self) -> None:
        """Another array: nothing of it is known, and whoever uses it looks at its shape."""
        self._painted, self._suspects = set(), dict.fromkeys(reversed(self._touched))
        self._strips_shown = iter(())
        self._next_strip, self._n_strips_left = 0, prod(self._strips_shape)


def shown_plane(layer: Labels) -> Index | None:
    """Return the plane that a layer shows, None where it shows another cut."""
    shown = layer._slice_input  # napari tells it nowhere else
    if shown.displayed != [layer.ndim - 2, layer.ndim - 1]:
        return None
    place = np.round(layer.world_to_data(shown.world_slice.point)[:-2]).astype(int).tolist()
    inside = all(0 <= at < size for at, size in zip(place, layer.data.shape, strict=False))
    return tuple(place) if inside else None


def _of_region(key: Region) -> Iterator[Spot]:
    return product(product(*(range(part.start, part.stop) for part in key[:-2])), cells_in(key[-2:]))


def _of_pixels(places: tuple[Any, ...], shape: tuple[int, ...]) -> Iterator[Spot]:
    """Tell the cells around single pixels, an array of positions for each axis: millions where one fills."""
    is_hit = np.zeros(shape[:-2], bool)
    is_hit[places[:-2]] = True
    planes = (tuple(index) for index in np.argwhere(is_hit).tolist())
    region = (_span(np.asarray(at), size) for at, size in zip(places[-2:], shape[-2:], strict=True))
    return product(planes, cells_in(tuple(region)))


def _span(places: NDArray[np.integer[Any]], size: int) -> slice:
    first, last = int(places.min(initial=size)), int(places.max(initial=-1))
    return slice(first, last + 1) if first >= 0 else slice(0, size)  # some count from the end


def _values(cell: Cell) -> set[int]:
    is_countable = cell.min() >= 0 and cell.max() < 2**16  # many times faster than sorting
    values = np.flatnonzero(np.bincount(cell.ravel())) if is_countable else np.unique(cell)
    return set(values.tolist()) - {0}
