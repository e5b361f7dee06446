"""Axes, voxel size and channel names from what OME, ImageJ and tifffile write into a TIFF."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any
from xml.etree import ElementTree

from tifffile import TiffFile, TiffPage, TiffPageSeries

from napari_unet.core.io.axes import UNKNOWN_UNIT, common_unit, unit_symbol
from napari_unet.core.io.values import Values

_CENTIMETRE = 3  # TIFF 6.0, tag ResolutionUnit; inches (2) are for printers and say nothing about voxels


@dataclass(frozen=True)
class TiffMetadata:
    """Sizes of some spatial axes, their unit, channel names or none; notes on what is unusable."""

    sizes: Mapping[str, float] = field(default_factory=dict)
    unit: str = UNKNOWN_UNIT
    channels: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def read_metadata(tif: TiffFile, series: TiffPageSeries, name: str) -> TiffMetadata:
    """Read the metadata of one series from the richest source that the file has; `name` is for its notes."""
    values = Values(name)
    found = _read(tif, series, values)
    return replace(found, notes=tuple(values.notes))


def _read(tif: TiffFile, series: TiffPageSeries, values: Values) -> TiffMetadata:
    position = tif.series.index(series)
    if series.kind == "ome":
        return _ome(tif.ome_metadata or "", series.name, position, len(tif.series))
    if series.kind == "lsm":
        return _lsm(tif.lsm_metadata or {}, values)
    if tif.imagej_metadata is not None:
        return _imagej(tif.imagej_metadata, series)
    if tif.shaped_metadata:
        return _shaped(
            tif.shaped_metadata[min(position, len(tif.shaped_metadata) - 1)], series.keyframe, values
        )
    return _plain(series.keyframe)


def known_axes(axes: str, shape: Sequence[int], name: str) -> str:
    """Translate tifffile's axes: S is C, the one unknown axis of a stack of pages is Z.

    Examples
    --------
    >>> known_axes("QYX", (5, 64, 64), "stack"), known_axes("YXS", (64, 64, 3), "rgb")
    ('ZYX', 'YXC')
    """
    axes = axes if "C" in axes else axes.replace("S", "C")
    unknown = [letter for letter in axes if letter not in "TCZYX"]
    if len(unknown) == 1 and unknown[0] in "QI" and "Z" not in axes:
        return axes.replace(unknown[0], "Z")
    if unknown:
        raise ValueError(
            f"{name}: the file does not say what its dimensions {tuple(shape)} are; name them with --axes"
        )
    return axes


def _ome(xml: str, name: str, position: int, n_series: int) -> TiffMetadata:
    images = ElementTree.fromstring(xml).findall("{*}Image")
    if len(images) != n_series:  # tifffile leaves out those without pixels
        images = [image for image in images if image.get("Name") == name] or images
        position = 0
    pixels = images[position].find("{*}Pixels") if images else None
    if pixels is None:
        return TiffMetadata()
    sizes = {
        axis: (size, unit_symbol(pixels.get(f"PhysicalSize{axis}Unit", "µm")))
        for axis in "ZYX"
        if (size := _size(pixels.get(f"PhysicalSize{axis}")))
    }
    spacing, unit = common_unit(sizes)
    channels = tuple(channel.get("Name", "") for channel in pixels.findall("{*}Channel"))
    return TiffMetadata(spacing, unit, channels)


def _lsm(metadata: Mapping[str, Any], values: Values) -> TiffMetadata:
    """Zeiss gives voxel sizes in metres."""
    sizes = {
        axis: float(f"{1e6 * size:.12g}")
        for axis in "ZYX"
        if (size := _size(metadata.get(f"VoxelSize{axis}")))
    }
    names = values.sequence(values.mapping(metadata, "ChannelColors"), "ColorNames")
    return TiffMetadata(sizes, "µm" if sizes else UNKNOWN_UNIT, tuple(map(str, names)))


def _imagej(metadata: Mapping[str, Any], series: TiffPageSeries) -> TiffMetadata:
    channels = _imagej_channels(metadata, series)
    if not {"unit", "spacing"} & set(metadata):
        return TiffMetadata(channels=channels)
    sizes = _per_pixel(series.keyframe) | _z_size(metadata.get("spacing"))
    unit = str(metadata.get("unit", ""))
    units = {"Y": str(metadata.get("yunit", unit)), "Z": str(metadata.get("zunit", unit))}
    in_common = {axis: (size, unit_symbol(units.get(axis, unit))) for axis, size in sizes.items()}
    return TiffMetadata(*common_unit(dict(sorted(in_common.items(), reverse=True))), channels)  # X comes last


def _imagej_channels(metadata: Mapping[str, Any], series: TiffPageSeries) -> tuple[str, ...]:
    """Slice labels are channel names where they repeat with the channel, which varies fastest."""
    axes, shape = series.axes.replace("S", "C"), series.shape
    labels = metadata.get("Labels", ())
    labels = [labels] if isinstance(labels, str) else list(labels)
    n_channels = shape[axes.index("C")] if "C" in axes else 1
    n_planes = math.prod(shape) // math.prod(shape[axes.index(axis)] for axis in "YX")
    names = labels[:n_channels]
    repeats = len(labels) == n_planes and labels == names * (n_planes // n_channels)
    return tuple(map(str, names)) if repeats and n_channels > 1 else ()


def _shaped(metadata: Mapping[str, Any], page: TiffPage, values: Values) -> TiffMetadata:
    """Read the JSON of tifffile: a list of voxel sizes, or a z spacing beside the resolution."""
    unit = unit_symbol(values.text(metadata, "unit"))
    channels = tuple(map(str, values.sequence(metadata, "channels")))
    key = "spacing_zyx" if "spacing_zyx" in metadata else "spacing"
    spacing = metadata.get(key)
    if isinstance(spacing, list):
        sizes = values.sizes(metadata, key, min(3, len(spacing)))
        return TiffMetadata(dict(zip("ZYX"[-len(spacing) :], sizes, strict=False)), unit, channels)
    if spacing is None and unit == UNKNOWN_UNIT:
        return _plain(page)
    return TiffMetadata(_per_pixel(page) | _z_size(spacing), unit, channels)


def _plain(page: TiffPage) -> TiffMetadata:
    if page.resolutionunit != _CENTIMETRE:
        return TiffMetadata()
    return TiffMetadata({axis: 1e4 * size for axis, size in _per_pixel(page).items()}, "µm")


def _per_pixel(page: TiffPage) -> dict[str, float]:
    """Invert the resolution tags; their rationals are good for about nine digits."""
    x, y = page.resolution
    return {axis: float(f"{1 / size:.9g}") for axis, value in (("Y", y), ("X", x)) if (size := _size(value))}


def _z_size(spacing: Any) -> dict[str, float]:
    size = _size(spacing)
    return {"Z": size} if size else {}


def _size(value: Any) -> float | None:
    """Return a voxel size, None for what is none; ImageJ has negative ones for stacks recorded downwards."""
    try:
        size = abs(float(value))
    except (TypeError, ValueError):
        return None
    return size if 0 < size < math.inf else None
