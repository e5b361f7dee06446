"""Image files and results as layers: read lazily, in every resolution, where their metadata say."""

from collections.abc import Callable, Sequence
from math import prod
from pathlib import Path
from typing import Any

import dask.array as da
import numpy as np
from napari.utils.notifications import show_info, show_warning
from numpy.typing import NDArray

from napari_unet.core.io import Image, list_positions, open_image, open_stack
from napari_unet.core.io.axes import UNKNOWN_UNIT, ngff_unit
from napari_unet.core.io.image import LazyArray
from napari_unet.core.io.names import is_zarr
from napari_unet.core.io.provenance import read_provenance
from napari_unet.core.io.values import Values
from napari_unet.core.tiling import round_up
from napari_unet.session.levels import Levels, find_levels

Paths = str | Sequence[str]
LayerData = tuple[Any, dict[str, Any], str]
SIDE, MANY = 2048, 10_000
"""Side of a chunk, about, and how many there may be."""
SMALL = 2**26
"""Bytes up to which labels are read when they are opened, so that they can be touched up."""


def get_reader(path: Paths) -> Callable[[Paths], list[LayerData]] | None:
    """Return what reads images; napari asks for every folder as well, and reads most of them by itself."""
    if isinstance(path, str) and Path(path).is_dir() and not is_zarr(Path(path)):
        return None
    return read_layers


def read_layers(path: Paths) -> list[LayerData]:
    """Open an image, or planes as a stack; of an OME-Zarr image with the labels that lie in it.

    ValueError or OSError, with one sentence, where there is none or it is damaged.
    """
    if not isinstance(path, str):
        return _image_layers(open_stack([Path(each) for each in path]), Levels())
    place = Path(path)
    names = list_positions(place)
    if len(names) > 1:
        show_info(f"{place.name} holds {len(names)} images: the first one, {names[0]}, is opened")
    return _all_layers(place)


def _all_layers(path: Path) -> list[LayerData]:
    image = open_image(path)
    for note in image.notes:
        show_warning(note)
    levels = find_levels(image)
    layers = _image_layers(image, levels)
    for labels in levels.labels:
        layers += _all_layers(labels)
    return layers


def _image_layers(image: Image, levels: Levels) -> list[LayerData]:
    """One layer, or one for each channel."""
    arrays = lazy_levels(image, levels)
    data = arrays if len(arrays) > 1 else arrays[0]
    provenance = levels.provenance or _provenance(image)
    kind = Values("").text(provenance.get("options"), "kind")
    metadata: dict[str, Any] = {"provenance": provenance} if provenance else {}
    if image.notes:
        metadata["notes"] = image.notes
    if levels.is_labels or (kind in ("labels", "objects") and image.dtype.kind in "ui"):
        placed = {"metadata": metadata, **_placed(image, levels)}
        return [
            (_editable(each), {"name": name, **placed}, "labels")
            for name, each in zip(_names(image), _by_channel(data, image.axes), strict=True)
        ]
    common: dict[str, Any] = {"metadata": metadata} | (_scores(image) if kind == "probabilities" else {})
    if _is_coloured(image):
        return [(data, {"name": image.name, "rgb": True, **common, **_placed(image, levels)}, "image")]
    placed = {"rgb": False, **common, **_placed(image, levels)}
    if "C" not in image.axes:
        return [(data, {"name": image.name, **placed}, "image")]
    return [(data, _for_channels(image, placed), "image")]


def _by_channel(data: Any, axes: str) -> list[Any]:
    """Split labels, in one resolution or in several: napari does so with images only."""
    if isinstance(data, list):
        return [list(levels) for levels in zip(*(_by_channel(each, axes) for each in data), strict=True)]
    return list(np.moveaxis(data, axes.index("C"), 0)) if "C" in axes else [data]


def _names(image: Image) -> list[str]:
    """Name the layers of the channels; without names of their own they are numbered."""
    if image.n_channels == 1:
        return [image.name]
    return [f"{image.name} {name or number}" for number, name in enumerate(image.channels)]


def _for_channels(image: Image, common: dict[str, Any]) -> dict[str, Any]:
    """Let napari make a layer for each channel."""
    names = _names(image)
    rgb = common.pop("rgb")
    each = {key: [value] * len(names) for key, value in common.items()}
    return {"channel_axis": image.axes.index("C"), "rgb": rgb, "name": names, **each}


def _placed(image: Image, levels: Levels) -> dict[str, Any]:
    """Where the layer lies, without the channels: napari shows these as colours or as layers."""
    sizes = dict(zip(image.spatial_axes, image.spacing, strict=True))
    axes = image.axes.replace("C", "")
    unit = image.unit if ngff_unit(image.unit) else UNKNOWN_UNIT
    scale = [sizes.get(axis, 1.0) for axis in axes]
    return {
        "scale": scale,
        "translate": [levels.shifts.get(axis, 0.0) * size for axis, size in zip(axes, scale, strict=True)],
        "units": [unit if axis in "ZYX" else UNKNOWN_UNIT for axis in axes],
        "axis_labels": list(axes.lower()),
    }


def lazy_levels(image: Image, levels: Levels) -> list[da.Array]:
    """Return the pixels, from the finest resolution on."""
    return [_lazy(each, image.axes) for each in levels.arrays or (image.data,)]


def _lazy(data: LazyArray, axes: str) -> da.Array:
    dtype = np.dtype(data.dtype)
    empty = np.empty((0,) * len(axes), dtype)
    chunks = _chunks(data, axes)
    array = da.from_array(_Indexed(data), chunks=chunks, name=False, meta=empty)  # type: ignore[no-untyped-call]
    # napari shows nothing that is stored the other way round
    native: da.Array = array.astype(dtype.newbyteorder("="))
    return native


class _Indexed:
    """A lazy array that takes numbers, steps and lists as indices: dask hands down those that it is given."""

    def __init__(self, data: LazyArray) -> None:
        self._data = data
        self.shape, self.dtype, self.ndim = data.shape, np.dtype(data.dtype), len(data.shape)

    def __getitem__(self, index: tuple[Any, ...]) -> NDArray[Any]:
        places = [np.arange(n)[at] for n, at in zip(self.shape, index, strict=True)]
        starts = [int(each.min()) if each.size else 0 for each in places]
        stops = [int(each.max()) + 1 if each.size else 0 for each in places]
        block = np.asarray(self._data[tuple(map(slice, starts, stops))])
        for axis in reversed(range(self.ndim)):  # numbers take their axis away
            block = block[(slice(None),) * axis + (places[axis] - starts[axis],)]
        return block


def _chunks(data: LazyArray, axes: str) -> tuple[int, ...]:
    """Return the chunks for dask: a part of one is read by itself, and many cost seconds with each look."""
    array = getattr(data, "array", None)  # of ZarrPixels
    stored = array.chunks if array is not None else (1,) * len(axes)
    sides = [
        min(n, round_up(SIDE, step)) if a in "YX" else step
        for a, n, step in zip(axes, data.shape, stored, strict=True)
    ]
    if axes.endswith("C"):  # samples of colours
        sides[-1] = data.shape[-1]
    while prod(-(-n // side) for n, side in zip(data.shape, sides, strict=True)) > MANY:
        longest = max(range(len(sides)), key=lambda i: data.shape[i] / sides[i])
        sides[longest] *= 2
    return tuple(sides)


def _editable(data: Any) -> Any:
    """Read small labels: what is lazy cannot be painted on."""
    if isinstance(data, list) or data.nbytes > SMALL:
        return data
    return data.compute()


def _scores(image: Image) -> dict[str, Any]:
    """Probabilities shine upon the image beneath them."""
    return {"contrast_limits": (0.0, 255.0 if image.dtype == np.uint8 else 1.0), "blending": "additive"}


def _is_coloured(image: Image) -> bool:
    return image.axes.endswith("C") and image.n_channels in (3, 4) and image.dtype == np.uint8


def _provenance(image: Image) -> dict[str, Any]:
    """Return what a file of ours says about its making."""
    source = image.source
    return {} if source is None or source.stack else read_provenance(Path(source.paths[0]))
