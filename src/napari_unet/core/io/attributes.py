"""What a plain array of Zarr or HDF5 says about its axes and voxel sizes in its attributes."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from napari_unet.core.io.axes import AXES, PLAIN_AXES, UNKNOWN_UNIT, spatial_of, unit_symbol

_SIZES = ("element_size_um", "resolution", "voxel_size", "spacing")  # Fiji and ilastik; N5 and Zarr from EM


def attribute_axes(attributes: Mapping[str, Any], n_dimensions: int, names: Sequence[Any] = ()) -> str:
    """Return the axes that attributes or names of dimensions tell, else YX, ZYX, CZYX or TCZYX.

    Examples
    --------
    >>> attribute_axes({"axistags": '{"axes": [{"key": "z"}, {"key": "y"}, {"key": "x"}, {"key": "c"}]}'}, 4)
    'ZYXC'
    >>> attribute_axes({}, 3, ("time", "y", "x")), attribute_axes({}, 3, ("a", "b", "c"))
    ('TYX', 'ZYX')
    """
    told = (names, _axistags(attributes), attributes.get("axes"), attributes.get("_ARRAY_DIMENSIONS"))
    for candidate in (one for one in told if isinstance(one, str | Sequence)):
        letters = "".join(str(name)[:1].upper() for name in candidate)
        if len(letters) == n_dimensions == len(set(letters) & set(AXES)):
            return letters
    return PLAIN_AXES.get(n_dimensions, "")


def attribute_sizes(attributes: Mapping[str, Any], axes: str) -> tuple[dict[str, float], str]:
    """Return voxel sizes and their unit; attributes give one for each spatial axis, or for each axis.

    Examples
    --------
    >>> attribute_sizes({"element_size_um": [0.5, 0.1, 0.1]}, "CZYX")
    ({'Z': 0.5, 'Y': 0.1, 'X': 0.1}, 'µm')
    """
    for key in _SIZES:
        if key in attributes:
            values = _numbers(attributes[key])
            letters = {len(axes): axes, len(spatial_of(axes)): spatial_of(axes), 3: "ZYX"}.get(
                len(values), ""
            )
            sizes = {axis: size for axis, size in zip(letters, values, strict=False) if axis in "ZYX"}
            unit = "µm" if key == "element_size_um" else _unit(attributes)
            return (sizes, unit) if _usable(sizes) else ({}, UNKNOWN_UNIT)
    return {}, UNKNOWN_UNIT


def _axistags(attributes: Mapping[str, Any]) -> list[str]:
    """Axes as ilastik writes them."""
    tags = attributes.get("axistags")
    if not isinstance(tags, str):
        return []
    return [str(axis.get("key", "")) for axis in json.loads(tags).get("axes", [])]


def _numbers(value: Any) -> list[float]:
    values = np.ravel(value)
    return [float(size) for size in values] if values.dtype.kind in "iuf" else []


def _unit(attributes: Mapping[str, Any]) -> str:
    stated = attributes.get("unit", attributes.get("units", ""))
    return unit_symbol(str(stated if isinstance(stated, str) else next(iter(np.ravel(stated)[::-1]), "")))


def _usable(sizes: Mapping[str, float]) -> bool:
    return bool(sizes) and all(np.isfinite(size) and size > 0 for size in sizes.values())
