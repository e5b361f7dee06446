"""What an output looks like before a pixel of it is written."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from napari_unet.core.io.axes import AXES, check_axes, spatial_of
from napari_unet.core.io.image import Region


@dataclass(frozen=True)
class Layout:
    """Shape, type and meaning of an output; axes in TCZYX order, spacing in ZYX order; .tif keeps info."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    axes: str
    spacing: tuple[float, ...]
    unit: str
    channels: Sequence[str]
    info: str = field(default="", repr=False)

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


class Sink(Protocol):
    """Where the pixels go while an output is being written."""

    def write(self, region: Region, array: NDArray[Any]) -> None:
        """Store `array` at `region`, one slice for each axis of the layout."""
