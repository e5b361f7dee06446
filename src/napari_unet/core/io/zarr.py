"""OME-Zarr and plain Zarr; the zarr library is imported only when one is opened."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from napari_unet.core.io.axes import AXES, common_unit, unit_symbol
from napari_unet.core.io.damage import readable
from napari_unet.core.io.image import Image, Region, make_image
from napari_unet.core.io.names import image_stem

if TYPE_CHECKING:
    import zarr

_PLAIN_AXES = {2: "YX", 3: "ZYX", 4: "CZYX", 5: "TCZYX"}


@dataclass(frozen=True, eq=False)
class ZarrPixels:
    """A Zarr array, of which a read touches only the chunks that it needs."""

    path: Path
    array: "zarr.Array[Any]"

    @property
    def shape(self) -> tuple[int, ...]:
        """The array's shape."""
        return self.array.shape

    @property
    def dtype(self) -> np.dtype[Any]:
        """The array's type, in its own byte order."""
        return np.dtype(self.array.dtype)

    def __getitem__(self, region: Region, /) -> NDArray[Any]:
        with readable(self.path):
            return np.asarray(self.array[region])


def open_zarr(path: Path, axes: str | None = None) -> Image:
    """Open an OME-Zarr image (0.1 to 0.5, finest level) or a plain Zarr array (v2, v3) lazily.

    Parameters
    ----------
    path
        Folder of the store, or of an image or array inside it.
    axes
        Names of the stored dimensions, where the store's own are wrong or missing.

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

    with readable(path, FileNotFoundError):
        node = zarr.open(str(path), mode="r")
        if isinstance(node, zarr.Array):
            return _plain(path, node, axes)
        return _multiscale(path, node, axes)


def _plain(path: Path, array: "zarr.Array[Any]", axes: str | None) -> Image:
    attributes: dict[str, Any] = dict(array.attrs)  # the second is xarray's way in Zarr v2
    named = getattr(array.metadata, "dimension_names", None) or attributes.get("_ARRAY_DIMENSIONS") or ()
    letters = "".join(str(name)[:1].upper() for name in named)
    if len(set(letters) & set(AXES)) != array.ndim:
        letters = _PLAIN_AXES.get(array.ndim, "")
    return make_image(ZarrPixels(path, array), axes or letters, {}, "pixel", (), image_stem(path))


def _multiscale(path: Path, group: "zarr.Group", axes: str | None) -> Image:
    attributes = dict(group.attrs)
    ome: Mapping[str, Any] = attributes.get("ome", attributes)  # type: ignore[assignment]
    if not ome.get("multiscales"):
        members = ", ".join(sorted(group.keys())[:5]) or "nothing"
        raise ValueError(f"a group that is no image and holds {members}; open one of its members")
    multiscale = ome["multiscales"][0]
    dataset = multiscale["datasets"][0]
    array = _member(path, group, dataset["path"])
    letters = _letters(multiscale, array.ndim)
    sizes, unit = _sizes(multiscale, dataset, letters)
    channels = [str(channel.get("label", "")) for channel in ome.get("omero", {}).get("channels", [])]
    return make_image(ZarrPixels(path, array), axes or letters, sizes, unit, channels, image_stem(path))


def _member(path: Path, group: "zarr.Group", name: str) -> "zarr.Array[Any]":
    """Return an array of the store; what its metadata names must lie inside it."""
    import zarr

    if not (path / name).resolve().is_relative_to(path.resolve()):
        raise ValueError(f"its metadata names {name!r}, outside the store")
    array = group[name]
    if not isinstance(array, zarr.Array):
        raise ValueError(f"{name!r} is no array")
    return array


def _letters(multiscale: Mapping[str, Any], n_dimensions: int) -> str:
    """0.1 and 0.2 are always TCZYX, 0.3 has names, later ones have names and types."""
    axes = multiscale.get("axes")
    if axes is None:
        return AXES[-n_dimensions:]
    return "".join(map(_letter, axes))


def _letter(axis: str | Mapping[str, Any]) -> str:
    if isinstance(axis, str):
        return axis.upper()
    return {"channel": "C", "time": "T"}.get(axis.get("type", ""), str(axis["name"]).upper())


def _sizes(
    multiscale: Mapping[str, Any], dataset: Mapping[str, Any], letters: str
) -> tuple[dict[str, float], str]:
    """Multiply the scales of the level and of the whole; nothing is known without any."""
    steps = [*dataset.get("coordinateTransformations", ()), *multiscale.get("coordinateTransformations", ())]
    scales: list[Sequence[float]] = [step["scale"] for step in steps if step.get("type") == "scale"]
    if not scales:
        return {}, "pixel"
    axes = multiscale.get("axes") or [{}] * len(letters)
    units = [unit_symbol(axis.get("unit", "")) if isinstance(axis, dict) else "pixel" for axis in axes]
    sizes = {
        letter: (math.prod(scale[i] for scale in scales), units[i])
        for i, letter in enumerate(letters)
        if letter in "ZYX"
    }
    return common_unit(sizes)
