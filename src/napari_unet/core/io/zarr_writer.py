"""OME-Zarr 0.5, written chunk by chunk; the zarr library is imported only here and in the reader."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from napari_unet.core.io.axes import ngff_unit
from napari_unet.core.io.image import Region
from napari_unet.core.io.layout import Layout

if TYPE_CHECKING:
    import zarr

_VERSION = "0.5"
_CHUNK = {"Y": 512, "X": 512}  # one plane deep, so that planes written singly rewrite no chunk
_TYPES = {"T": "time", "C": "channel"}


@dataclass(frozen=True, eq=False)
class ZarrSink:
    """The one level of a multiscale image."""

    array: "zarr.Array[Any]"

    def write(self, region: Region, array: NDArray[Any]) -> None:
        """Store `array` at `region`."""
        if not np.can_cast(array.dtype, self.array.dtype, "same_kind"):
            raise TypeError(f"cannot store {array.dtype} as {self.array.dtype}; convert the result")
        self.array[region] = array.astype(self.array.dtype)


def create_zarr(path: Path, layout: Layout, name: str) -> ZarrSink:
    """Create the group and its empty array; chunks that are never written read as 0."""
    import zarr

    group = zarr.create_group(str(path), zarr_format=3, attributes={"ome": _metadata(layout, name)})
    chunks = tuple(
        min(size, _CHUNK.get(axis, 1)) for axis, size in zip(layout.axes, layout.shape, strict=True)
    )
    array = group.create_array(
        "0", shape=layout.shape, dtype=layout.dtype, chunks=chunks, dimension_names=list(layout.axes.lower())
    )
    return ZarrSink(array)


def _metadata(layout: Layout, name: str) -> dict[str, Any]:
    scale = [layout.sizes.get(axis, 1.0) for axis in layout.axes]
    multiscale = {
        "name": name,
        "axes": [_axis(axis, layout.unit) for axis in layout.axes],
        "datasets": [{"path": "0", "coordinateTransformations": [{"type": "scale", "scale": scale}]}],
    }
    ome: dict[str, Any] = {"version": _VERSION, "multiscales": [multiscale]}
    if layout.is_labels:
        ome["image-label"] = {"colors": [{"label-value": 0, "rgba": [0, 0, 0, 0]}]}
    elif any(layout.channels):
        window = {"start": 0.0, "end": 1.0, "min": 0.0, "max": 1.0}
        channels = [{"label": channel, "color": "FFFFFF", "window": window} for channel in layout.channels]
        ome["omero"] = {"channels": channels}
    return ome


def _axis(axis: str, unit: str) -> dict[str, str]:
    description = {"name": axis.lower(), "type": _TYPES.get(axis, "space")}
    named = ngff_unit(unit)
    return description | ({"unit": named} if axis in "ZYX" and named else {})
