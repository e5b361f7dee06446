"""What a segmentation looks like: axes, shape and type, and how what a network says becomes it."""

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from napari_unet.core.io import Image
from napari_unet.core.objects import ObjectRules, find_objects, object_scores, set_no_data
from napari_unet.core.targets import ClassLabel
from napari_unet.core.tiling import Region, Shape

Kind = Literal["labels", "probabilities", "objects"]
ScoreType = Literal["uint8", "float16", "float32"]


DEFAULT_HALO = {2: 64, 3: 24}
"""Pixels around a tile in which objects are grown where it is not known how large they are."""
MOST_HALO = {2: 256, 3: 64}


@dataclass(frozen=True)
class Finding:
    """How objects are found in what a network says, and which of them are wanted.

    Parameters
    ----------
    rules : ObjectRules
        Those of the model, or those that make every connected part of the foreground an object.
    grows : bool
        Whether the network tells seeds from what they grow into; else objects are connected parts.
    fill_holes : bool
        Whether background that one object encloses is its own, up to the extent of the halo along each axis:
        tiles see no larger hole as a whole.
    keep_border : bool
        Whether objects that touch the border of the image are kept.
    link : bool
        Whether objects of neighbouring planes that overlap become one; at the border is then what any of its
        planes shows there, while sizes are those of single planes.
    min_size : int, optional
        Pixels or voxels of the smallest object that is wanted; by default that of the rules.
    """

    rules: ObjectRules
    grows: bool = False
    fill_holes: bool = False
    keep_border: bool = True
    link: bool = False
    min_size: int | None = None

    @property
    def least(self) -> int:
        """Pixels or voxels of the smallest object that is wanted."""
        return self.rules.min_size if self.min_size is None else self.min_size

    @property
    def sifts(self) -> bool:
        """Whether some objects are dropped once they are whole."""
        return self.least > 1 or not self.keep_border

    def halo(self, ndim: int) -> Shape:
        """Return how many pixels around a tile are looked at to find its objects.

        Examples
        --------
        >>> Finding(ObjectRules(reach=(20, 500)), grows=True).halo(2)
        (20, 256)
        """
        if not (self.grows or self.fill_holes):
            return (0,) * ndim
        reach = self.rules.reach if len(self.rules.reach) == ndim else (DEFAULT_HALO[ndim],) * ndim
        return tuple(min(size, MOST_HALO[ndim]) for size in reach)

    def find(self, scores: NDArray[np.uint8]) -> NDArray[np.unsignedinteger]:
        """Find the objects (*spatial) of a whole plane or volume in its scores (2, *spatial).

        Those at the border of a plane are kept where planes are linked.
        """
        return find_objects(
            scores,
            self.rules,
            fill=self.fill_holes,
            largest_hole=self.halo(scores.ndim - 1),  # larger ones are not filled in tiles either
            min_size=self.least,
            keep_border=self.keep_border or self.link,
        )


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
    finding : Finding, optional
        How objects are found, where they are wanted.

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
    finding: Finding = Finding(ObjectRules())

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
    def needs_probabilities(self) -> bool:
        """Whether more is asked of the network than the likeliest class."""
        return {
            "probabilities": True,
            "objects": self.finding.grows,
            "labels": len(set(self._values)) < len(self.classes),
        }[self.kind]

    @property
    def _values(self) -> list[int]:
        return [label.output_value for label in self.classes]

    @property
    def channels(self) -> tuple[str, ...]:
        """Names of the classes of probabilities; nothing else has channels."""
        return tuple(label.name for label in self.classes) if self.kind == "probabilities" else ()

    def encode(self, said: NDArray[Any]) -> NDArray[Any]:
        """Turn what the network says into what is written.

        Parameters
        ----------
        said : ndarray
            Probabilities (n_classes, …) of float32 where these are needed, else indices of classes (…).

        Returns
        -------
        ndarray
            Probabilities or values of classes in the result's type; of objects, scores (2, …) of uint8.
        """
        if self.kind == "objects":
            return object_scores(said) if self.finding.grows else self._certain(said)
        if self.kind == "probabilities":
            return (
                np.rint(said * 255).astype(np.uint8)
                if self.score_type == "uint8"
                else said.astype(self.dtype)
            )
        if self.needs_probabilities:
            return self._likeliest(said)
        return np.array(self._values, self.dtype).take(said)

    def blank(self, encoded: NDArray[Any], missing: NDArray[np.bool_]) -> None:
        """Write 0 into what `encode` returns, in place, where the image has no data; axes of 1 may differ."""
        if self.kind == "labels":
            encoded[missing.reshape(encoded.shape)] = 0
            return
        inside = missing.reshape(encoded.shape[1:])
        if self.kind == "objects":
            set_no_data(encoded, inside)
        else:
            encoded[:, inside] = 0

    def _likeliest(self, probabilities: NDArray[np.float32]) -> NDArray[Any]:
        """Return the likeliest output value, where several classes have the same one."""
        values = np.unique(self._values)
        of_value = np.equal.outer(values, self._values).astype(np.float32)  # n_values, n_classes
        likeliest: NDArray[np.intp] = np.tensordot(of_value, probabilities, 1).argmax(0)
        return values.astype(self.dtype).take(likeliest)

    def _certain(self, indices: NDArray[Any]) -> NDArray[np.uint8]:
        """Return scores that say foreground, and core as well, wherever the class is none of background."""
        values = np.array([255 * (label.output_value != 0) for label in self.classes], np.uint8)
        scores = values.take(indices)
        return np.stack([scores, scores])

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
