"""Score of a network on what is held out of training."""

from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import product
from math import prod

import numpy as np
from numpy.typing import NDArray

from napari_unet.core.targets import UNLABELLED, Target

CONTEXT = 32
"""Pixels around a held-out block or window that the network sees when it is scored."""
MAX_WINDOW = {2: 768**2, 3: 88**3}
"""Pixels that are predicted at once, by the number of spatial axes; a fraction of a second on a CPU."""
MAX_SCORED = {2: 2 * 2**20, 3: 2 * 2**20}
"""Pixels that are predicted for one score."""

Predict = Callable[[NDArray[np.float32]], Generator[None, None, NDArray[np.float32]]]
"""From an image (C, *spatial) to probabilities (n_classes, *spatial), in pieces."""


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


def score(
    targets: Sequence[Target], predict: Predict, n_classes: int
) -> Generator[None, None, ValidationScore]:
    """Score predicted classes on the labelled pixels of the targets.

    Parameters
    ----------
    targets : sequence of Target
    predict : callable
        From an image (C, *spatial) to probabilities (n_classes, *spatial), yielding in between.
    n_classes : int

    Yields
    ------
    None
        Between pieces of work.

    Returns
    -------
    ValidationScore
        Dice and IoU of the pixels of all targets together.
    """
    confusion = np.zeros((n_classes, n_classes), np.int64)
    for index, target in enumerate(targets):
        if index:
            yield
        labelled = target.classes != UNLABELLED
        probabilities = yield from predict(target.image)
        predicted = _decide(probabilities, target)[labelled]
        pairs = target.classes[labelled].astype(np.int64) * n_classes + predicted
        confusion += np.bincount(pairs, minlength=n_classes**2).reshape(n_classes, n_classes)
    hits = np.diag(confusion)
    sums = confusion.sum(0) + confusion.sum(1)
    dice = tuple(float(2 * h / s) if s else None for h, s in zip(hits, sums, strict=True))
    iou = tuple(float(h / (s - h)) if s else None for h, s in zip(hits, sums, strict=True))
    return ValidationScore(dice, iou, float(hits.sum() / max(1, confusion.sum())))


def scored_windows(targets: Sequence[Target], seed: int) -> tuple[Target, ...]:
    """Cut targets into windows that are quickly predicted, and choose some where they are many.

    Parameters
    ----------
    targets : sequence of Target
        What is held out.
    seed : int

    Returns
    -------
    tuple of Target
        Every class of the targets is labelled in one of them.

    Examples
    --------
    >>> classes = np.zeros((2000, 1000), np.uint8)
    >>> target = Target(np.zeros((1, 2000, 1000), np.float32), classes, np.zeros((2000, 1000), np.float32))
    >>> [window.classes.shape for window in scored_windows([target], seed=0)]
    [(698, 532), (731, 532), (731, 532), (699, 532), (699, 532)]
    """
    windows = [window for target in targets for window in _windows(target)]
    most, taken = MAX_SCORED[windows[0].classes.ndim] if windows else 0, 0
    classes = [frozenset(np.unique(window.classes).tolist()) - {UNLABELLED} for window in windows]
    missing = set().union(*classes)
    chosen = set()
    for index in np.random.default_rng(seed).permutation(len(windows)).tolist():
        size = windows[index].classes.size
        if taken + size <= most or missing & classes[index]:
            chosen.add(index)
            taken, missing = taken + size, missing - classes[index]
    return tuple(windows[index] for index in sorted(chosen))


def _windows(target: Target) -> Iterator[Target]:
    """Cut a target into labelled windows with unlabelled context."""
    shape = target.classes.shape
    parts = [1] * len(shape)
    while prod(_read(size, n) for size, n in zip(shape, parts, strict=True)) > MAX_WINDOW[len(shape)]:
        parts[max(range(len(shape)), key=lambda axis: shape[axis] / parts[axis])] += 1
    if max(parts) == 1:
        yield target
        return
    for place in product(*map(range, parts)):
        inside = tuple(
            slice(k * size // n, (k + 1) * size // n) for k, size, n in zip(place, shape, parts, strict=True)
        )
        if (target.classes[inside] != UNLABELLED).any():
            yield cut_out(target, inside)


def _read(size: int, n_parts: int) -> int:
    return size if n_parts == 1 else min(size, -(-size // n_parts) + 2 * CONTEXT)


def cut_out(target: Target, inside: tuple[slice, ...]) -> Target:
    """Cut a part out of a target, with the context around it, in which nothing is labelled."""
    around = tuple(slice(max(0, part.start - CONTEXT), part.stop + CONTEXT) for part in inside)
    moved = tuple(
        slice(part.start - wide.start, part.stop - wide.start)
        for part, wide in zip(inside, around, strict=True)
    )
    classes = np.full_like(target.classes[around], UNLABELLED)
    classes[moved] = target.classes[inside]
    objects = None
    if target.objects is not None:
        objects = np.zeros(classes.shape, target.objects.dtype)
        objects[moved] = target.objects[inside]
    return replace(
        target,
        image=target.image[(slice(None), *around)],
        classes=classes,
        separation=target.separation[around],
        place=(),
        objects=objects,
        core_share=None,
        index=target.index or target.place[: -target.classes.ndim],
    )


def _decide(probabilities: NDArray[np.float32], target: Target) -> NDArray[np.intp]:
    """Choose the likeliest class; of objects foreground or not, and then boundary or interior."""
    likeliest: NDArray[np.intp] = probabilities.argmax(0)
    if target.objects is None:
        return likeliest
    return np.where(probabilities[0] > 0.5, 0, 1 + probabilities[1:].argmax(0))
