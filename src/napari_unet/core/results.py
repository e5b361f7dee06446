"""What a segmentation looks like: axes, shape and type, how probabilities become it and are written."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from napari_unet.core.io import Image
from napari_unet.core.io.layout import Sink
from napari_unet.core.objects import connected_objects
from napari_unet.core.targets import ClassLabel
from napari_unet.core.tiling import Region, Shape, Tile, TileGrid

Kind = Literal["labels", "probabilities", "objects"]


@dataclass(frozen=True, eq=False)
class ResultLayout:
    """Axes, shape and type of a result, and how probabilities become it.

    Parameters
    ----------
    image : Image
        What is segmented.
    kind : {"labels", "probabilities", "objects"}
        What is wanted of it.
    classes : tuple of ClassLabel
        One per channel of the probabilities.
    ndim : {2, 3}
        Spatial axes of the network.

    Raises
    ------
    ValueError
        If objects are wanted and no class is their background.
    """

    image: Image
    kind: Kind
    classes: tuple[ClassLabel, ...]
    ndim: int

    def __post_init__(self) -> None:
        values = [label.output_value for label in self.classes]
        if self.kind == "objects" and 0 not in values:
            raise ValueError(
                f"the model writes {values} and no 0, the background of objects: use --kind labels"
            )

    @property
    def axes(self) -> str:
        """Those of the image in the order TCZYX; C are the classes of probabilities."""
        return "T" * ("T" in self.image.axes) + "C" * (self.kind == "probabilities") + self.image.spatial_axes

    @property
    def shape(self) -> Shape:
        """Shape of the result, one size for each of its axes."""
        sizes = {"T": self.image.n_timepoints, "C": len(self.classes)}
        sizes |= dict(zip(self.image.spatial_axes, self.image.spatial_shape, strict=True))
        return tuple(sizes[axis] for axis in self.axes)

    @property
    def dtype(self) -> np.dtype[Any]:
        """The smallest type that holds every value; how many objects there are is known too late."""
        if self.kind == "labels":
            return np.min_scalar_type(max(label.output_value for label in self.classes))
        return np.dtype(np.float32 if self.kind == "probabilities" else np.uint32)

    @property
    def outer_shape(self) -> Shape:
        """Time points, and the planes that a 2D network sees one by one."""
        return (self.image.n_timepoints, *self.image.spatial_shape[: -self.ndim])

    def encode(self, probabilities: NDArray[np.float32]) -> NDArray[Any]:
        """Turn probabilities (n_classes, …) into what is written; of objects, into foreground or not."""
        if self.kind == "probabilities":
            return probabilities
        values = np.array([label.output_value for label in self.classes], self.dtype)
        labels: NDArray[Any] = values[probabilities.argmax(0)]
        return labels if self.kind == "labels" else labels != 0

    def place(self, outer: Sequence[int], spatial: Region) -> Region:
        """Return where a part of a plane or volume belongs in the result."""
        planes = {"T": slice(outer[0], outer[0] + 1), "C": slice(0, len(self.classes))}
        inner = (*(slice(z, z + 1) for z in outer[1:]), *spatial)
        return tuple(
            (planes | dict(zip(self.image.spatial_axes, inner, strict=True)))[axis] for axis in self.axes
        )


@dataclass(frozen=True, eq=False)
class ArraySink:
    """Keeps results in memory."""

    array: NDArray[Any]

    def write(self, region: Region, array: NDArray[Any]) -> None:
        """Store an array at a region of the result."""
        self.array[region] = array


class ResultWriter:
    """Write each tile where it belongs."""

    def __init__(self, layout: ResultLayout, sink: Sink) -> None:
        self._layout, self._sink = layout, sink

    def __call__(self, outer: Sequence[int], tile: Tile, result: NDArray[Any]) -> Region | None:
        """Take the result of a tile; return the region that has been written."""
        return self._write(outer, tile.write, result)

    def _write(self, outer: Sequence[int], spatial: Region, result: NDArray[Any]) -> Region:
        region = self._layout.place(outer, spatial)
        self._sink.write(region, result.reshape([part.stop - part.start for part in region]))
        return region


class ObjectWriter(ResultWriter):
    """Collect the foreground of a plane or volume: objects are whole only when it is."""

    def __init__(self, layout: ResultLayout, grid: TileGrid, sink: Sink) -> None:
        super().__init__(layout, sink)
        self._foreground = np.zeros(grid.shape, bool)
        self._n_tiles, self._n_left, self._n_objects = len(grid), len(grid), 0

    def __call__(self, outer: Sequence[int], tile: Tile, result: NDArray[Any]) -> Region | None:
        """Take the foreground of a tile; return the region of the plane or volume with the last of them."""
        self._foreground[tile.write] = result
        self._n_left -= 1
        if self._n_left:
            return None
        self._n_left = self._n_tiles
        objects = connected_objects(self._foreground).astype(self._layout.dtype)
        objects[self._foreground] += self._n_objects  # the same number in two planes would be the same object
        self._n_objects = max(self._n_objects, int(objects.max(initial=0)))
        return self._write(outer, tuple(slice(0, size) for size in objects.shape), objects)
