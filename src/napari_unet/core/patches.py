"""Which patches to draw from which annotated places."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

MAX_PLACES = 20_000
"""Labelled pixels remembered of each class in each example."""


@dataclass(frozen=True)
class Patch:
    """A crop: which example, and where its first pixel lies (it may lie outside)."""

    example: int
    start: tuple[int, ...]


class PatchSampler:
    """Draw patches around labelled pixels, every class getting its share, however rare.

    Parameters
    ----------
    class_maps : sequence of ndarray of uint8, shape (*spatial)
        Class index of each pixel of each example; values of ``n_classes`` and above are unlabelled.
    n_classes : int
    rng : numpy.random.Generator

    Raises
    ------
    ValueError
        If no pixel is labelled.

    Examples
    --------
    >>> classes = np.full((64, 64), 255, np.uint8)
    >>> classes[30, 40] = 0
    >>> sampler = PatchSampler([classes], 2, np.random.default_rng(0))
    >>> patch = sampler.draw((16, 16))
    >>> all(start <= place < start + 16 for start, place in zip(patch.start, (30, 40)))
    True
    """

    def __init__(
        self, class_maps: Sequence[NDArray[np.uint8]], n_classes: int, rng: np.random.Generator
    ) -> None:
        self._rng = rng
        self._shapes = [classes.shape for classes in class_maps]
        # places[class] = [(example, (n, ndim) pixels)], classes without pixels left out
        places = [self._places(class_maps, index) for index in range(n_classes)]
        self._places_of_class = [found for found in places if found]
        if not self._places_of_class:
            raise ValueError("no pixel is labelled: annotate at least one place")

    def draw(self, patch_shape: Sequence[int]) -> Patch:
        """Draw a patch that holds a labelled pixel of a class drawn with equal chances."""
        examples = self._places_of_class[self._rng.integers(len(self._places_of_class))]
        example, pixels = examples[self._rng.integers(len(examples))]
        pixel = pixels[self._rng.integers(len(pixels))]
        return Patch(example, self._start(pixel, patch_shape, self._shapes[example]))

    def _start(
        self, pixel: NDArray[np.intp], patch_shape: Sequence[int], shape: Sequence[int]
    ) -> tuple[int, ...]:
        """Place the patch around the pixel: inside the example where it fits, centred where it does not."""
        start = []
        for place, size, extent in zip(pixel, patch_shape, shape, strict=True):
            first = int(place) - int(self._rng.integers(size))
            start.append((extent - size) // 2 if size >= extent else min(max(first, 0), extent - size))
        return tuple(start)

    def _places(
        self, class_maps: Sequence[NDArray[np.uint8]], index: int
    ) -> list[tuple[int, NDArray[np.intp]]]:
        found = []
        for example, classes in enumerate(class_maps):
            flat = np.flatnonzero(classes == index)
            if len(flat) > MAX_PLACES:
                flat = np.sort(self._rng.choice(flat, MAX_PLACES, replace=False))
            if len(flat):
                found.append((example, np.stack(np.unravel_index(flat, classes.shape), axis=1)))
        return found
