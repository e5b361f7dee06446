"""OME-Zarr and plain Zarr; the zarr library is imported only when one is opened."""

import itertools
import math
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from napari_unet.core.io.attributes import attribute_axes, attribute_sizes
from napari_unet.core.io.axes import AXES, UNKNOWN_UNIT, common_unit, unit_symbol
from napari_unet.core.io.damage import Unreadable, readable, shown
from napari_unet.core.io.decoding import check_piece
from napari_unet.core.io.image import Image, Region, make_image
from napari_unet.core.io.multiscales import finest, ome_metadata, transformations
from napari_unet.core.io.names import check_position, image_stem
from napari_unet.core.io.values import Values

if TYPE_CHECKING:
    import zarr

_LISTED = 5
# the array, its axes, voxel sizes with their unit, and names of channels
_Facts = tuple["zarr.Array[Any]", str, Mapping[str, float], str, Sequence[str]]


@dataclass(frozen=True, eq=False)
class ZarrPixels:
    """A Zarr array, of which a read touches only the chunks that it needs."""

    path: Path
    array: "zarr.Array[Any]"

    def __post_init__(self) -> None:
        check_piece(self.path, self.array.chunks, self.dtype)

    @property
    def shape(self) -> tuple[int, ...]:
        """The array's shape."""
        return self.array.shape

    @property
    def dtype(self) -> np.dtype[Any]:
        """The array's type, in its own byte order."""
        return np.dtype(self.array.dtype)

    @property
    def chunks(self) -> tuple[int, ...]:
        """Shape of what is decoded at once."""
        return self.array.chunks

    def __getitem__(self, region: Region, /) -> NDArray[Any]:
        with readable(self.path, place=shown(region)):
            return np.asarray(self.array[region])

    def count_missing(self, chosen: Mapping[int, Sequence[int]]) -> int:
        """Count the chunks (of a sharded array: shards) that are no file, and so the fill value.

        `chosen` has the indices that count, of some dimensions. A million chunks take seconds.
        """
        folder = os.path.join(self.path, self.array.path)
        steps = self.array.shards or self.array.chunks
        touched = [
            {place // step for place in chosen.get(i, range(0, size, step))}
            for i, (size, step) in enumerate(zip(self.shape, steps, strict=True))
        ]
        key = self.array.metadata.encode_chunk_key
        there = sum(
            all(index in wanted for index, wanted in zip(place, touched, strict=True)) and key(place) == name
            for name, place in _chunk_files(folder, len(steps))
        )
        return math.prod(map(len, touched)) - there


def _chunk_files(folder: str, ndim: int) -> Iterator[tuple[str, tuple[int, ...]]]:
    """Names and places of the files that can be chunks, in one listing: c/0/1, c.0.1, 0/1 or 0.1."""
    for name in _files(folder, ndim):
        place = name.removeprefix("c/").removeprefix("c.").replace(".", "/").split("/")
        if len(place) == ndim and all(map(str.isdecimal, place)):
            yield name, tuple(map(int, place))


def _files(folder: str, depth: int) -> Iterator[str]:
    """Names of the files in a folder and `depth` folders below it; links are followed."""
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.is_file():
                yield entry.name
            elif depth and entry.is_dir():
                yield from (f"{entry.name}/{name}" for name in _files(entry.path, depth - 1))


def open_zarr(path: Path, axes: str | None = None, position: int | None = None) -> Image:
    """Open an OME-Zarr image (0.1 to 0.5, finest level) or a plain Zarr array (v2, v3) lazily.

    Parameters
    ----------
    path
        Folder of the store, or of an image or array inside it.
    axes
        Names of the stored dimensions, where the store's own are wrong or missing.
    position
        Which image of a plate, of a store of bioformats2raw's, or of a group of images; None is the first.

    Returns
    -------
    Image
        A plain array without names of dimensions is read as YX, ZYX, CZYX or TCZYX.

    Raises
    ------
    ValueError
        Where there is no image, it is damaged, or it refers to something outside its folder.
    """
    import zarr

    with readable(path):
        node = zarr.open(str(path), mode="r")
        if isinstance(node, zarr.Group) and not ome_metadata(node).get("multiscales"):
            node = _chosen(path, node, position)
        else:
            check_position(position, ("",), path.name)
        values = Values(image_stem(path))
        facts = (
            _plain(node, axes, values)
            if isinstance(node, zarr.Array)
            else _multiscale(path, node, axes, values)
        )
    array, letters, sizes, unit, channels = facts
    pixels = ZarrPixels(path, array)
    return make_image(pixels, letters, sizes, unit, channels, image_stem(path), values.notes)


def zarr_positions(path: Path) -> tuple[str, ...]:
    """Return the names of the images in a store."""
    import zarr

    with readable(path):
        node = zarr.open(str(path), mode="r")
        if isinstance(node, zarr.Array) or ome_metadata(node).get("multiscales"):
            return ("",)
        names = tuple(_images(path, node))
        return names if len(names) > 1 else ("",)


def zarr_format(path: Path) -> str:
    """Return what kind of store it is."""
    import zarr

    with readable(path):
        node = zarr.open(str(path), mode="r")
        plain = f"Zarr v{node.metadata.zarr_format}"
        if isinstance(node, zarr.Group) and not ome_metadata(node).get("multiscales"):
            node = _chosen(path, node, None)
        if isinstance(node, zarr.Array):
            return plain
        ome, values = ome_metadata(node), Values("")
        version = values.text(ome, "version") or values.text(finest(ome)[0], "version")
        return f"OME-Zarr {version} ({plain})".replace("  ", " ")


def _chosen(path: Path, group: "zarr.Group", position: int | None) -> "zarr.Group | zarr.Array[Any]":
    """Return one image of a group that is none itself."""
    if position:
        names = tuple(_images(path, group))
        return _member(path, group, names[check_position(position, names, path.name)])
    first = next(_images(path, group), None)
    if first is None:
        members = ", ".join(_member_names(path, group)[:_LISTED]) or "nothing"
        raise Unreadable(f"{path.name} is a group that is no image and holds {members}; open one of these")
    check_position(position, (first,), path.name)
    return _member(path, group, first)


def _images(path: Path, group: "zarr.Group") -> Iterator[str]:
    """Names of the images in a group: of a plate's wells, of bioformats2raw's series, of its members."""
    ome = ome_metadata(group)
    if "plate" in ome:
        for well in ome["plate"]["wells"]:
            images = ome_metadata(_member(path, group, well["path"]))["well"]["images"]
            yield from (f"{well['path']}/{image['path']}" for image in images)
    elif "well" in ome:
        yield from (image["path"] for image in ome["well"]["images"])
    elif (path / group.path / "OME").is_dir():
        yield from _series(path, group)
    else:
        yield from _image_members(path, group)


def _series(path: Path, group: "zarr.Group") -> Iterator[str]:
    """Images of bioformats2raw: as listed in OME/, else numbered."""
    listed = ome_metadata(_member(path, group, "OME")).get("series")
    numbers = (str(number) for number in itertools.count())
    yield from listed or itertools.takewhile(lambda name: name in group, numbers)


def _image_members(path: Path, group: "zarr.Group") -> Iterator[str]:
    """Members that are images; else an array, if there is but one."""
    import zarr

    members = {name: group[name] for name in _member_names(path, group)}
    names = [
        name
        for name, member in members.items()
        if isinstance(member, zarr.Group) and ome_metadata(member).get("multiscales")
    ]
    if not names:
        arrays = [name for name, member in members.items() if isinstance(member, zarr.Array)]
        names = arrays if len(arrays) == 1 else []
    yield from names


def _member_names(path: Path, group: "zarr.Group") -> list[str]:
    """Names of groups and arrays in a group; of files that systems leave there zarr itself would warn."""
    return sorted(
        entry.name for entry in (path / group.path).iterdir() if entry.is_dir() and entry.name in group
    )


def _plain(array: "zarr.Array[Any]", axes: str | None, values: Values) -> _Facts:
    attributes: dict[str, Any] = dict(array.attrs)
    names = getattr(array.metadata, "dimension_names", None) or ()
    letters = axes or attribute_axes(attributes, array.shape, names, values)
    sizes, unit = attribute_sizes(attributes, letters.upper(), values)
    return array, letters, sizes, unit, ()


def _multiscale(path: Path, group: "zarr.Group", axes: str | None, values: Values) -> _Facts:
    import zarr

    ome = ome_metadata(group)
    multiscale, dataset = finest(ome)
    array = _member(path, group, dataset["path"])
    if not isinstance(array, zarr.Array):
        raise ValueError(f"{dataset['path']!r} is no array")
    letters = _letters(multiscale, array.ndim, values)
    sizes, unit = _sizes(multiscale, dataset, letters, values)
    named = values.sequence(values.mapping(ome, "omero"), "channels")
    channels = [values.text(channel, "label") for channel in named]
    return array, axes or letters, sizes, unit, channels


def _member(path: Path, group: "zarr.Group", name: str) -> "zarr.Group | zarr.Array[Any]":
    """Return a member; what metadata names must lie inside the store."""
    if not (path / group.path / name).resolve().is_relative_to(path.resolve()):
        raise ValueError(f"its metadata names {name!r}, outside the store")
    member: zarr.Group | zarr.Array[Any] = group[name]
    return member


def _letters(multiscale: Mapping[str, Any], n_dimensions: int, values: Values) -> str:
    """Axes of an image: 0.1 and 0.2 are always TCZYX, 0.3 has names, later ones have names and types."""
    axes = values.sequence(multiscale, "axes")
    letters = [letter for axis in axes if (letter := _letter(axis))]
    if axes and len(letters) == n_dimensions:
        return "".join(letters)
    if axes:
        values.ignore("axes", axes)
    return AXES[-n_dimensions:]


def _letter(axis: Any) -> str:
    match axis:
        case {"type": "channel"}:
            return "C"
        case {"type": "time"}:
            return "T"
        case {"name": str(name)} | str(name):
            return name.upper()
    return ""


def _sizes(
    multiscale: Mapping[str, Any], dataset: Mapping[str, Any], letters: str, values: Values
) -> tuple[dict[str, float], str]:
    """Multiply the scales of the level and of the whole; nothing is known without any."""
    found = [
        scale
        for holder in (dataset, multiscale)
        for scale in transformations(holder, "scale", len(letters), values)
    ]
    scales = list(filter(None, found))
    if not scales or len(scales) < len(found):
        return {}, UNKNOWN_UNIT
    axes = values.sequence(multiscale, "axes")
    units = [unit_symbol(values.text(axis, "unit")) for axis in axes]
    units = units if len(units) == len(letters) else [UNKNOWN_UNIT] * len(letters)
    sizes = {
        letter: (math.prod(scale[i] for scale in scales), units[i])
        for i, letter in enumerate(letters)
        if letter in "ZYX"
    }
    return common_unit(sizes)
