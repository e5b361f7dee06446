"""What the pixels of one plane weigh in the training, computed in the background."""

from collections.abc import Generator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from napari_unet.core.targets import UNLABELLED, Example, Target, TargetOptions, class_weights, make_target
from napari_unet.session.images import ImageChoice, Index

Weights = NDArray[np.float32]


@dataclass(frozen=True)
class Wish:
    """A plane of an image, and what is trained on; equal wishes have equal weights.

    Parameters
    ----------
    choice, index
        The image and which of its planes.
    examples
        What is trained on of this image.
    options
        Task, classes, w0 and sigma.
    balanced
        Whether the loss weighs rare classes more.
    others
        What is trained on of other images: it counts when classes are balanced.
    """

    choice: ImageChoice
    index: Index
    examples: tuple[Example, ...]
    options: TargetOptions
    balanced: bool = False
    others: tuple[Example, ...] = ()


def weigh(wish: Wish) -> Generator[None, None, Weights]:
    """Return what each pixel (Y, X) weighs: its class, and what separates objects; 0 where unlabelled."""
    weights = np.zeros(wish.choice.annotation_shape[-2:], np.float32)
    of_class = yield from _weights_of_classes(wish)
    for example in wish.examples:
        yield
        cut = _cut(wish, example)
        if cut is not None:
            target = make_target(example, wish.options)
            _paste(weights, example.place[-2:], _plane_weights(target, of_class)[cut])
    return weights


def _weights_of_classes(wish: Wish) -> Generator[None, None, Weights]:
    """Return what each class weighs by itself; the last entry is that of unlabelled pixels."""
    n_classes = len(wish.options.classes)
    weights = np.zeros(UNLABELLED + 1, np.float32)
    weights[:n_classes] = 1
    if wish.balanced:
        targets = yield from _targets_without_separation(wish)
        weights[:n_classes] = class_weights(targets, n_classes)
    return weights


def _targets_without_separation(wish: Wish) -> Generator[None, None, Sequence[Target]]:
    targets = []
    for example in (*wish.examples, *wish.others):
        yield
        targets.append(make_target(example, replace(wish.options, w0=0.0)))  # the slowest part is left out
    return targets


def _plane_weights(target: Target, of_class: Weights) -> Weights:
    weights: Weights = of_class[target.classes] + target.separation
    return weights


def _cut(wish: Wish, example: Example) -> int | tuple[()] | None:
    """Return how to take the plane out of an example's array; None where the example lies elsewhere."""
    ndim = example.annotation.ndim
    if ndim == 2:
        return () if example.place[:-2] == wish.index else None
    at = dict(zip(wish.choice.plane_axes, wish.index, strict=True))
    t, first = example.place[:2]
    z = at["Z"] - first
    return z if at.get("T", 0) == t and 0 <= z < len(example.annotation) else None


def _paste(weights: Weights, corner: Sequence[int], part: Weights) -> None:
    (y, x), (height, width) = corner, part.shape
    room = weights[y : y + height, x : x + width]
    np.maximum(room, part, out=room)  # where examples overlap, what one leaves unlabelled the other may label
