"""Blocks of the annotated area: which of them are held out of training."""

from collections.abc import Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise, product
from typing import Any

import numpy as np
from numpy.typing import NDArray

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

Box = tuple[tuple[int, int], ...]
"""First pixel, and the one after the last, along each spatial axis."""
Cell = tuple[Hashable, tuple[int, ...]]


@dataclass(frozen=True)
class Block:
    """A box of a frame: a plane or volume of a source, in whose pixels the box is given."""

    frame: Hashable
    box: Box

    @property
    def grown(self) -> Box:
        """The box with the gap around it."""
        return tuple((start - GAP, stop + GAP) for start, stop in self.box)

    def cells(self) -> Iterator[Cell]:
        """List the cells that the block covers."""
        ranges = (range(start // CELL, -(-stop // CELL)) for start, stop in self.box)
        return ((self.frame, place) for place in product(*ranges))


class Ground:
    """The labelled pixels of a target, counted in pieces that no block nor its gap cuts.

    A target that has a place lies in the frame of its source, where blocks are the squares of one grid; one
    without is a frame of its own, which blocks divide evenly.
    """

    def __init__(self, target: Target) -> None:
        ndim = target.classes.ndim
        start = target.place[-ndim:] or (0,) * ndim
        self.target = target
        self.is_placed = bool(target.place)
        self.frame: Hashable = (target.source, target.place[:-ndim]) if target.place else target
        self.box: Box = tuple((s, s + n) for s, n in zip(start, target.classes.shape, strict=True))
        self._edges = [self._piece_edges(*extent) for extent in self.box]
        self.counts = _counts_between(target.classes, self._edges)  # (*pieces, MAX_CLASSES)

    def blocks(self, side: int) -> Iterator[Block]:
        """Divide the target into blocks of about this side; on the grid, those at its rim reach beyond it."""
        for box in product(*(pairwise(self._block_edges(*extent, side)) for extent in self.box)):
            yield Block(self.frame, box)

    def meets(self, frame: Hashable, box: Box) -> bool:
        """Tell whether some pixel of the target lies in the box."""
        return self.frame == frame and _overlap(self.box, box)

    def pieces(self, box: Box) -> Region:
        """Return where the pieces inside a box are in the counts."""
        found = (np.searchsorted(edges, part) for edges, part in zip(self._edges, box, strict=True))
        return tuple(slice(int(start), int(stop)) for start, stop in found)

    def region(self, box: Box) -> Region:
        """Return where the part of a box that lies in the target is in its arrays."""
        return tuple(
            slice(max(0, start - first), max(0, stop - first))
            for (start, stop), (first, _) in zip(box, self.box, strict=True)
        )

    def cells(self, counts: NDArray[np.int64]) -> Iterator[Cell]:
        """List the cells in which some pixel is counted."""
        places = np.argwhere(counts.any(-1))
        firsts = [edges[index] // CELL for edges, index in zip(self._edges, places.T, strict=True)]
        return ((self.frame, tuple(place)) for place in np.stack(firsts, -1).tolist())

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


class Parting:
    """Hold out blocks one by one, while every class keeps enough of its pixels in training."""

    def __init__(self, grounds: Sequence[Ground]) -> None:
        self._grounds = grounds
        self.left = [ground.counts.copy() for ground in grounds]
        self._counts = np.sum([_total(counts) for counts in self.left], axis=0)
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
        lost = [(left, part, _total(left[part])) for left, part in self._parts(block.frame, block.grown)]
        remaining = self._remaining - sum(count for _, _, count in lost)
        if (remaining < least * self._counts).any():
            return
        self.held.append(block)
        self._taken, self._remaining = self._taken + self._inside(block), remaining
        for left, part, _ in lost:
            left[part] = 0

    def _inside(self, block: Block) -> NDArray[np.int64]:
        found = (ground for ground in self._grounds if ground.meets(block.frame, block.box))
        return sum(
            (_total(ground.counts[ground.pieces(block.box)]) for ground in found), np.zeros_like(self._counts)
        )

    def _parts(self, frame: Hashable, box: Box) -> list[tuple[NDArray[np.int64], Region]]:
        """Where the box is in what is left of each target."""
        return [
            (left, ground.pieces(box))
            for ground, left in zip(self._grounds, self.left, strict=True)
            if ground.meets(frame, box)
        ]


def _overlap(one: Box, other: Box) -> bool:
    return all(start < last and first < stop for (start, stop), (first, last) in zip(one, other, strict=True))


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


def _total(counts: NDArray[np.int64]) -> NDArray[np.int64]:
    """Sum of each class over all pieces."""
    total: NDArray[np.int64] = counts.reshape(-1, MAX_CLASSES).sum(0)
    return total
