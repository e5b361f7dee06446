"""What an output looks like before a pixel of it is written."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from napari_unet.core.io.axes import AXES, check_axes, spatial_of
from napari_unet.core.io.image import Region

JSON = str | int | float | bool | None | Sequence["JSON"] | Mapping[str, "JSON"]


@dataclass(frozen=True)
class Layout:
    """Shape, type and meaning of an output.

    Parameters
    ----------
    shape, dtype, axes
        Of the whole; axes are some of TCZYX in this order.
    spacing, unit
        Voxel size of each spatial axis in ZYX order.
    channels
        A name for each channel, or none.
    info
        Text that a `.tif` keeps beside its pixels.
    block_shape
        What is written at once, a size for each axis: writes begin at its multiples and the last ones along
        an axis are shorter. No two blocks share a file of a Zarr store. None: writes may be anywhere.
    provenance
        Where the result comes from, kept in the metadata of every format. No time: equal runs are equal.
    image_store
        The OME-Zarr image that the labels are to lie in: they are stored the way it is.

    Raises
    ------
    ValueError
        Where these contradict one another.
    """

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    axes: str
    spacing: tuple[float, ...]
    unit: str
    channels: Sequence[str]
    info: str = field(default="", repr=False)
    block_shape: tuple[int, ...] | None = field(default=None, repr=False)
    provenance: Mapping[str, JSON] = field(default_factory=dict, hash=False)
    image_store: Path | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        check_axes(self.axes, self.shape, "output")
        if self.axes != "".join(axis for axis in AXES if axis in self.axes):
            raise ValueError(f"output axes {self.axes!r} must follow the order {AXES}; transpose the result")
        if len(self.spacing) != len(spatial_of(self.axes)):
            raise ValueError(
                f"spacing {self.spacing} must have one value for each of {spatial_of(self.axes)}"
            )
        if self.dtype.kind not in "uif" or 0 in self.shape:
            raise ValueError(
                f"an output of {self.dtype} {self.shape} cannot be stored; use integers or floats"
            )
        if self.channels and len(self.channels) != self.n_channels:
            raise ValueError(
                f"{len(self.channels)} channel names for {self.n_channels} channels; name each one"
            )
        if self.block_shape and (len(self.block_shape) != len(self.shape) or min(self.block_shape) < 1):
            raise ValueError(
                f"blocks of {self.block_shape} need a size of at least 1 for each of {self.axes}"
            )
        if self.image_store and not self.is_labels:
            raise ValueError(
                f"{self.dtype} {self.axes} cannot be labels inside {self.image_store.name}; "
                "write probabilities to a store of their own"
            )

    @property
    def n_channels(self) -> int:
        """Number of channels, 1 without a channel axis."""
        return self.shape[self.axes.index("C")] if "C" in self.axes else 1

    @property
    def n_bytes(self) -> int:
        """Size of the uncompressed pixels."""
        return int(np.prod(self.shape, dtype=np.int64)) * self.dtype.itemsize

    @property
    def sizes(self) -> dict[str, float]:
        """Voxel size of each spatial axis."""
        return dict(zip(spatial_of(self.axes), self.spacing, strict=True))

    @property
    def is_labels(self) -> bool:
        """Whether these are labels: integers without channels."""
        return self.dtype.kind in "ui" and "C" not in self.axes


def stored(array: NDArray[Any], dtype: np.dtype[Any]) -> NDArray[Any]:
    """Return `array` in the type of the output.

    Raises
    ------
    TypeError
        Where floats would become integers.
    ValueError
        Where a value does not fit.

    Examples
    --------
    >>> stored(np.array([1, 255]), np.dtype("uint8"))
    array([  1, 255], dtype=uint8)
    """
    if array.dtype == dtype:
        return array
    if array.dtype.kind == "f" != dtype.kind:
        raise TypeError(f"cannot store {array.dtype} as {dtype}; convert the result")
    if dtype.kind in "ui" and array.size:
        limits = np.iinfo(dtype)
        for value in (array.min(), array.max()):
            if not limits.min <= value <= limits.max:
                raise ValueError(f"the value {value} does not fit into {dtype}; choose a larger type")
    return array.astype(dtype)


class Sink(Protocol):
    """Where the pixels go while an output is being written."""

    def write(self, region: Region, array: NDArray[Any]) -> None:
        """Store `array` at `region`, one slice for each axis of the layout."""


class ReadableSink(Sink, Protocol):
    """A sink that gives back what it holds; 0 where nothing has been written."""

    def read(self, region: Region) -> NDArray[Any]:
        """Return a copy of `region`."""


class ResultSink(ReadableSink, Protocol):
    """A result that is not yet complete, in a file or store of its own.

    Blocks and tasks may come in any order, more than once and from several processes: the bytes are the same.
    """

    @property
    def levels(self) -> tuple[int, ...]:
        """Number of tasks that make each further level of the pyramid, from the second finest; () without."""

    def reduce(self, level: int, task: int) -> None:
        """Make one block of `level`, from 1, out of the level before, which has to be complete."""
