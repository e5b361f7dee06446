"""What is held out of training, and how well the network does there."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from napari_unet.core.blocks import BLOCKS, Block, Box, Cell, Ground, Parting
from napari_unet.core.rims import Annotation
from napari_unet.core.targets import UNLABELLED, Target

ENOUGH = 8
"""So many images, or slices, are enough to hold some of them out whole."""
CONTEXT = 32
"""Pixels around a held-out block that the network sees when it is scored."""
BACKGROUND = 1
"""In an annotation of objects these have greater numbers."""
Counts = tuple[NDArray[np.integer], NDArray[np.int64]]
"""Numbers of objects, ascending, and how many pixels have each."""
Predict = Callable[[NDArray[np.float32]], NDArray[np.float32]]


@dataclass(frozen=True, eq=False)
class Split:
    """Targets to train on, targets to score on, and words about how they were parted."""

    training: tuple[Target, ...]
    validation: tuple[Target, ...]
    how: str


@dataclass(frozen=True)
class ValidationScore:
    """Scores on the held-out pixels; a class absent from truth and prediction is None."""

    dice: tuple[float | None, ...]
    iou: tuple[float | None, ...]
    pixel_accuracy: float

    @property
    def mean_dice(self) -> float:
        """Mean over the classes that occur."""
        present = [value for value in self.dice if value is not None]
        return sum(present) / len(present) if present else 0.0


def split_validation(targets: Sequence[Target], fraction: float, seed: int) -> Split:
    """Hold out whole images or slices where there are enough, else blocks with a gap around them.

    Parameters
    ----------
    targets : sequence of Target
    fraction : float
        Share of the images, slices or annotated area to hold out; 0 holds out nothing.
    seed : int

    Returns
    -------
    Split
        Every class that occurs stays in training. Where nothing can be held out, the score is measured on
        what is trained on, and ``how`` says so.

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
    """What is held out of training, remembered while the annotation grows.

    Of targets that have a place, a block that was held out stays held out, blocks that are annotated anew
    come next, and those that were trained on come last. A block goes back into training only where a class
    would otherwise keep less than a quarter of its pixels there.
    """

    def __init__(self) -> None:
        self._held: tuple[Block, ...] = ()
        self._trained: set[Cell] = set()
        self._grounds: dict[int, Ground] = {}  # by the target's id
        self._masked: dict[int, tuple[tuple[Box, ...], Target]] = {}  # by the same
        self._counts: dict[int, Counts] = {}  # of objects, by the same

    def split(self, targets: Sequence[Target], fraction: float, seed: int) -> Split:
        """Part the targets as `split_validation` does, and as they were parted before."""
        if not fraction:
            self._held = ()
            return self._everything(targets, "nothing is held out: the score flatters")
        rng = np.random.default_rng(seed)
        if not any(target.place for target in targets):
            split = _split_whole(targets, fraction, rng)
            if split is not None:
                return split
        grounds = self._know(targets)
        kept = Parting(grounds)
        kept.keep(self._held)
        self._held = tuple(kept.held)
        for side in BLOCKS:
            parting = self._part(grounds, side, fraction, rng)
            if parting.is_complete:
                return self._parted(grounds, parting, "blocks of the annotated area are held out")
        if kept.has_begun:
            how = "blocks of the annotated area are held out; a class with little annotation is not scored"
            return self._parted(grounds, kept, how)
        return self._everything(targets, "too little is annotated to hold some out: the score flatters")

    def _know(self, targets: Sequence[Target]) -> list[Ground]:
        """Count the labelled pixels of targets that are new."""
        known = self._grounds
        self._grounds = {id(target): known.get(id(target)) or Ground(target) for target in targets}
        self._masked = {key: self._masked[key] for key in self._grounds if key in self._masked}
        self._counts = {key: self._counts[key] for key in self._grounds if key in self._counts}
        return list(self._grounds.values())

    def _part(
        self, grounds: Sequence[Ground], side: int, fraction: float, rng: np.random.Generator
    ) -> Parting:
        """Hold out blocks by chance, among those alike in what they were before."""
        blocks = list(dict.fromkeys(block for ground in grounds for block in ground.blocks(side)))
        order = [blocks[index] for index in rng.permutation(len(blocks))]
        order.sort(key=lambda block: not self._trained.isdisjoint(block.cells()))
        parting = Parting(grounds)
        parting.keep(self._held)
        parting.choose(order, fraction)
        return parting

    def _parted(self, grounds: Sequence[Ground], parting: Parting, how: str) -> Split:
        self._held = tuple(block for block in parting.held if not isinstance(block.frame, Target))
        training = [
            self._masked_target(ground, left, parting.held)
            for ground, left in zip(grounds, parting.left, strict=True)
        ]
        validation = [
            _piece(ground, block, self._whole_objects(ground, block))
            for block in parting.held
            for ground in grounds
            if ground.meets(block.frame, block.box) and ground.counts[ground.pieces(block.box)].any()
        ]
        return Split(tuple(training), tuple(validation), how)

    def _whole_objects(self, ground: Ground, block: Block) -> Annotation | None:
        """Cut a block out of the objects; those that have pixels outside it too become unlabelled."""
        objects, key = ground.target.objects, id(ground.target)
        if objects is None:
            return None
        if key not in self._counts:
            self._counts[key] = np.unique(objects, return_counts=True)
        every, totals = self._counts[key]
        inside = objects[ground.region(block.box)]
        numbers, counts = np.unique(inside, return_counts=True)
        is_cut = (counts < totals[np.searchsorted(every, numbers)]) & (numbers > BACKGROUND)
        return np.where(np.isin(inside, numbers[is_cut]), 0, inside)

    def _everything(self, targets: Sequence[Target], how: str) -> Split:
        """Train on all there is and score on the same."""
        if any(target.place for target in targets):
            for ground in self._know(targets):
                self._masked_target(ground, ground.counts, ())
        return Split(tuple(targets), tuple(targets), how)

    def _masked_target(self, ground: Ground, left: NDArray[np.int64], held: Sequence[Block]) -> Target:
        """Return the target without what is held out, the same one as before where that is unchanged."""
        boxes = tuple(block.grown for block in held if ground.meets(block.frame, block.grown))
        before, masked = self._masked.get(id(ground.target), (None, ground.target))
        if boxes == before:
            return masked
        if ground.is_placed:
            self._trained.update(ground.cells(left))
        masked = ground.target
        if boxes:
            classes = masked.classes.copy()
            for box in boxes:
                classes[ground.region(box)] = UNLABELLED
            masked = replace(masked, classes=classes)
        self._masked[id(ground.target)] = boxes, masked
        return masked


def score(targets: Sequence[Target], predict: Predict, n_classes: int) -> ValidationScore:
    """Score predicted classes on the labelled pixels of the targets.

    Parameters
    ----------
    targets : sequence of Target
    predict : callable
        From an image (C, *spatial) to probabilities (n_classes, *spatial).
    n_classes : int

    Returns
    -------
    ValidationScore
        Dice and IoU of the pixels of all targets together.
    """
    confusion = np.zeros((n_classes, n_classes), np.int64)
    for target in targets:
        labelled = target.classes != UNLABELLED
        predicted = _decide(predict(target.image), target)[labelled]
        pairs = target.classes[labelled].astype(np.int64) * n_classes + predicted
        confusion += np.bincount(pairs, minlength=n_classes**2).reshape(n_classes, n_classes)
    hits = np.diag(confusion)
    sums = confusion.sum(0) + confusion.sum(1)
    dice = tuple(float(2 * h / s) if s else None for h, s in zip(hits, sums, strict=True))
    iou = tuple(float(h / (s - h)) if s else None for h, s in zip(hits, sums, strict=True))
    return ValidationScore(dice, iou, float(hits.sum() / max(1, confusion.sum())))


def _decide(probabilities: NDArray[np.float32], target: Target) -> NDArray[np.intp]:
    """Choose the likeliest class; of objects foreground or not, and then rim or core."""
    likeliest: NDArray[np.intp] = probabilities.argmax(0)
    if target.objects is None:
        return likeliest
    return np.where(probabilities[0] > 0.5, 0, 1 + probabilities[1:].argmax(0))


def _split_whole(targets: Sequence[Target], fraction: float, rng: np.random.Generator) -> Split | None:
    """Hold out whole images or slices by chance; None where they are few, or a class would be missing."""
    sources = sorted({target.source for target in targets})
    for groups, word in ((sources, "images"), ([*range(len(targets))], "slices")):
        if len(groups) < ENOUGH:
            continue
        chosen = {groups[i] for i in rng.permutation(len(groups))[: max(1, round(fraction * len(groups)))]}
        held = [(target.source if word == "images" else i) in chosen for i, target in enumerate(targets)]
        training = tuple(target for target, out in zip(targets, held, strict=True) if not out)
        validation = tuple(target for target, out in zip(targets, held, strict=True) if out)
        if _classes(training) >= _classes(validation):
            return Split(training, validation, f"{len(validation)} of {len(targets)} {word} are held out")
    return None


def _piece(ground: Ground, block: Block, whole: Annotation | None) -> Target:
    """Cut a block with the context around it, in which nothing is labelled."""
    target, inside = ground.target, ground.region(block.box)
    around = tuple(slice(max(0, part.start - CONTEXT), part.stop + CONTEXT) for part in inside)
    classes = np.full_like(target.classes[around], UNLABELLED)
    objects = None if whole is None else np.zeros(classes.shape, whole.dtype)
    shifted = tuple(
        slice(part.start - wide.start, part.stop - wide.start)
        for part, wide in zip(inside, around, strict=True)
    )
    classes[shifted] = target.classes[inside]
    if objects is not None and whole is not None:
        objects[shifted] = whole
    image = target.image[(slice(None), *around)]
    return Target(image, classes, target.separation[around], target.source, objects=objects)


def _classes(targets: Sequence[Target]) -> set[int]:
    return {int(value) for target in targets for value in np.unique(target.classes)} - {UNLABELLED}
