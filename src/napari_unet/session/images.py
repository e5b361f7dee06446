"""Image layers as images to train on: what their axes mean, how they are read, where layers over them lie."""

import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import permutations
from math import prod
from typing import Any

import numpy as np
from napari.layers import Image as ImageLayer
from napari.layers import Labels, Layer
from numpy.typing import DTypeLike, NDArray

from napari_unet.core.io import Image
from napari_unet.core.io.axes import common_unit, unit_symbol
from napari_unet.core.io.image import ChannelView, LazyArray, Region, check_channels, make_image, override
from napari_unet.core.memory import available_memory

Index = tuple[int, ...]
"""Where a plane lies along the axes before YX."""

_DEFAULT_AXES = ("YX", "ZYX", "TZYX", "TCZYX")
_WORDS = {"TIME": "T", "CHANNEL": "C", "CHANNELS": "C"}
_RGB = ("red", "green", "blue")
_SPARSE_ROOM = 2**30
"""Bytes that the disk should have left for the few planes that are painted."""


@dataclass(frozen=True, eq=False)
class ImageChoice:
    """Which image layers are worked on: several of equal shape are one channel each.

    `axes` name the data's dimensions, ending in "YX" or, where the layer shows colours, "YXC"; `channels`
    are those that the network sees, None for all but alpha.
    """

    layers: tuple[ImageLayer, ...]
    axes: str
    channels: tuple[int, ...] | None = None

    def __post_init__(self) -> None:
        for layer in self.layers:
            _check_layer(layer, self.layers[0])
        if len(self.layers) > 1 and "C" in self.axes:
            raise ValueError(
                f"{self.name} has channels of its own (axes {self.axes}): choose it alone, or layers without"
            )
        if self.axes not in possible_axes(self.layers[0]):
            raise ValueError(
                f"{self.name}: axes {self.axes!r} do not fit its shape {full_shape(self.layers[0])}; "
                f"choose one of {', '.join(possible_axes(self.layers[0]))}"
            )
        if self.channels is not None:
            check_channels(self.channels, self.n_channels, self.name)

    @property
    def name(self) -> str:
        """Name of the first layer."""
        return str(self.layers[0].name)

    @property
    def n_channels(self) -> int:
        """How many channels there are to choose from."""
        if len(self.layers) > 1 or "C" not in self.axes:
            return len(self.layers)
        if self.layers[0].rgb:
            return len(_RGB)
        return full_shape(self.layers[0])[self.axes.index("C")]

    @property
    def plane_axes(self) -> str:
        """Axes before YX, in the order of the layer."""
        return self.axes[: self.axes.index("Y")]

    @property
    def plane_shape(self) -> tuple[int, ...]:
        """Sizes of these axes; all channels share their planes."""
        # not strict: a layer may have been given data of another shape, which then does not fit
        sizes = zip(self.plane_axes, full_shape(self.layers[0])[:-2], strict=False)
        return tuple(1 if axis == "C" else size for axis, size in sizes)

    @property
    def annotation_shape(self) -> tuple[int, ...]:
        """Shape of what is painted on or predicted for this image: (*plane_shape, Y, X)."""
        return (*self.plane_shape, *full_shape(self.layers[0])[-2:])


def possible_axes(layer: ImageLayer) -> tuple[str, ...]:
    """Return what the axes of a layer may mean, the likeliest first; nothing where it has too many."""
    letters = "TZ" if layer.rgb else "TCZ"
    if layer.ndim - 2 > len(letters):
        return ()
    samples = "C" if layer.rgb else ""
    found = ["".join(outer) + "YX" + samples for outer in permutations(letters, layer.ndim - 2)]
    likeliest = _labelled_axes(layer) + samples
    if likeliest not in found:
        likeliest = _DEFAULT_AXES[layer.ndim - 2] + samples
    return tuple(sorted(found, key=lambda axes: axes != likeliest))


def guess_axes(layer: ImageLayer) -> str:
    """Return what the axes of a layer mean: its axis labels where they tell, else what is usual."""
    found = possible_axes(layer)
    if not found:
        most = "time, z, y and x beside its colours" if layer.rgb else "time, channel, z, y and x"
        raise ValueError(f"{layer.name} has {layer.ndim} axes, more than {most}: open a part of it")
    return found[0]


def open_layers(choice: ImageChoice) -> Image:
    """Return the chosen layers as one image; its pixels are read a region at a time."""
    pixels = [_Pixels(layer) for layer in choice.layers]
    sizes, unit = _voxel_size(choice.layers[0], choice.axes)
    data: LazyArray = pixels[0]
    axes, names = choice.axes, [str(layer.name) for layer in choice.layers]
    if len(pixels) > 1:
        data, axes = _Channels(pixels), "C" + axes
    elif choice.layers[0].rgb:
        data, names = ChannelView(data, len(axes) - 1, (0, 1, 2)), list(_RGB)
    elif "C" in axes:
        names = []
    image = make_image(data, axes, sizes, unit, names, choice.name)
    image = replace(image, notes=(*image.notes, *_notes(choice, pixels[0].shape)))
    return image if choice.channels is None else override(image, channels=choice.channels)


def _notes(choice: ImageChoice, shape: Sequence[int]) -> list[str]:
    """Say what is dropped of the layers, and what was noted of their files when these were opened."""
    found = [layer.metadata.get("notes") for layer in choice.layers]
    notes = [str(note) for each in found if isinstance(each, tuple) for note in each]
    if choice.layers[0].rgb and shape[-1] > len(_RGB):
        notes.append("alpha is dropped")
    return list(dict.fromkeys(notes))


def labels_axes(layer: Labels) -> str:
    """Return what the axes of labels mean without an image: what their axis labels tell, or what is usual.

    There is no answer where they have too many.
    """
    found = _labelled_axes(layer)
    if found[-2:] == "YX" and sorted(found[:-2]) in ([], ["T"], ["Z"], ["T", "Z"]):
        return found
    return {2: "YX", 3: "ZYX", 4: "TZYX"}.get(layer.ndim, "")


def open_objects(layer: Labels, axes: str, background: int = 0) -> Image:
    """Return labels as an image of objects, read a region at a time; what is background becomes 0."""
    pixels = _Without(_Pixels(layer), background) if background else _Pixels(layer)
    return make_image(pixels, axes, *_voxel_size(layer, axes), (), str(layer.name))


def full_shape(layer: Layer) -> tuple[int, ...]:
    """Shape in full resolution, without the samples of colours."""
    return tuple(map(int, layer.level_shapes[0]))


def placement(choice: ImageChoice) -> dict[str, Any]:
    """Return where a layer of `annotation_shape` has to lie to cover the image, at every channel."""
    layer = choice.layers[0]
    repeats = np.ones(layer.ndim)
    if "C" in choice.plane_axes:
        axis = choice.plane_axes.index("C")
        repeats[axis] = full_shape(layer)[axis]
    scale = np.asarray(layer.scale)
    linear = _as_matrix(layer) * scale  # columns: where one step along each axis leads
    return {
        "scale": scale * repeats,
        # napari rounds to the nearest position: n channels lie within half of one that is n times as thick
        "translate": np.asarray(layer.translate) + linear @ ((repeats - 1) / 2),
        "rotate": np.array(layer.rotate),
        "shear": np.array(layer.shear),
        "affine": np.array(layer.affine.affine_matrix),
        "units": layer.units,
        "axis_labels": layer.axis_labels,
    }


def zeros(shape: Sequence[int], dtype: DTypeLike, *, sparse: bool = False) -> NDArray[Any]:
    """Return zeros, in a temporary file that disappears by itself where the memory is too small.

    `sparse` tells that only few of them will be written, so that the disk need not have room for all.
    """
    size = prod(shape) * np.dtype(dtype).itemsize
    if size <= available_memory() // 4:
        return np.zeros(tuple(shape), dtype)
    folder = tempfile.gettempdir()
    # what is written to a mapped file on a full disk ends the program: look before
    free, wanted = shutil.disk_usage(folder).free, min(size, _SPARSE_ROOM) if sparse else size
    if free < wanted:
        raise OSError(_no_room(size, folder, free))
    try:
        with tempfile.TemporaryFile(dir=folder) as file:  # nameless, or removed when the last handle goes
            file.truncate(size)
            return np.asarray(np.memmap(file, dtype, "r+", shape=tuple(shape)))
    except OSError as error:
        raise OSError(_no_room(size, folder, free)) from error


class _Pixels:
    """The pixels of a layer as they are stored, in full resolution."""

    def __init__(self, layer: ImageLayer) -> None:
        self._data = layer.data[0] if layer.multiscale else layer.data
        self._stored = np.dtype(layer.dtype)
        if self._stored.kind not in "buif":
            raise TypeError(
                f"{layer.name} has pixels of type {self._stored}: use real numbers, such as their magnitude"
            )
        self.shape: tuple[int, ...] = tuple(map(int, self._data.shape))

    @property
    def dtype(self) -> np.dtype[Any]:
        return np.dtype(np.uint8) if self._stored.kind == "b" else self._stored

    def __getitem__(self, region: Region, /) -> NDArray[Any]:
        return np.asarray(self._data[region]).astype(self.dtype, copy=False)


class _Without:
    """Pixels of which one value becomes 0."""

    def __init__(self, pixels: _Pixels, value: int) -> None:
        self._pixels, self._value = pixels, value
        self.shape, self.dtype = pixels.shape, pixels.dtype

    def __getitem__(self, region: Region, /) -> NDArray[Any]:
        pixels = self._pixels[region]
        return np.where(pixels == self._value, self.dtype.type(0), pixels)


class _Channels:
    """Layers of equal shape as the channels of one array (C, …)."""

    def __init__(self, layers: Sequence[_Pixels]) -> None:
        self._layers = tuple(layers)
        self.shape = (len(layers), *layers[0].shape)
        self.dtype = np.result_type(*(layer.dtype for layer in layers))

    def __getitem__(self, region: Region, /) -> NDArray[Any]:
        chosen = [layer[region[1:]] for layer in self._layers[region[0]]]
        return np.stack(chosen).astype(self.dtype, copy=False)


def _check_layer(layer: ImageLayer, first: ImageLayer) -> None:
    if (full_shape(layer), layer.rgb) != (full_shape(first), first.rgb):
        raise ValueError(
            f"{layer.name} has the shape {full_shape(layer)} and {first.name} {full_shape(first)}: "
            "choose layers of equal shape as channels"
        )


def _labelled_axes(layer: ImageLayer) -> str:
    labels = [str(label).strip().upper() for label in layer.axis_labels]
    return "".join(_WORDS.get(label, label) for label in labels)


def _voxel_size(layer: Layer, axes: str) -> tuple[dict[str, float], str]:
    """Size of each spatial axis, and the unit of them all."""
    turned = np.asarray(layer.affine.linear_matrix) @ np.asarray(layer.rotate)
    sizes = np.linalg.norm(turned, axis=0) * np.abs(layer.scale)
    units = [unit_symbol(str(unit)) for unit in layer.units]
    found = {
        axis: (float(f"{size:.12g}"), unit)  # without the noise of rotations
        for axis, size, unit in zip(axes, sizes, units, strict=False)  # colours have no size
        if axis in "ZYX"
    }
    return common_unit(found)


def _as_matrix(layer: ImageLayer) -> NDArray[Any]:
    """Rotation and shear of a layer as one matrix."""
    shear = np.asarray(layer.shear)
    if shear.ndim == 1:
        upper = np.eye(layer.ndim)
        upper[np.triu_indices(layer.ndim, k=1)] = shear
        shear = upper
    turned: NDArray[Any] = np.asarray(layer.rotate) @ shear
    return turned


def _no_room(size: int, folder: str, free: int) -> str:
    return (
        f"a layer of {size / 2**30:.1f} GiB fits neither into memory nor into {folder}, which has "
        f"{free / 2**30:.1f} GiB free: make room there, or segment into a file"
    )
