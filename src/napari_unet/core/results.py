"""What a segmentation looks like: axes, shape and type, and how what a network says becomes it."""

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from napari_unet.core.io import Image
from napari_unet.core.targets import ClassLabel
from napari_unet.core.tiling import Region, Shape

Kind = Literal["labels", "probabilities", "objects"]
ScoreType = Literal["uint8", "float16", "float32"]


@dataclass(frozen=True, eq=False)
class ResultLayout:
    """Axes, shape and type of a result, and how what the network says becomes it.

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
    score_type : {"uint8", "float16", "float32"}
        Type of probabilities; 255 is 1 in uint8.

    Raises
    ------
    ValueError
        If objects are wanted and no class is their background.
    """

    image: Image
    kind: Kind
    classes: tuple[ClassLabel, ...]
    ndim: int
    score_type: ScoreType = "float32"

    def __post_init__(self) -> None:
        values = [label.output_value for label in self.classes]
        if self.kind == "objects" and 0 not in values:
            raise ValueError(
                f"the model writes {values} and no 0, the background of objects: use --kind labels, or train "
                "with --task objects"
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
        return np.dtype(self.score_type if self.kind == "probabilities" else np.uint32)

    @property
    def channels(self) -> tuple[str, ...]:
        """Names of the classes of probabilities; nothing else has channels."""
        return tuple(label.name for label in self.classes) if self.kind == "probabilities" else ()

    def encode(self, said: NDArray[Any]) -> NDArray[Any]:
        """Turn what the network says into what is written.

        Parameters
        ----------
        said : ndarray
            Probabilities (n_classes, …) of float32 where these are wanted, else indices of classes (…).

        Returns
        -------
        ndarray
            Probabilities or values of classes in the result's type; of objects, foreground or not.
        """
        if self.kind == "probabilities":
            return (
                np.rint(said * 255).astype(np.uint8)
                if self.score_type == "uint8"
                else said.astype(self.dtype)
            )
        values: NDArray[Any] = np.array([label.output_value for label in self.classes])
        values = values != 0 if self.kind == "objects" else values.astype(self.dtype)
        return values.take(said)

    def place(self, outer: Region, spatial: Region) -> Region:
        """Return where a part of planes or a volume belongs in the result.

        Parameters
        ----------
        outer : tuple of slice
            Time points, and planes for a 2D network.
        spatial : tuple of slice
            One for each spatial axis of the network.
        """
        places = {"T": outer[0], "C": slice(0, len(self.classes))}
        places |= dict(zip(self.image.spatial_axes, (*outer[1:], *spatial), strict=True))
        return tuple(places[axis] for axis in self.axes)

    def block_shape(self, shape: Shape) -> Shape:
        """Return the shape of a block in the axes of the result, from that of the plan."""
        sizes = {"T": shape[0], "C": len(self.classes)} | dict(
            zip(self.image.spatial_axes, shape[1:], strict=True)
        )
        return tuple(sizes[axis] for axis in self.axes)


@dataclass(frozen=True, eq=False)
class ArraySink:
    """Keeps results in memory."""

    array: NDArray[Any]

    def write(self, region: Region, array: NDArray[Any]) -> None:
        """Store an array at a region of the result."""
        self.array[region] = array
