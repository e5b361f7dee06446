"""Objects of a plane by the mouse: the one under a place, those under a stroke, and what to paint there."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from skimage.draw import line as pixels_between
from skimage.measure import label

Plane = NDArray[np.integer[Any]]
"""Numbers (Y, X) of objects; 0 = none of them."""
Spot = tuple[int, int]
Box = tuple[slice, slice]

BACKGROUND = 1
FIRST_OBJECT = 2
"""In an annotation."""
REACH = 64
"""Pixels around a place that are looked at first."""
CLICK = 4
"""Pixels of the screen: further is no click, it moves the image."""


@dataclass(frozen=True, eq=False)
class Part:
    """Some pixels of a plane: those of a box that its mask marks."""

    box: Box
    mask: NDArray[np.bool_]

    def holds(self, spot: Spot) -> bool:
        """Tell whether a pixel is one of them."""
        inside = all(part.start <= at < part.stop for part, at in zip(self.box, spot, strict=True))
        return inside and bool(self.mask[self._relative(spot)])

    def covers_most_of(self, other: "Part") -> bool:
        """Tell whether most of another part lies in this one: as an object it is the same."""
        offset = [there.start - here.start for there, here in zip(other.box, self.box, strict=True)]
        spots = np.argwhere(other.mask) + offset
        inside = spots[((spots >= 0) & (spots < self.mask.shape)).all(1)]
        return bool(2 * np.count_nonzero(self.mask[tuple(inside.T)]) > len(spots))

    def without(self, mask: NDArray[np.bool_]) -> "Part":
        """Leave out pixels of the box."""
        return Part(self.box, self.mask & ~mask)

    def drawn(self, spots: Sequence[Spot]) -> NDArray[np.bool_]:
        """Mark those of some pixels that lie in the box."""
        drawn = np.zeros(self.mask.shape, bool)
        for spot in spots:
            if self.holds(spot):
                drawn[self._relative(spot)] = True
        return drawn

    def is_cut(self, pieces: Sequence[Box]) -> bool:
        """Tell whether they lie at the border of these pieces where that is no border of the plane."""
        known = np.zeros(self.mask.shape, bool)
        for piece in pieces:
            known[tuple(_shifted(part, -by.start) for part, by in zip(piece, self.box, strict=True))] = True
        return bool((ndimage.binary_dilation(self.mask) & ~known).any())

    def _relative(self, spot: Spot) -> Spot:
        return spot[0] - self.box[0].start, spot[1] - self.box[1].start


@dataclass(frozen=True, eq=False)
class Edit:
    """What to paint: parts of a plane, each with its value, and words that tell what it does."""

    parts: tuple[tuple[Part, int], ...]
    words: str

    def is_cut(self, annotation: Plane, predicted: Plane, pieces: Sequence[Box]) -> bool:
        """Tell whether it accepts what is predicted of an object that goes on beyond the predicted pieces."""
        accepted = (
            part.without((annotation[part.box] != 0) | (predicted[part.box] == 0))
            for part, value in self.parts
            if value >= FIRST_OBJECT
        )
        return any(part.is_cut(pieces) for part in accepted)

    @property
    def places(self) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
        """Rows, columns and values of all its pixels."""
        found: list[tuple[NDArray[np.int64], ...]] = []
        for part, value in self.parts:
            rows, columns = np.nonzero(part.mask)
            found.append((rows + part.box[0].start, columns + part.box[1].start, np.full_like(rows, value)))
        rows, columns, values = (np.concatenate(each) for each in zip(*found, strict=True))
        return rows, columns, values


def object_at(plane: Plane, spot: Spot) -> Part:
    """Return the connected pixels of the same value around a place, in a box one pixel wider than they.

    Only as much is looked at as it takes: planes may be large.
    """
    reach = REACH
    while True:
        box = _around(tuple(slice(at, at + 1) for at in spot), reach, plane.shape)
        parts, _ = ndimage.label(plane[box] == plane[spot])
        here = parts == parts[spot[0] - box[0].start, spot[1] - box[1].start]
        tight = ndimage.find_objects(here.view(np.uint8))[0]
        tight = tuple(slice(b.start + t.start, b.start + t.stop) for b, t in zip(box, tight, strict=True))
        wide = _around(tight, 1, plane.shape)
        if all(b.start <= w.start and w.stop <= b.stop for b, w in zip(box, wide, strict=True)):
            inner = tuple(slice(w.start - b.start, w.stop - b.start) for b, w in zip(box, wide, strict=True))
            return Part((wide[0], wide[1]), here[inner])
        reach *= 2


def pieces_in(plane: Plane, found: Part, least: int = 1) -> Iterator[Part]:
    """Yield the objects, numbered `least` or higher, that lie in a part, each as far as it hangs together."""
    there = np.where(found.mask & (plane[found.box] >= least), plane[found.box], 0)
    connected = np.asarray(label(there, connectivity=1))  # type: ignore[no-untyped-call]
    pieces, firsts = np.unique(connected, return_index=True)
    for first in firsts[pieces > 0].tolist():
        row, column = np.unravel_index(first, there.shape)
        yield object_at(plane, (int(row) + found.box[0].start, int(column) + found.box[1].start))


def objects_under(plane: Plane, spots: Sequence[Spot], least: int = 1) -> Iterator[Part]:
    """Yield the objects under a stroke, numbered `least` or higher, in its order."""
    left = [spot for spot in spots if plane[spot] >= least]
    while left:
        part = object_at(plane, left[0])
        yield part
        left = [spot for spot in left if not part.holds(spot)]


def united(parts: Sequence[Part]) -> Part:
    """Return all pixels of some parts, in a box around them."""
    rows, columns = (
        slice(min(box.start for box in along), max(box.stop for box in along))
        for along in zip(*(part.box for part in parts), strict=True)
    )
    mask = np.zeros((rows.stop - rows.start, columns.stop - columns.start), bool)
    for part in parts:
        place = (_shifted(own, -by.start) for own, by in zip(part.box, (rows, columns), strict=True))
        mask[tuple(place)] |= part.mask
    return Part((rows, columns), mask)


def along(corners: Sequence[Spot], shape: Sequence[int]) -> list[Spot]:
    """Return the pixels of a stroke through some places, those beyond the plane left out.

    Examples
    --------
    >>> along([(0, -1), (0, 1), (2, 1)], (2, 2))
    [(0, 0), (0, 1), (1, 1)]
    """
    spots: list[Spot] = []
    for start, end in zip(corners, corners[1:] or corners, strict=False):
        rows, columns = pixels_between(*start, *end)  # type: ignore[no-untyped-call]
        spots += zip(rows.tolist(), columns.tolist(), strict=True)
    return [spot for spot in dict.fromkeys(spots) if is_inside(spot, shape)]


def is_click(pressed: Sequence[float], released: Sequence[float]) -> bool:
    """Tell whether the mouse was pressed and released at one place of the screen."""
    return all(abs(one - other) <= CLICK for one, other in zip(pressed, released, strict=True))


def is_inside(spot: Spot, shape: Sequence[int]) -> bool:
    """Tell whether a place lies on a plane."""
    return all(0 <= at < size for at, size in zip(spot, shape, strict=True))


def _shifted(part: slice, by: int) -> slice:
    return slice(max(0, part.start + by), max(0, part.stop + by))


def _around(box: Sequence[slice], margin: int, shape: Sequence[int]) -> Box:
    rows, columns = (
        slice(max(0, part.start - margin), min(size, part.stop + margin))
        for part, size in zip(box, shape, strict=True)
    )
    return rows, columns
