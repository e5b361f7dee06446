"""Which patches to draw from which annotated places."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

BEYOND = 0.25
"""Share of the patches that may reach beyond their example. If none did, an object that the border of the
image cuts would always lie at the border of a patch, and be known by the zeros behind it."""
EXAMPLE_POWER = 0.5
"""An example is drawn in proportion to this power of its labelled pixels."""
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
    before : PatchSampler, optional
        One that knows the labelled pixels of some of these maps already.

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
        self,
        class_maps: Sequence[NDArray[np.uint8]],
        n_classes: int,
        rng: np.random.Generator,
        before: "PatchSampler | None" = None,
    ) -> None:
        self._rng = rng
        self._class_maps = class_maps  # the ids in the keys of what is known are theirs
        self._known: dict[tuple[int, int], NDArray[np.intp]] = {} if before is None else before._known
        self._shapes = [classes.shape for classes in class_maps]
        # places[class] = [(example, (n, ndim) pixels)], classes without pixels left out
        places = [self._places(index) for index in range(n_classes)]
        self._places_of_class = [found for found in places if found]
        self._chances = [_chances(found) for found in self._places_of_class]
        ids = {id(classes) for classes in class_maps}
        self._known = {key: pixels for key, pixels in self._known.items() if key[0] in ids}
        if not self._places_of_class:
            raise ValueError("no pixel is labelled: annotate at least one place")

    def draw(self, patch_shape: Sequence[int]) -> Patch:
        """Draw a patch that holds a labelled pixel of a class drawn with equal chances.

        Most lie inside their example where they fit, and around its middle where they do not; a share of
        them wherever the pixel is in them.
        """
        index = self._rng.integers(len(self._places_of_class))
        examples, chances = self._places_of_class[index], self._chances[index]
        example, pixels = examples[np.searchsorted(chances, self._rng.random(), "right")]
        pixel = pixels[self._rng.integers(len(pixels))]
        return Patch(example, self._start(pixel, patch_shape, self._shapes[example]))

    def _start(
        self, pixel: NDArray[np.intp], patch_shape: Sequence[int], shape: Sequence[int]
    ) -> tuple[int, ...]:
        """Place the patch around the pixel."""
        first = [
            int(place - self._rng.integers(size)) for place, size in zip(pixel, patch_shape, strict=True)
        ]
        if self._rng.random() < BEYOND:
            return tuple(first)
        return tuple(
            (extent - size) // 2 if size >= extent else min(max(at, 0), extent - size)
            for at, size, extent in zip(first, patch_shape, shape, strict=True)
        )

    def _places(self, index: int) -> list[tuple[int, NDArray[np.intp]]]:
        found = []
        for example, classes in enumerate(self._class_maps):
            key = id(classes), index
            if key not in self._known:
                self._known[key] = self._pixels(classes, index)
            if len(self._known[key]):
                found.append((example, self._known[key]))
        return found

    def _pixels(self, classes: NDArray[np.uint8], index: int) -> NDArray[np.intp]:
        """Pixels of a class (n, ndim), by chance where there are many."""
        flat = np.flatnonzero(classes == index)
        if len(flat) > MAX_PLACES:
            flat = np.sort(self._rng.choice(flat, MAX_PLACES, replace=False))
        return np.stack(np.unravel_index(flat, classes.shape), axis=1)


def _chances(found: list[tuple[int, NDArray[np.intp]]]) -> NDArray[np.float64]:
    """Cumulative chances of examples to be drawn, from their labelled pixels of a class."""
    weights = np.array([len(pixels) for _, pixels in found]) ** EXAMPLE_POWER
    return np.asarray(np.cumsum(weights[:-1]) / weights.sum())
