"""Axes of size 1, which files have or leave out without meaning anything by it."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_unet.core.io.image import Image, LazyArray, Region


@dataclass(frozen=True, eq=False)
class SingletonView:
    """A lazy array with axes of size 1 added or left out; the others keep their order."""

    data: LazyArray
    axes: str
    shown: str

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape along the axes that are shown."""
        sizes = dict(zip(self.axes, self.data.shape, strict=True))
        return tuple(sizes.get(axis, 1) for axis in self.shown)

    @property
    def dtype(self) -> np.dtype[Any]:
        """The type of the array."""
        return self.data.dtype

    def __getitem__(self, region: Region, /) -> NDArray[Any]:
        parts = dict(zip(self.shown, region, strict=True))
        block = np.asarray(self.data[tuple(parts.get(axis, slice(0, 1)) for axis in self.axes)])
        sizes = dict(zip(self.axes, block.shape, strict=True))
        empty = {axis: len(range(1)[part]) for axis, part in parts.items()}
        return block.reshape([sizes.get(axis, empty[axis]) for axis in self.shown])


def with_axes_of(labels: Image, image: Image) -> Image:
    """Return labels with a Z axis of size 1 where their image has one, and without where it has none.

    Parameters
    ----------
    labels
        Of which a Z of more than one plane stays.
    image
        What they belong to.

    Examples
    --------
    >>> labels = Image(np.ones((1, 8, 9), int), "ZYX", (5.0, 1.0, 1.0), "µm", ("",), "labels")
    >>> image = Image(np.ones((8, 9)), "YX", (1.0, 1.0), "µm", ("",), "image")
    >>> with_axes_of(labels, image).spatial_shape, with_axes_of(image, labels).spatial_shape
    ((8, 9), (1, 8, 9))
    """
    there, wanted = "Z" in labels.axes, "Z" in image.axes
    if there == wanted or (labels if there else image).spatial_shape[0] > 1:
        return labels
    shown = f"Z{labels.axes}" if wanted else labels.axes.replace("Z", "")
    spacing = image.spacing[:1] + labels.spacing if wanted else labels.spacing[1:]
    return replace(labels, data=SingletonView(labels.data, labels.axes, shown), axes=shown, spacing=spacing)
