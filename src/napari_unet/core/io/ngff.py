"""OME-NGFF metadata of what we write: 0.5, and 0.4 for labels inside an image that is older."""

from collections.abc import Sequence
from typing import Any

from napari_unet.core.io.axes import ngff_unit
from napari_unet.core.io.layout import Layout
from napari_unet.core.io.pyramid import Level

PROVENANCE = "napari-unet"  # key of our own attributes
STATED_AXES = "axes"
"""Key of the axes of a result, of an OME-TIFF beside its provenance."""
_TYPES = {"T": "time", "C": "channel"}


def attributes(layout: Layout, levels: Sequence[Level], name: str, zarr_format: int) -> dict[str, Any]:
    """Return the attributes of the group that holds the levels, "0" the finest."""
    multiscale: dict[str, Any] = {
        "name": name,
        "axes": [_axis(axis, layout.unit) for axis in layout.axes],
        "datasets": [
            {"path": str(number), "coordinateTransformations": _transformations(level)}
            for number, level in enumerate(levels)
        ],
        "type": "strided" if layout.is_labels else "mean",
    }
    described: dict[str, Any] = {"multiscales": [multiscale], **_kind(layout)}
    ours = {PROVENANCE: dict(layout.provenance)} if layout.provenance else {}
    if zarr_format > 2:
        return {"ome": {"version": "0.5", **described}, **ours}
    for part in (multiscale, described.get("image-label", {})):
        part["version"] = "0.4"
    return {**described, **ours}


def _transformations(level: Level) -> list[dict[str, Any]]:
    scale = {"type": "scale", "scale": list(level.scale)}
    translation = {"type": "translation", "translation": list(level.translation)}
    return [scale, translation] if any(level.translation) else [scale]


def _kind(layout: Layout) -> dict[str, Any]:
    """Tell labels from channels with names."""
    if layout.is_labels:
        label: dict[str, Any] = {"colors": [{"label-value": 0, "rgba": [0, 0, 0, 0]}]}
        if layout.image_store:
            label["source"] = {"image": "../../"}
        return {"image-label": label}
    if not any(layout.channels):
        return {}
    end = 255.0 if layout.dtype == "uint8" else 1.0  # of probabilities
    window = {"start": 0.0, "end": end, "min": 0.0, "max": end}
    channels = [{"label": channel, "color": "FFFFFF", "window": window} for channel in layout.channels]
    return {"omero": {"channels": channels}}


def _axis(axis: str, unit: str) -> dict[str, str]:
    description = {"name": axis.lower(), "type": _TYPES.get(axis, "space")}
    named = ngff_unit(unit)
    return description | ({"unit": named} if axis in "ZYX" and named else {})
