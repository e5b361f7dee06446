"""An image that is read lazily, a region at a time, whatever the order of its axes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import isfinite
from operator import index
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from napari_unet.core.io.axes import check_axes, known_spacing, spatial_of
from napari_unet.core.io.names import composed
from napari_unet.core.io.source import Source

Region = tuple[slice, ...]
ALPHA_DROPPED = "its alpha (opacity) is dropped: it is no channel of the image"


class LazyArray(Protocol):
    """What is indexed with one slice per dimension, and reads only then."""

    @property
    def shape(self) -> tuple[int, ...]: ...  # noqa: D102
    @property
    def dtype(self) -> np.dtype[Any]: ...  # noqa: D102
    def __getitem__(self, region: Region, /) -> Any: ...


@dataclass(frozen=True, eq=False)
class Image:
    """A lazily read image: nothing is read until `read`.

    Parameters
    ----------
    data
        The pixels, one dimension for each letter of `axes`.
    axes
        Letters of "TCZYX" in the order of the dimensions; an RGB sample axis is C.
    spacing
        Voxel size of each spatial axis in ZYX order, in `unit`; 1.0 where unknown.
    unit
        "nm", "µm", …, "pixel" where unknown.
    channels
        A name for each channel, "" where unknown.
    name
        Stem of the file, for messages and outputs.
    source
        Where another process finds the same image; None where it is an array in memory.
    notes
        What of the file is not used, or not as it says, a sentence each.

    Raises
    ------
    ValueError
        Where axes, spacing or channels do not fit the shape, or there are no pixels.

    Examples
    --------
    >>> pixels = np.arange(24).reshape(3, 4, 2)
    >>> image = Image(pixels, "YXC", (0.5, 0.5), "µm", ("dna", "actin"), "cells")
    >>> image.spatial_axes, image.spatial_shape, image.n_channels
    ('YX', (3, 4), 2)
    >>> image.read((slice(0, 2), slice(1, 3)))[1]
    array([[ 3,  5],
           [11, 13]])
    """

    data: LazyArray
    axes: str
    spacing: tuple[float, ...]
    unit: str
    channels: tuple[str, ...]
    name: str
    source: Source | None = None
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        check_axes(self.axes, self.data.shape, self.name)
        if 0 in self.data.shape:
            raise ValueError(
                f"{self.name}: an image of shape {tuple(self.data.shape)} has no pixels; give another"
            )
        if len(self.spacing) != len(self.spatial_axes):
            raise ValueError(
                f"{self.name}: spacing {_numbers(self.spacing)} has {len(self.spacing)} values for the axes "
                f"{self.spatial_axes}; give one for each, in that order"
            )
        if not all(isfinite(size) and size > 0 for size in self.spacing):
            raise ValueError(
                f"{self.name}: spacing {_numbers(self.spacing)} must be positive numbers; give voxel sizes"
            )
        if len(self.channels) != self.n_channels:
            raise ValueError(
                f"{self.name}: {len(self.channels)} names for {self.n_channels} channels; name each one"
            )

    @property
    def spatial_axes(self) -> str:
        """Either "YX" or "ZYX"."""
        return spatial_of(self.axes)

    @property
    def spatial_shape(self) -> tuple[int, ...]:
        """Size of each spatial axis, in ZYX order."""
        return tuple(self._size(axis) for axis in self.spatial_axes)

    @property
    def n_channels(self) -> int:
        """Number of channels, 1 without a channel axis."""
        return self._size("C")

    @property
    def n_timepoints(self) -> int:
        """Number of time points, 1 without a time axis."""
        return self._size("T")

    @property
    def dtype(self) -> np.dtype[Any]:
        """The type that `read` returns: the stored one in native byte order."""
        return np.dtype(self.data.dtype).newbyteorder("=")

    @property
    def chunk_shape(self) -> tuple[int, ...]:
        """Shape of what is stored together, along the spatial axes; one plane where there are no chunks."""
        chunks = getattr(self.data, "chunks", None)
        if chunks is None:
            return (1,) * (len(self.spatial_axes) - 2) + self.spatial_shape[-2:]
        # dask lists the sizes of all chunks
        return tuple(int(np.max(chunks[self.axes.index(axis)])) for axis in self.spatial_axes)

    def read(self, region: Region | None = None, *, t: int = 0) -> NDArray[Any]:
        """Read a region.

        Parameters
        ----------
        region
            One slice per spatial axis, inside the image, without step; None is everything.
        t
            Time point.

        Returns
        -------
        ndarray, (C, *spatial)
            A writable copy in native byte order and ZYX order.

        Raises
        ------
        ValueError
            Where the region or time point lies outside, or the file turns out to be damaged.
        """
        if not 0 <= t < self.n_timepoints:
            raise ValueError(f"{self.name}: no time point {t}; choose one of 0 to {self.n_timepoints - 1}")
        slices = dict(zip(self.spatial_axes, self._inside(region), strict=True))
        slices |= {"T": slice(t, t + 1), "C": slice(0, self.n_channels)}
        block = np.asarray(self.data[tuple(slices[axis] for axis in self.axes)])
        block = _in_order(block, self.axes, "TC" + self.spatial_axes)[0]  # C, *spatial
        return np.array(block, dtype=self.dtype, order="C")

    def _size(self, axis: str) -> int:
        return self.data.shape[self.axes.index(axis)] if axis in self.axes else 1

    def _inside(self, region: Region | None) -> Region:
        """Return `region` with start and stop spelled out; ValueError where it leaves the image."""
        shape = self.spatial_shape
        if region is None:
            return tuple(slice(0, size) for size in shape)
        if len(region) != len(shape):
            raise ValueError(f"{self.name}: region {region} needs one slice for each of {self.spatial_axes}")
        return tuple(_bounds(part, size, self.name) for part, size in zip(region, shape, strict=True))


@dataclass(frozen=True, eq=False)
class ChannelView:
    """Some channels of a lazy array, in any order."""

    data: LazyArray
    axis: int
    chosen: tuple[int, ...]

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape with only the chosen channels."""
        return (*self.data.shape[: self.axis], len(self.chosen), *self.data.shape[self.axis + 1 :])

    @property
    def dtype(self) -> np.dtype[Any]:
        """The type of the whole array."""
        return self.data.dtype

    def __getitem__(self, region: Region, /) -> NDArray[Any]:
        wanted = self.chosen[region[self.axis]]
        first = min(wanted, default=0)
        run = slice(first, max(wanted, default=-1) + 1)
        block = np.asarray(self.data[(*region[: self.axis], run, *region[self.axis + 1 :])])
        return np.take(block, [channel - first for channel in wanted], axis=self.axis)


def make_image(
    data: LazyArray,
    axes: str,
    sizes: Mapping[str, float],
    unit: str,
    channels: Sequence[str],
    name: str,
    notes: Sequence[str] = (),
) -> Image:
    """Make an image from what is known: voxel sizes where all are, channel names where their number fits.

    Examples
    --------
    >>> image = make_image(np.zeros((3, 8, 9)), "cyx", {"Y": 0.5, "X": 0.5}, "µm", (), "cells")
    >>> image.axes, image.spacing, image.channels
    ('CYX', (0.5, 0.5), ('', '', ''))
    """
    if np.dtype(data.dtype).kind not in "buif":
        raise ValueError(f"{name}: pixels of type {data.dtype} are no numbers to segment; save them as such")
    axes = check_axes(axes.upper().replace("S", "C"), data.shape, name)
    n_channels = data.shape[axes.index("C")] if "C" in axes else 1
    lengths = {axis: data.shape[axes.index(axis)] for axis in spatial_of(axes)}
    known, unit, why = known_spacing(sizes, unit, lengths)
    return Image(
        data=data,
        axes=axes,
        spacing=tuple(known.values()),
        unit=unit,
        channels=tuple(channels) if len(channels) == n_channels else ("",) * n_channels,
        name=name,
        notes=(*notes, *[f"{name}: {why}"] * bool(why)),
    )


def named(image: Image | NDArray[Any]) -> Image:
    """Name the axes of an array that can only be a plane or a stack; an image has names already.

    Raises
    ------
    ValueError
        If an array has other than two or three axes, or the shape of colours.

    Examples
    --------
    >>> named(np.zeros((3, 8, 9))).axes
    'ZYX'
    """
    if isinstance(image, Image):
        return image
    if image.ndim not in (2, 3):
        raise ValueError(f"the array has {image.ndim} axes: name them with an Image")
    if image.ndim == 3 and image.shape[-1] in (3, 4):
        raise ValueError(
            f"the array has the shape {image.shape}, as colours have: name its axes with an Image"
        )
    return make_image(image, "ZYX"[-image.ndim :], {}, "pixel", (), "the array")


def override(
    image: Image, *, spacing: Sequence[float] | None = None, channels: Sequence[int | str] | None = None
) -> Image:
    """Return the image with another spacing, or only some channels, chosen by number or by name.

    Raises
    ------
    ValueError
        Where the spacing does not fit the axes or a channel does not exist.

    Examples
    --------
    >>> image = make_image(np.zeros((3, 8, 8)), "CYX", {}, "pixel", ("a", "b", "c"), "cells")
    >>> override(image, channels=[2, "a"]).channels
    ('c', 'a')
    """
    if spacing is not None:
        image = _with_spacing(image, tuple(float(size) for size in spacing))
    if channels is not None:
        image = _with_channels(image, channels)
    return image


def check_channels(
    channels: Sequence[int | str], n_channels: int, name: str, names: Sequence[str] = ()
) -> tuple[int, ...]:
    """Return the numbers of the chosen channels; ValueError where one does not exist or is ambiguous."""
    numbers = [_number(channel, names) for channel in channels]
    chosen = tuple(number for number in numbers if number is not None and 0 <= number < n_channels)
    if len(chosen) == len(channels) > 0:
        return chosen
    outside = [
        channel for channel, n in zip(channels, numbers, strict=True) if n is None or not 0 <= n < n_channels
    ]
    named = f" ({', '.join(names)})" if any(names) else ""
    raise ValueError(
        f"{name}: no channel {', '.join(map(str, outside)) or 'chosen'}; "
        f"it has {n_channels}{named}, choose among 0 to {n_channels - 1}"
    )


def _number(channel: int | str, names: Sequence[str]) -> int | None:
    if not isinstance(channel, str):
        return index(channel)
    known = list(map(composed, names))
    return known.index(composed(channel)) if known.count(composed(channel)) == 1 else None


def _with_spacing(image: Image, spacing: tuple[float, ...]) -> Image:
    source = image.source and replace(image.source, spacing=spacing)
    return replace(image, spacing=spacing, source=source)


def _with_channels(image: Image, channels: Sequence[int | str]) -> Image:
    chosen = check_channels(channels, image.n_channels, image.name, image.channels)
    if "C" not in image.axes:
        return image
    names = tuple(image.channels[channel] for channel in chosen)
    source = image.source and replace(image.source, channels=_chosen_before(image.source, chosen))
    return replace(image, data=_channels_of(image, chosen), channels=names, source=source)


def _channels_of(image: Image, chosen: tuple[int, ...]) -> ChannelView:
    if isinstance(image.data, ChannelView):
        whole = image.data
        return replace(whole, chosen=tuple(whole.chosen[channel] for channel in chosen))
    return ChannelView(image.data, image.axes.index("C"), chosen)


def _chosen_before(source: Source, chosen: tuple[int, ...]) -> tuple[int | str, ...]:
    """Channels of channels are channels of the file."""
    return chosen if source.channels is None else tuple(source.channels[channel] for channel in chosen)


def _in_order(block: NDArray[Any], axes: str, wanted: str) -> NDArray[Any]:
    """Return a view with the axes in the `wanted` order; absent ones are added with size 1."""
    present = [axis for axis in wanted if axis in axes]
    block = block.transpose([axes.index(axis) for axis in present])
    return block[tuple(slice(None) if axis in axes else np.newaxis for axis in wanted)]


def _bounds(part: slice, size: int, name: str) -> slice:
    start = 0 if part.start is None else index(part.start)
    stop = size if part.stop is None else index(part.stop)
    if not 0 <= start <= stop <= size or part.step not in (None, 1):
        raise ValueError(f"{name}: {part} is no region of an axis of size {size}; stay inside, without step")
    return slice(start, stop)


def _numbers(values: Sequence[float]) -> str:
    return ",".join(f"{value:g}" for value in values)
