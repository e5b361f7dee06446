"""Selection of what is held out of training, to score on."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from napari_unet.core.blocks import BLOCKS, Block, Box, Cell, HoldoutSelection, LabelledArea
from napari_unet.core.holdout_runs import Held, hold_out_whole
from napari_unet.core.scoring import cut_out
from napari_unet.core.targets import UNLABELLED, Target

BACKGROUND = 1
"""In an annotation of objects these have greater numbers."""
FEW_PLACES, HIGH_DICE = 3, 0.98
"""A score above this from fewer places says little."""
OPTIMISTIC = "score is optimistic: measured on training data"
Counts = tuple[NDArray[np.integer], NDArray[np.int64]]
"""Numbers of objects, ascending, and how many pixels have each."""


@dataclass(frozen=True)
class HoldoutSummary:
    """What a score is measured on.

    Parameters
    ----------
    how : str
        In a sentence.
    n_places : int
        Strokes, blocks or planes that are held out; 0 where what is scored on is trained on.
    planes : tuple of (str, tuple of int)
        Source, and time point and plane as far as known, of what is scored on.
    """

    how: str
    n_places: int
    planes: tuple[tuple[str, tuple[int, ...]], ...]

    def doubt(self, mean_dice: float) -> str:
        """Why a score may be too high, "" if nothing speaks for it.

        Examples
        --------
        >>> HoldoutSummary("2 blocks", 2, ()).doubt(0.99)
        'score may be optimistic: measured in 2 places only'
        """
        if not self.n_places:
            return OPTIMISTIC
        if self.n_places < FEW_PLACES and mean_dice > HIGH_DICE:
            places = "1 place" if self.n_places == 1 else f"{self.n_places} places"
            return f"score may be optimistic: measured in {places} only"
        return ""


@dataclass(frozen=True, eq=False)
class Split:
    """Targets to train on and targets to score on.

    Parameters
    ----------
    training, validation : tuple of Target
    how : str
        How they were split, in a sentence.
    n_places : int
        Strokes, blocks or planes that are held out; 0 where what is scored on is trained on.
    """

    training: tuple[Target, ...]
    validation: tuple[Target, ...]
    how: str
    n_places: int = 0

    @property
    def summary(self) -> "HoldoutSummary":
        """What a score is measured on, for people."""
        planes = dict.fromkeys((target.source, _plane(target)) for target in self.validation)
        return HoldoutSummary(self.how, self.n_places, tuple(planes))


def split_validation(targets: Sequence[Target], fraction: float, seed: int) -> Split:
    """Hold out images, or runs of planes, where there are enough; else blocks with a gap around them.

    Parameters
    ----------
    targets : sequence of Target
    fraction : float
        Share of the images, planes or annotated area to hold out; 0 holds out nothing.
    seed : int

    Returns
    -------
    Split
        Every class that occurs stays in training. A block is held out in all planes and time points of its
        image, and a stroke is never both trained on and scored. Where nothing can be held out, the score is
        measured on what is trained on, and ``how`` says so.

    Examples
    --------
    >>> classes = np.zeros((256, 256), np.uint8)
    >>> classes[::2] = 1
    >>> target = Target(np.zeros((1, 256, 256), np.float32), classes, np.zeros((256, 256), np.float32))
    >>> split_validation([target], 0.2, seed=0).how
    'blocks of the annotated area are held out'
    """
    return Holdout().split(targets, fraction, seed)


class Holdout:
    """Selection of what is held out of training, remembered while the annotation grows.

    Of targets that have a place, a block that was held out stays held out, blocks with new annotation come
    next, and those that were trained on come last. A block returns to training only where a class would
    otherwise keep less than a quarter of its pixels there.
    """

    def __init__(self) -> None:
        self._held: tuple[Block, ...] = ()
        self._trained: set[Cell] = set()
        self._areas: dict[int, LabelledArea] = {}  # by the target's id
        self._masked: dict[int, tuple[tuple[Box, ...], Target]] = {}  # by the same
        self._counts: dict[int, Counts] = {}  # of objects, by the same

    def split(self, targets: Sequence[Target], fraction: float, seed: int) -> Split:
        """Split the targets as `split_validation` does, and as they were split before."""
        if not fraction:
            self._held = ()
            return self._everything(targets, f"nothing is held out: {OPTIMISTIC}")
        rng = np.random.default_rng(seed)
        if not any(target.place for target in targets):
            held = hold_out_whole(targets, fraction, rng)
            if held is not None:
                return _split_whole(targets, held)
        areas = self._count(targets)
        kept = HoldoutSelection(areas)
        kept.keep(self._held)
        self._held = tuple(kept.held)
        for side in BLOCKS:
            selection = self._select(areas, side, fraction, rng)
            if selection.is_complete:
                return self._apply(areas, selection, "blocks of the annotated area are held out")
        if kept.has_begun:
            how = "blocks of the annotated area are held out; a class with little annotation is not scored"
            return self._apply(areas, kept, how)
        return self._everything(targets, f"too little is annotated to hold some out: {OPTIMISTIC}")

    def _count(self, targets: Sequence[Target]) -> list[LabelledArea]:
        """Count the labelled pixels of targets that are new."""
        known = self._areas
        self._areas = {id(target): known.get(id(target)) or LabelledArea(target) for target in targets}
        self._masked = {key: self._masked[key] for key in self._areas if key in self._masked}
        self._counts = {key: self._counts[key] for key in self._areas if key in self._counts}
        return list(self._areas.values())

    def _select(
        self, areas: Sequence[LabelledArea], side: int, fraction: float, rng: np.random.Generator
    ) -> HoldoutSelection:
        """Hold out blocks by chance, among those alike in what they were before."""
        blocks = list(dict.fromkeys(block for area in areas for block in area.blocks(side)))
        order = [blocks[index] for index in rng.permutation(len(blocks))]
        order.sort(key=lambda block: not self._trained.isdisjoint(block.cells()))
        selection = HoldoutSelection(areas)
        selection.keep(self._held)
        selection.choose(order, fraction)
        return selection

    def _apply(self, areas: Sequence[LabelledArea], selection: HoldoutSelection, how: str) -> Split:
        self._held = tuple(block for block in selection.held if not block.frame.shape)
        training = [
            self._masked_target(area, left, selection.held)
            for area, left in zip(areas, selection.left, strict=True)
        ]
        scored = [
            (area, block)
            for block in selection.held
            for area in areas
            if area.meets(block.frame, block.box) and area.inside(block.box).any()
        ]
        validation = [self._piece(area, block) for area, block in scored]
        n_places = sum(area.n_places(block.box) for area, block in scored)
        return Split(tuple(training), tuple(validation), how, n_places)

    def _piece(self, area: LabelledArea, block: Block) -> Target:
        """Cut a block out of a target; objects that have pixels outside it too become unlabelled."""
        piece = cut_out(area.target, area.region(block.box))
        objects, key = area.target.objects, id(area.target)
        if objects is None or piece.objects is None:
            return piece
        if key not in self._counts:
            self._counts[key] = np.unique(objects, return_counts=True)
        every, totals = self._counts[key]
        numbers, counts = np.unique(piece.objects[piece.classes != UNLABELLED], return_counts=True)
        is_cut = (counts < totals[np.searchsorted(every, numbers)]) & (numbers > BACKGROUND)
        return replace(piece, objects=np.where(np.isin(piece.objects, numbers[is_cut]), 0, piece.objects))

    def _everything(self, targets: Sequence[Target], how: str) -> Split:
        """Train on all there is and score on the same."""
        if any(target.place for target in targets):
            for area in self._count(targets):
                self._masked_target(area, np.ones(len(area.counts), bool), ())
        return Split(tuple(targets), tuple(targets), how)

    def _masked_target(self, area: LabelledArea, left: NDArray[np.bool_], held: Sequence[Block]) -> Target:
        """Return the target without what is held out, the same one as before where that is unchanged."""
        met = [block for block in held if area.meets(block.frame, block.grown)]
        boxes = tuple(block.grown for block in met)
        before, masked = self._masked.get(id(area.target), (None, area.target))
        if boxes == before:
            return masked
        if area.is_placed:
            self._trained.update(area.cells(left))
        masked = area.target
        if boxes:
            classes = masked.classes.copy()
            for box in boxes:
                classes[area.region(box)] = UNLABELLED
            strokes = [area.strokes_in(block.box) for block in met]
            classes[np.isin(area.strokes, np.concatenate(strokes))] = UNLABELLED
            masked = replace(masked, classes=classes)
        self._masked[id(area.target)] = boxes, masked
        return masked


def _plane(target: Target) -> tuple[int, ...]:
    return target.index or target.place[: -target.classes.ndim]


def _split_whole(targets: Sequence[Target], held: Held) -> Split:
    out = held.scored | held.dropped
    training = tuple(target for index, target in enumerate(targets) if index not in out)
    validation = tuple(targets[index] for index in sorted(held.scored))
    return Split(training, validation, held.how, len(validation))
