"""What a plain array of Zarr or HDF5 says about its axes and voxel sizes in its attributes."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

from napari_unet.core.io.axes import AXES, UNKNOWN_UNIT, plain_axes, spatial_of, unit_symbol
from napari_unet.core.io.values import Values, is_size, parse_json

_SIZES = ("element_size_um", "resolution", "voxel_size", "spacing")  # Fiji and ilastik; N5 and Zarr from EM


def attribute_axes(
    attributes: Mapping[str, Any],
    shape: Sequence[int],
    names: Sequence[Any] = (),
    values: Values | None = None,
) -> str:
    """Return the axes that attributes or names of dimensions tell, else YX, ZYX, CZYX or TCZYX.

    Examples
    --------
    >>> attribute_axes({"axistags": '{"axes": [{"key": "y"}, {"key": "x"}, {"key": "c"}]}'}, (8, 8, 2))
    'YXC'
    >>> attribute_axes({}, (5, 8, 8), ("time", "y", "x")), attribute_axes({}, (5, 8, 8), ("a", "b", "c"))
    ('TYX', 'ZYX')
    """
    values = values or Values("")
    stated = [values.plain(attributes, key) for key in ("axes", "_ARRAY_DIMENSIONS")]
    for candidate in (names, _axistags(attributes, values), *stated):
        letters = "".join(str(name)[:1].upper() for name in candidate)
        if len(letters) == len(shape) == len(set(letters) & set(AXES)):
            return letters
    return plain_axes(shape)


def attribute_sizes(
    attributes: Mapping[str, Any], axes: str, values: Values | None = None
) -> tuple[dict[str, float], str]:
    """Return voxel sizes and their unit; attributes give one for each spatial axis, or for each axis.

    Examples
    --------
    >>> attribute_sizes({"element_size_um": [0.5, 0.1, 0.1]}, "CZYX")
    ({'Z': 0.5, 'Y': 0.1, 'X': 0.1}, 'µm')
    """
    values = values or Values("")
    for key in _SIZES:
        if key in attributes:
            found = values.plain(attributes, key)
            spatial = spatial_of(axes)
            letters = {len(axes): axes, len(spatial): spatial, 3: "ZYX"}.get(len(found), "")
            sizes = {axis: size for axis, size in zip(letters, found, strict=False) if axis in "ZYX"}
            if sizes and all(map(is_size, sizes.values())):
                unit = (
                    "µm"
                    if key == "element_size_um"
                    else _unit(values.plain(attributes, _unit_key(attributes)))
                )
                return {axis: float(size) for axis, size in sizes.items()}, unit
            values.ignore(key, attributes[key])
    return {}, UNKNOWN_UNIT


def _axistags(attributes: Mapping[str, Any], values: Values) -> list[str]:
    """Axes as ilastik writes them."""
    if "axistags" not in attributes:
        return []
    with suppress(ValueError):
        tags = parse_json(values.text(attributes, "axistags"), "axistags")
        keys = [values.text(axis, "key") for axis in values.sequence(tags, "axes")]
        if keys and all(keys):
            return keys
    values.ignore("axistags", attributes["axistags"])
    return []


def _unit_key(attributes: Mapping[str, Any]) -> str:
    return "unit" if "unit" in attributes else "units"


def _unit(stated: str | Sequence[Any]) -> str:
    """Return the unit, of several the last, which is that of X."""
    last = stated if isinstance(stated, str) else next(iter(stated[::-1]), "")
    return unit_symbol(last if isinstance(last, str) else "")
