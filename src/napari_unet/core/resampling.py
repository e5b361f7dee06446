"""An image seen at another voxel size, region by region, and the way back to its own pixels.

The first pixels of both begin at the same place: pixel i of the view covers scale * i to scale * (i + 1) of
the image's pixels. What a region of the view shows does not depend on what else is read.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import ceil, isclose, isfinite
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_unet.core.io.image import Image, LazyArray, Region
from napari_unet.core.io.layout import Sink

EQUAL = 1e-3
"""Voxel sizes that differ by less than this share are the same: metadata are rounded."""
COARSER = 1.5
"""From how many pixels on a footprint is averaged; between two neighbours lies the value of finer views."""


def resampled(image: Image, spacing: Sequence[float]) -> Image:
    """Show an image at another voxel size.

    Parameters
    ----------
    image : Image
        Read lazily: a region of the view reads the region of the image below it, and a pixel around it.
    spacing : sequence of float
        Wanted voxel size of each spatial axis in ZYX order, in the image's unit. What is within 0.1 % of the
        image's own is left as it is.

    Returns
    -------
    Image
        float32, of round(size * old / new) pixels along each axis, at least one. Interpolated linearly; along
        axes that get more than 1.5 times coarser averaged over what each pixel covers. Pixels that draw upon
        NaN are NaN. The image itself where nothing changes.

    Raises
    ------
    ValueError
        If the spacing does not fit the axes or is not positive.

    Examples
    --------
    >>> pixels = np.array([[0, 2, 4, 6], [4, 6, 8, 10]])
    >>> image = Image(pixels, "YX", (1.0, 1.0), "µm", ("",), "cells")
    >>> resampled(image, (2.0, 2.0)).read()
    array([[[3., 7.]]], dtype=float32)
    """
    if len(spacing) != len(image.spacing) or not all(isfinite(size) and size > 0 for size in spacing):
        raise ValueError(
            f"{image.name}: no image of voxel size {','.join(f'{size:g}' for size in spacing)} can be made; "
            f"give a positive number for each of {image.spatial_axes}"
        )
    target = tuple(
        old if isclose(old, new, rel_tol=EQUAL) else float(new)
        for old, new in zip(image.spacing, spacing, strict=True)
    )
    if target == image.spacing:
        return image
    scales = dict(zip(image.spatial_axes, np.divide(target, image.spacing).tolist(), strict=True))
    data = ResampledView(image.data, tuple(scales.get(axis, 1.0) for axis in image.axes))
    return replace(image, data=data, spacing=target)


@dataclass(frozen=True, eq=False)
class ResampledView:
    """A lazy array with another number of pixels along some axes.

    Parameters
    ----------
    data : LazyArray
        What is resampled.
    scales : tuple of float
        For each dimension how many of its pixels one of the view covers; it is left alone where this is 1.
    """

    data: LazyArray
    scales: tuple[float, ...]

    @property
    def shape(self) -> tuple[int, ...]:
        """Rounded numbers of pixels, at least 1."""
        return tuple(
            max(1, round(size / scale)) for size, scale in zip(self.data.shape, self.scales, strict=True)
        )

    @property
    def dtype(self) -> np.dtype[np.float32]:
        """What averages are stored as."""
        return np.dtype(np.float32)

    def __getitem__(self, region: Region, /) -> NDArray[np.float32]:
        ranges = [range(*part.indices(size)) for part, size in zip(region, self.shape, strict=True)]
        if not all(ranges):
            return np.zeros([len(along) for along in ranges], np.float32)
        taps = [
            _taps(np.arange(along.start, along.stop), scale, size)
            for along, scale, size in zip(ranges, self.scales, self.data.shape, strict=True)
        ]
        below = tuple(slice(int(places.min()), int(places.max()) + 1) for places, _ in taps)
        block = np.asarray(self.data[below])
        with np.errstate(over="ignore", invalid="ignore"):  # what is not finite stays so
            for axis in np.argsort(self.scales)[::-1]:  # what gets smaller first
                if self.scales[axis] != 1:
                    places, weights = taps[axis]
                    block = _weighted(block, int(axis), places - below[axis].start, weights)
            return block.astype(np.float32, copy=False)


def region_below(region: Region, image: Image, view: Image) -> Region:
    """Return which pixels of an image lie in a region of what `resampled` made of it.

    Parameters
    ----------
    region : tuple of slice
        Of a result; the last ones are of the view's spatial axes.
    image, view : Image
        The image, and what `resampled` made of it.

    Returns
    -------
    tuple of slice
        Regions that partition the view give regions that partition the image; some may be empty.
    """
    if view is image:
        return region
    leading = len(region) - len(image.spatial_axes)
    below = [
        slice(*np.searchsorted(nearest, (part.start, part.stop)).tolist())
        for part, nearest in zip(region[leading:], _nearest_pixels(image, view), strict=True)
    ]
    return (*region[:leading], *below)


class Regrid:
    """A sink for a result of a view; what it passes on is of the image's own pixels.

    Parameters
    ----------
    sink : Sink
        For results of the image.
    image, view : Image
        The image, and what `resampled` made of it.

    Examples
    --------
    >>> class Show:
    ...     def write(self, region, array):
    ...         print(region, array)
    >>> image = Image(np.zeros((1, 4)), "YX", (1.0, 1.0), "µm", ("",), "cells")
    >>> sink = Regrid(Show(), image, resampled(image, (1.0, 2.0)))
    >>> sink.write((slice(0, 1), slice(1, 2)), np.array([[7]]))
    (slice(0, 1, None), slice(2, 4, None)) [[7 7]]
    """

    def __init__(self, sink: Sink, image: Image, view: Image) -> None:
        self._sink, self._image, self._view = sink, image, view

    def write(self, region: Region, array: NDArray[Any]) -> None:
        """Store for each pixel of the image whose nearest one of the view lies in the region its value.

        Parameters
        ----------
        region : tuple of slice
            Of the result, the last ones of the view's spatial axes. Regions that partition the view partition
            the image; those that hold no nearest pixel write nothing.
        array : ndarray
            The result there.
        """
        below = region_below(region, self._image, self._view)
        for axis, nearest in enumerate(reversed(_nearest_pixels(self._image, self._view)), start=1):
            array = array.take(nearest[below[-axis]] - region[-axis].start, axis=-axis)
        if array.size:
            self._sink.write(below, array)


def _nearest_pixels(image: Image, view: Image) -> list[NDArray[np.intp]]:
    """Return for each pixel of each spatial axis of the image the one of the view that covers its centre."""
    axes = zip(image.spatial_shape, image.spacing, view.spacing, view.spatial_shape, strict=True)
    return [_nearest(size, new / old, n_pixels) for size, old, new, n_pixels in axes]


def _nearest(size: int, scale: float, n_pixels: int) -> NDArray[np.intp]:
    """Return for each pixel of an axis of the image the one of the view that covers its centre."""
    return np.minimum(((np.arange(size) + 0.5) / scale).astype(np.intp), n_pixels - 1)


def _taps(pixels: NDArray[np.intp], scale: float, size: int) -> tuple[NDArray[np.intp], NDArray[np.float32]]:
    """Return for pixels of a view what they draw upon: places (n, k) on an axis, and weights (n, k).

    A place without weight repeats another: it may be NaN, or outside of what has to be read.
    """
    if scale == 1:
        return pixels[:, None], np.ones((len(pixels), 1), np.float32)
    places, weights = (_footprint if scale > COARSER else _neighbours)(pixels[:, None], scale, size)
    heaviest = np.take_along_axis(places, weights.argmax(axis=1, keepdims=True), axis=1)
    weights /= weights.sum(axis=1, keepdims=True)
    return np.where(weights > 0, places, heaviest), weights.astype(np.float32)


def _footprint(pixels: NDArray[np.intp], scale: float, size: int) -> tuple[NDArray[np.intp], NDArray[Any]]:
    """Places below each pixel, weighted by how much of them it covers."""
    low, high = pixels * scale, np.minimum((pixels + 1) * scale, size)
    places = low.astype(np.intp) + np.arange(ceil(scale) + 1)
    return places, np.maximum(np.minimum(places + 1, high) - np.maximum(places, low), 0)


def _neighbours(pixels: NDArray[np.intp], scale: float, size: int) -> tuple[NDArray[np.intp], NDArray[Any]]:
    """Two places beside each pixel's centre, weighted by how close they are; the edge goes on beyond it."""
    centre = np.clip((pixels + 0.5) * scale - 0.5, 0, size - 1)
    places = centre.astype(np.intp) + np.arange(2)
    return places, 1 - abs(places - centre)


def _weighted(
    block: NDArray[Any], axis: int, places: NDArray[np.intp], weights: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Sum what lies at the places (n, k) along an axis by their weights (n, k).

    Pixel by pixel, so that neither what is read at once nor a NaN elsewhere makes a difference.
    """
    shape = [-1 if along == axis else 1 for along in range(block.ndim)]
    total = np.zeros([*block.shape[:axis], len(places), *block.shape[axis + 1 :]], np.float32)
    for place, weight in zip(places.T, weights.T, strict=True):
        part = block.take(place, axis=axis).astype(np.float32, copy=False)
        part *= weight.reshape(shape)  # take has made a copy
        total += part
    return total
