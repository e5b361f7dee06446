"""A scene is what is measured together, a time point or a plane of one; it is read in blocks."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_unet.core.io import Image, read_labels

Region = tuple[slice, ...]

_BLOCK = 2**24
"""Pixels that are read at once, at most."""


@dataclass(frozen=True, eq=False)
class Scene:
    """A time point of labels and of the image beneath them, or one plane of it."""

    objects: Image
    image: Image | None
    t: int
    z: int | None = None

    @property
    def axes(self) -> str:
        """Either "YX" or "ZYX"."""
        return "YX" if self.z is not None else self.objects.spatial_axes

    @property
    def shape(self) -> tuple[int, ...]:
        """Size of each axis."""
        return self.objects.spatial_shape[-len(self.axes) :]

    @property
    def spacing(self) -> tuple[float, ...]:
        """Size of a pixel along each axis."""
        return self.objects.spacing[-len(self.axes) :]

    def labels(self, region: Region) -> NDArray[Any]:
        """Read labels."""
        labels = read_labels(self.objects, self._whole(region), t=self.t)
        return labels if self.z is None else labels[0]

    def values(self, region: Region, labels: NDArray[Any]) -> NDArray[Any]:
        """Read intensities (C, *spatial), where there are objects; ValueError where some are not finite."""
        if self.image is None or not labels.any():
            return np.zeros((self.n_channels, *labels.shape), np.uint8)
        values = self.image.read(self._whole(region), t=self.t)
        values = values if self.z is None else values[:, 0]
        self._check_finite(values, labels)
        return values

    @property
    def n_channels(self) -> int:
        """Number of channels, 0 without an image."""
        return 0 if self.image is None else self.image.n_channels

    def _whole(self, region: Region) -> Region:
        return region if self.z is None else (slice(self.z, self.z + 1), *region)

    def _check_finite(self, values: NDArray[Any], labels: NDArray[Any]) -> None:
        if values.dtype.kind != "f" or np.isfinite(values).all():
            return
        within = labels[~np.isfinite(values).all(axis=0)]
        if (within := within[within != 0]).size and self.image is not None:
            raise ValueError(
                f"{self.image.name} is NaN or infinite in {within.size} pixels of objects, such as object "
                f"{within[0]}; give an image without these, or labels that leave them out"
            )


def block_shape(scene: Scene) -> tuple[int, ...]:
    """Choose blocks of whole chunks that are about as long along all axes.

    Formats that do not tell how they are stored are mostly stored in rows.
    """
    array = getattr(scene.objects.data, "array", None)  # of ZarrPixels
    chunks = dict(zip(scene.objects.axes, getattr(array, "chunks", ()), strict=False))
    rows = {"X": scene.shape[-1]}
    sides = [min(n, (chunks or rows).get(a, 1)) for a, n in zip(scene.axes, scene.shape, strict=True)]
    while prod(sides) > _BLOCK:
        sides[sides.index(max(sides))] //= 2
    while growing := [at for at, side in enumerate(sides) if side < scene.shape[at]]:
        at = min(growing, key=sides.__getitem__)
        if prod(sides) * 2 > _BLOCK:
            break
        sides[at] *= 2
    return tuple(sides)


def blocks_of(shape: Sequence[int], sides: Sequence[int]) -> Iterator[Region]:
    """Cut an array into blocks.

    >>> list(blocks_of((5,), (3,)))
    [(slice(0, 3, None),), (slice(3, 5, None),)]
    """
    for place in np.ndindex(*(-(-size // side) for size, side in zip(shape, sides, strict=True))):
        yield tuple(
            slice(at * side, min((at + 1) * side, size))
            for at, side, size in zip(place, sides, shape, strict=True)
        )
