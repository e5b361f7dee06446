"""What is held out of training, and how well the network does there."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from napari_unet.core.targets import UNLABELLED, Target

ENOUGH = 8
"""So many images, or slices, are enough to hold some of them out whole."""
BLOCKS = (128, 64, 32)
"""Sides of held-out blocks, pixels; the largest with which every class can be scored."""
CONTEXT = 32
"""Pixels around a held-out block that the network sees when it is scored."""
GAP = 16
"""Pixels around a held-out block that training does not see."""

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
    if not fraction:
        return Split(tuple(targets), tuple(targets), "nothing is held out: the score flatters")
    rng = np.random.default_rng(seed)
    sources = sorted({target.source for target in targets})
    for groups, word in ((sources, "images"), ([*range(len(targets))], "slices")):
        if len(groups) >= ENOUGH:
            chosen = {
                groups[i] for i in rng.permutation(len(groups))[: max(1, round(fraction * len(groups)))]
            }
            held = [(target.source if word == "images" else i) in chosen for i, target in enumerate(targets)]
            split = _split_whole(targets, held, word)
            if split is not None:
                return split
    for side in BLOCKS:
        split = _split_blocks(targets, fraction, side, rng)
        if split is not None:
            return split
    return Split(
        tuple(targets), tuple(targets), "too little is annotated to hold some out: the score flatters"
    )


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
        predicted = predict(target.image).argmax(0)[labelled]
        pairs = target.classes[labelled].astype(np.int64) * n_classes + predicted
        confusion += np.bincount(pairs, minlength=n_classes**2).reshape(n_classes, n_classes)
    hits = np.diag(confusion)
    sums = confusion.sum(0) + confusion.sum(1)
    dice = tuple(float(2 * h / s) if s else None for h, s in zip(hits, sums, strict=True))
    iou = tuple(float(h / (s - h)) if s else None for h, s in zip(hits, sums, strict=True))
    return ValidationScore(dice, iou, float(hits.sum() / max(1, confusion.sum())))


def _split_whole(targets: Sequence[Target], held: Sequence[bool], word: str) -> Split | None:
    training = [target for target, out in zip(targets, held, strict=True) if not out]
    validation = [target for target, out in zip(targets, held, strict=True) if out]
    if not _classes(training) >= _classes(validation):
        return None
    return Split(
        tuple(training), tuple(validation), f"{len(validation)} of {len(targets)} {word} are held out"
    )


def _split_blocks(
    targets: Sequence[Target], fraction: float, side: int, rng: np.random.Generator
) -> Split | None:
    """Hold out blocks by chance, while every class keeps most of its pixels in training."""
    counts = np.sum([_counts(target.classes) for target in targets], axis=0)
    left, wanted = counts.copy(), fraction * counts
    maps = [target.classes.copy() for target in targets]
    held: list[Target] = []
    blocks = [(i, block) for i, target in enumerate(targets) for block in _blocks(target.classes.shape, side)]
    taken = np.zeros_like(counts)
    for index in rng.permutation(len(blocks)):
        i, block = blocks[index]
        inside = _counts(targets[i].classes[block])
        lost = _counts(maps[i][_grown(block, GAP)])
        short = (inside > 0) & (taken < wanted)
        if not short.any() or (left - lost < counts / 2).any():
            continue
        held.append(_piece(targets[i], block))
        maps[i][_grown(block, GAP)] = UNLABELLED
        taken, left = taken + inside, left - lost
    if not ((taken > 0) == (counts > 0)).all():
        return None
    training = tuple(replace(target, classes=classes) for target, classes in zip(targets, maps, strict=True))
    return Split(training, tuple(held), "blocks of the annotated area are held out")


def _piece(target: Target, block: tuple[slice, ...]) -> Target:
    """Cut a block with the context around it, in which nothing is labelled."""
    around = _grown(block, CONTEXT)
    classes = np.full_like(target.classes, UNLABELLED)
    classes[block] = target.classes[block]
    return Target(
        target.image[(slice(None), *around)], classes[around], target.separation[around], target.source
    )


def _blocks(shape: Sequence[int], side: int) -> Iterator[tuple[slice, ...]]:
    counts = [max(1, round(size / side)) for size in shape]
    for place in np.ndindex(*counts):
        yield tuple(
            slice(p * size // n, (p + 1) * size // n) for p, n, size in zip(place, counts, shape, strict=True)
        )


def _grown(block: tuple[slice, ...], by: int) -> tuple[slice, ...]:
    return tuple(slice(max(0, part.start - by), part.stop + by) for part in block)


def _counts(classes: NDArray[np.uint8]) -> NDArray[np.int64]:
    return np.bincount(classes.ravel(), minlength=UNLABELLED)[:UNLABELLED]


def _classes(targets: Sequence[Target]) -> set[int]:
    return {int(value) for target in targets for value in np.unique(target.classes)} - {UNLABELLED}
