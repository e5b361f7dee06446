"""Blocks of the labelled area: which of them are held out of training."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise, product
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from napari_unet.core.targets import MAX_CLASSES, UNLABELLED, Target
from napari_unet.core.tiling import Region

BLOCKS = (128, 64, 32)
"""Sides of held-out blocks, pixels; the largest with which every class can be scored."""
GAP = 16
"""Pixels around a held-out block that training does not see; it divides the sides of blocks."""
CELL = BLOCKS[-1]
"""Side of the cells in which it is remembered what was trained on."""
LEAST_CHOSEN, LEAST_KEPT = 1 / 2, 1 / 4
"""Share of each class that stays in training when a block is chosen, and when one is kept."""

MAX_STROKE = 64
"""A connected labelled part is a stroke, held out whole, unless a square of this side, pixels, fits in."""

Box = tuple[tuple[int, int], ...]
"""First pixel, and the one after the last, along each spatial axis."""


class Frame(NamedTuple):
    """Coordinates that planes and time points of one source share: what is held out is so in all of them.

    Neighbouring planes look alike, and a network that knows one by heart would score on the next.
    ``shape`` is that of targets without a place, which blocks divide evenly; () is the grid of the others.
    """

    source: str
    shape: tuple[int, ...]


Cell = tuple[Frame, tuple[int, ...]]


@dataclass(frozen=True)
class Block:
    """A box of a frame, in whose pixels it is given."""

    frame: Frame
    box: Box

    @property
    def grown(self) -> Box:
        """The box with the gap around it."""
        return tuple((start - GAP, stop + GAP) for start, stop in self.box)

    def cells(self) -> Iterator[Cell]:
        """List the cells that the block covers."""
        ranges = (range(start // CELL, -(-stop // CELL)) for start, stop in self.box)
        return ((self.frame, place) for place in product(*ranges))


class LabelledArea:
    """Labelled pixels of a target, counted in atoms: parts that no block, no gap and no stroke cuts.

    Attributes
    ----------
    counts : ndarray of int64, shape (n_atoms, MAX_CLASSES)
    strokes : ndarray of int, shape (*spatial)
        Number of the stroke of each pixel; 0 = none, or part of an area too large to be one.
    """

    def __init__(self, target: Target) -> None:
        ndim = target.classes.ndim
        start = target.place[-ndim:] or (0,) * ndim
        self.target = target
        self.is_placed = bool(target.place)
        self.frame = Frame(target.source, () if self.is_placed else target.classes.shape)
        self.box: Box = tuple((s, s + n) for s, n in zip(start, target.classes.shape, strict=True))
        self._edges = [self._piece_edges(*extent) for extent in self.box]
        self.strokes = _strokes(target.classes)
        self._pieces, self._owners, self.counts = _atoms(target.classes, self.strokes, self._edges)

    def blocks(self, side: int) -> Iterator[Block]:
        """Divide the target into blocks of about this side; on the grid some reach beyond it."""
        for box in product(*(pairwise(self._block_edges(*extent, side)) for extent in self.box)):
            yield Block(self.frame, box)

    def meets(self, frame: Frame, box: Box) -> bool:
        """Tell whether some pixel of the target lies in the box."""
        return self.frame == frame and _overlap(self.box, box)

    def inside(self, box: Box) -> NDArray[np.bool_]:
        """Mark the atoms inside a box."""
        found = np.ones(len(self.counts), bool)
        for axis, (edges, part) in enumerate(zip(self._edges, box, strict=True)):
            start, stop = np.searchsorted(edges, part)
            found &= (self._pieces[:, axis] >= start) & (self._pieces[:, axis] < stop)
        return found

    def lost_to(self, block: Block) -> NDArray[np.bool_]:
        """Mark the atoms that training loses to a block: those in its gap, and all of the strokes in it."""
        return self.inside(block.grown) | np.isin(self._owners, self.strokes_in(block.box))

    def strokes_in(self, box: Box) -> NDArray[np.intp]:
        """List the strokes that have a pixel in the box."""
        numbers = np.unique(self._owners[self.inside(box)])
        return numbers[numbers > 0]

    def n_places(self, box: Box) -> int:
        """Count the strokes in a box, and as one what belongs to larger areas."""
        inside = self.inside(box)
        return len(self.strokes_in(box)) + int((self._owners[inside] == 0).any())

    def region(self, box: Box) -> Region:
        """Return where the part of a box that lies in the target is in its arrays."""
        return tuple(
            slice(max(0, start - first), max(0, stop - first))
            for (start, stop), (first, _) in zip(box, self.box, strict=True)
        )

    def cells(self, atoms: NDArray[np.bool_]) -> Iterator[Cell]:
        """List the cells in which one of the marked atoms lies."""
        places = self._pieces[atoms]
        firsts = [edges[index] // CELL for edges, index in zip(self._edges, places.T, strict=True)]
        return ((self.frame, tuple(place)) for place in np.unique(np.stack(firsts, -1), axis=0).tolist())

    def _block_edges(self, start: int, stop: int, side: int) -> list[int]:
        if self.is_placed:
            return [*range(start // side * side, stop, side), -(-stop // side) * side]
        n = max(1, round((stop - start) / side))
        return [start + part * (stop - start) // n for part in range(n + 1)]

    def _piece_edges(self, start: int, stop: int) -> NDArray[np.intp]:
        if self.is_placed:
            edges = {*range(start // GAP * GAP, stop, GAP)}
        else:
            blocks = {edge for side in BLOCKS for edge in self._block_edges(start, stop, side)}
            edges = {edge + by for edge in blocks for by in (-GAP, 0, GAP)}
        return np.array([start, *sorted(edge for edge in edges if start < edge < stop), stop])


class HoldoutSelection:
    """Hold out blocks one by one, while every class keeps enough of its pixels in training.

    Attributes
    ----------
    left : list of ndarray of bool, shape (n_atoms,)
        For each area the atoms that are still trained on.
    held : list of Block
    """

    def __init__(self, areas: Sequence[LabelledArea]) -> None:
        self._areas = areas
        self.left = [np.ones(len(area.counts), bool) for area in areas]
        self._counts: NDArray[np.int64] = np.sum([area.counts.sum(0) for area in areas], axis=0)
        self._remaining, self._taken = self._counts.copy(), np.zeros_like(self._counts)
        self.held: list[Block] = []

    @property
    def has_begun(self) -> bool:
        """Whether some labelled pixel is held out."""
        return bool(self._taken.any())

    @property
    def is_complete(self) -> bool:
        """Whether every class that occurs is held out somewhere."""
        return bool(((self._taken > 0) == (self._counts > 0)).all())

    def keep(self, blocks: Iterable[Block]) -> None:
        """Hold out again what was held out before, unless that takes too much of a class by now."""
        for block in blocks:
            self._hold(block, LEAST_KEPT)

    def choose(self, blocks: Iterable[Block], fraction: float) -> None:
        """Hold out blocks until this share of every class is held out."""
        wanted = fraction * self._counts
        for block in blocks:
            short = self._taken < wanted
            if not short.any():
                return
            if (short & (self._inside(block) > 0)).any() and not self._is_held(block):
                self._hold(block, LEAST_CHOSEN)

    def _is_held(self, block: Block) -> bool:
        """Tell whether part of the block is held out already, in blocks of another size."""
        return any(held.frame == block.frame and _overlap(held.box, block.box) for held in self.held)

    def _hold(self, block: Block, least: float) -> None:
        lost = {index: self._areas[index].lost_to(block) & self.left[index] for index in self._met(block)}
        remaining = self._remaining - sum(self._areas[i].counts[atoms].sum(0) for i, atoms in lost.items())
        if (remaining < least * self._counts).any():
            return
        self.held.append(block)
        self._taken, self._remaining = self._taken + self._inside(block), remaining
        for index, atoms in lost.items():
            self.left[index] &= ~atoms

    def _inside(self, block: Block) -> NDArray[np.int64]:
        total = np.zeros_like(self._counts)
        for index in self._met(block):
            area = self._areas[index]
            total += area.counts[area.inside(block.box)].sum(0)
        return total

    def _met(self, block: Block) -> list[int]:
        """List the areas that lie in the block or its gap."""
        return [index for index, area in enumerate(self._areas) if area.meets(block.frame, block.grown)]


def _overlap(one: Box, other: Box) -> bool:
    return all(start < last and first < stop for (start, stop), (first, last) in zip(one, other, strict=True))


def _strokes(classes: NDArray[np.uint8]) -> NDArray[np.int32]:
    """Label the connected parts that are strokes; 0 is everything else, larger areas too."""
    strokes = np.zeros(classes.shape, np.int32)  # takes memory only where it is written to
    labelled = classes != UNLABELLED
    found = ndimage.find_objects(labelled.view(np.uint8))
    if not found:
        return strokes
    box = found[0]
    square = (*(1,) * (classes.ndim - 2), *(min(MAX_STROKE, size) for size in classes.shape[-2:]))
    connected = ndimage.generate_binary_structure(classes.ndim, classes.ndim)
    parts, n_parts = ndimage.label(labelled[box], connected)
    is_area = ndimage.minimum_filter(labelled[box], square[-classes.ndim :], mode="constant")
    is_stroke = np.ones(n_parts + 1, bool)
    is_stroke[0] = False
    is_stroke[parts[is_area]] = False
    strokes[box] = np.where(is_stroke, np.cumsum(is_stroke), 0)[parts]
    return strokes


def _atoms(
    classes: NDArray[np.uint8], strokes: NDArray[np.int32], edges: Sequence[NDArray[np.intp]]
) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.int64]]:
    """Count the pixels of each class in each piece, for strokes one by one.

    Returns pieces (n_atoms, ndim), strokes (n_atoms,) and counts (n_atoms, MAX_CLASSES).
    """
    areas = _counts_between(np.where(strokes > 0, np.uint8(UNLABELLED), classes), edges)
    pieces = np.argwhere(areas.any(-1))
    pixels = np.nonzero(strokes)
    starts = [each[:-1] - each[0] for each in edges]
    at = [np.searchsorted(each, along, "right") - 1 for each, along in zip(starts, pixels, strict=True)]
    shape = (*map(len, starts), int(strokes.max(initial=0)) + 1)
    keys = np.ravel_multi_index((*at, strokes[pixels]), shape)
    found, places = np.unique(keys, return_inverse=True)
    atoms = np.stack(np.unravel_index(found, shape), -1)  # (n_atoms, ndim + 1)
    counts = np.zeros((len(atoms), MAX_CLASSES), np.int64)
    np.add.at(counts, (places, classes[pixels]), 1)
    return (
        np.concatenate([pieces, atoms[:, :-1]]),
        np.concatenate([np.zeros(len(pieces), np.intp), atoms[:, -1]]),
        np.concatenate([areas[tuple(pieces.T)], counts]),
    )


def _counts_between(classes: NDArray[np.uint8], edges: Sequence[NDArray[np.intp]]) -> NDArray[np.int64]:
    """Count the pixels of each class between the edges along each axis, of which the first is the start."""
    starts = [each[:-1] - each[0] for each in edges]
    counts = np.zeros((*map(len, starts), MAX_CLASSES), np.int64)
    for index in set(np.unique(classes).tolist()) - {UNLABELLED}:
        found: NDArray[Any] = classes == index
        for axis in reversed(range(classes.ndim)):
            found = np.add.reduceat(found, starts[axis], axis, dtype=np.int64)
        counts[..., index] = found
    return counts
