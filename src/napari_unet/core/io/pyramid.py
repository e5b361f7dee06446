"""Geometry of a multiscale result: levels, their blocks, and how pixels of one become pixels of the next."""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_unet.core.io.image import Region
from napari_unet.core.io.layout import Layout

SMALL = 512  # pixels of Y or X that are shown at once; no coarser level is needed below
_NEARLY = 1.4  # planes as close together as this many pixels, or closer, are merged with the pixels


@dataclass(frozen=True)
class Level:
    """One level of a pyramid.

    Parameters
    ----------
    shape, block_shape
        Of the level; blocks begin at multiples of their shape, the last ones along an axis are shorter.
    factors
        Pixels of the level before that become one, along each axis.
    scale, translation
        Size of a pixel, and the centre of the first one, in the units of the result; 1 and 0 for T and C.
    """

    shape: tuple[int, ...]
    block_shape: tuple[int, ...]
    factors: tuple[int, ...]
    scale: tuple[float, ...]
    translation: tuple[float, ...]

    @property
    def _n_blocks(self) -> tuple[int, ...]:
        return tuple(-(-size // step) for size, step in zip(self.shape, self.block_shape, strict=True))

    def __len__(self) -> int:
        return prod(self._n_blocks)

    def block(self, index: int) -> Region:
        """Return where a block lies."""
        starts = [
            int(at) * step
            for at, step in zip(np.unravel_index(index, self._n_blocks), self.block_shape, strict=True)
        ]
        return tuple(
            slice(start, min(start + step, size))
            for start, step, size in zip(starts, self.block_shape, self.shape, strict=True)
        )


def pyramid(
    layout: Layout, block_shape: tuple[int, ...], shifts: Mapping[str, float] | None = None
) -> tuple[Level, ...]:
    """Return the levels of a result, finest first: Y and X are halved while the larger exceeds 512.

    Z is halved with them while its voxels are hardly longer than the smallest. The first pixel lies `shifts`
    pixels off the origin.

    Examples
    --------
    >>> layout = Layout((40, 2000, 1000), np.dtype("uint8"), "ZYX", (2, 0.5, 0.5), "µm", ())
    >>> [level.shape for level in pyramid(layout, (1, 512, 512))]
    [(40, 2000, 1000), (40, 1000, 500), (40, 500, 250)]
    >>> pyramid(layout, (1, 512, 512))[2].scale
    (2.0, 2.0, 2.0)
    """
    scale = tuple(float(layout.sizes.get(axis, 1.0)) for axis in layout.axes)
    start = tuple(layout.sizes.get(axis, 0.0) * (shifts or {}).get(axis, 0.0) for axis in layout.axes)
    levels = [Level(layout.shape, block_shape, (1,) * len(scale), scale, start)]
    while max(levels[-1].shape[-2:]) > SMALL:
        levels.append(_coarser(levels[-1], layout))
    return tuple(levels)


def _coarser(level: Level, layout: Layout) -> Level:
    finest = min(level.scale[-2:])
    factors = tuple(
        2 if size > 1 and (axis in "YX" or (axis == "Z" and scale <= _NEARLY * finest)) else 1
        for axis, size, scale in zip(layout.axes, level.shape, level.scale, strict=True)
    )
    shape = tuple(-(-size // factor) for size, factor in zip(level.shape, factors, strict=True))
    shift = 0.0 if layout.is_labels else 0.5  # the mean of two pixels lies between them
    return Level(
        shape,
        level.block_shape,
        factors,
        tuple(scale * factor for scale, factor in zip(level.scale, factors, strict=True)),
        tuple(
            start + shift * (factor - 1) * scale
            for start, factor, scale in zip(level.translation, factors, level.scale, strict=True)
        ),
    )


def sources(region: Region, factors: tuple[int, ...], shape: tuple[int, ...]) -> Region:
    """Return the region of a level of `shape` that a region of the next one is made of.

    Examples
    --------
    >>> sources((slice(2, 4), slice(3, 5)), (1, 2), (9, 9))
    (slice(2, 4, None), slice(6, 9, None))
    """
    return tuple(
        slice(part.start * factor, min(part.stop * factor, size))
        for part, factor, size in zip(region, factors, shape, strict=True)
    )


def strided(array: NDArray[Any], factors: tuple[int, ...]) -> NDArray[Any]:
    """Keep the first of every `factors` pixels: labels have no mean."""
    return array[tuple(slice(None, None, factor) for factor in factors)]


def mean(array: NDArray[Any], factors: tuple[int, ...]) -> NDArray[Any]:
    """Average `factors` pixels into one, at the far borders those that are there; integers are rounded.

    Examples
    --------
    >>> mean(np.array([[0, 2, 5], [4, 2, 7]], np.uint8), (2, 2))
    array([[2, 6]], dtype=uint8)
    """
    missing = [(0, -size % factor) for size, factor in zip(array.shape, factors, strict=True)]
    whole = np.pad(array, missing, mode="edge")  # the mean of a pixel and its copy is the pixel
    halves = [(size // factor, factor) for size, factor in zip(whole.shape, factors, strict=True)]
    averaged: NDArray[np.float32] = whole.reshape([side for pair in halves for side in pair]).mean(
        axis=tuple(range(1, 2 * array.ndim, 2)), dtype=np.float32
    )
    rounded = np.rint(averaged) if array.dtype.kind in "ui" else averaged
    return rounded.astype(array.dtype)


def pieces(region: Region, step: tuple[int, ...]) -> list[Region]:
    """Cut a region into pieces of at most `step`."""
    axes = [
        [slice(*ends) for ends in pairwise([*range(part.start, part.stop, size), part.stop])]
        for part, size in zip(region, step, strict=True)
    ]
    return [
        tuple(axis[at] for axis, at in zip(axes, place, strict=True)) for place in np.ndindex(*map(len, axes))
    ]
