"""Geometry of tiles: what each one reads, keeps and writes, and what is mirrored beyond the image.

::

    read   |-margin-|-halo-|=======write=======|-halo-|-margin-|     of the image
    output          |-------------------------------------------|    of the network, without the margin
    crop                   |===================|                     of the output
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import ceil, prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

Shape = tuple[int, ...]
Region = tuple[slice, ...]


@dataclass(frozen=True)
class Tile:
    """One piece of an image for inference.

    Parameters
    ----------
    read : tuple of slice
        What the network sees; starts below 0 and ends beyond the image where it has to be mirrored.
    crop : tuple of slice
        The part of the network's output that is kept.
    write : tuple of slice
        Where that part belongs.
    """

    read: Region
    crop: Region
    write: Region


@dataclass(frozen=True)
class TileGrid(Sequence[Tile]):
    """Tiles whose write regions partition an image; every tile reads equally much.

    Parameters
    ----------
    shape : tuple of int
        Spatial shape of the image.
    tile_shape : tuple of int
        Shape of a write region, but for the last ones along an axis; has to be a multiple of the network's
        stride for tiled and untiled to be equal.
    halo : tuple of int
        Pixels on each side that are predicted and thrown away.
    margin : tuple of int
        Pixels on each side that the network's output lacks.
    read_shape : tuple of int
        Spatial shape of the network's input, at least the tile, two halos and two margins.

    Raises
    ------
    ValueError
        If a tile is empty or reads less than it needs.

    Examples
    --------
    >>> grid = TileGrid((10,), (8,), (2,), (0,), (12,))
    >>> len(grid), grid[1]
    (2, Tile(read=(slice(6, 18, None),), crop=(slice(2, 4, None),), write=(slice(8, 10, None),)))
    """

    shape: Shape
    tile_shape: Shape
    halo: Shape
    margin: Shape
    read_shape: Shape

    def __post_init__(self) -> None:
        if min(self.tile_shape) < 1:
            raise ValueError(f"a tile of shape {self.tile_shape} is empty: use at least 1 along every axis")
        needed = tuple(
            size + 2 * (halo + margin)
            for size, halo, margin in zip(self.tile_shape, self.halo, self.margin, strict=True)
        )
        if any(read < need for read, need in zip(self.read_shape, needed, strict=True)):
            raise ValueError(f"tiles that read {self.read_shape} are too small: they need {needed}")

    @property
    def n_tiles(self) -> Shape:
        """Number of tiles along each axis."""
        return tuple(-(-size // step) for size, step in zip(self.shape, self.tile_shape, strict=True))

    def __len__(self) -> int:
        return prod(self.n_tiles)

    def __getitem__(self, index: int) -> Tile:  # type: ignore[override]  # no slices of tiles
        if not -len(self) <= index < len(self):
            raise IndexError(f"there is no tile {index} among {len(self)}")
        place = np.unravel_index(index % len(self), self.n_tiles)
        starts = [int(at) * step for at, step in zip(place, self.tile_shape, strict=True)]
        write = tuple(
            slice(start, min(start + step, size))
            for start, step, size in zip(starts, self.tile_shape, self.shape, strict=True)
        )
        origins = [
            start - halo - margin for start, halo, margin in zip(starts, self.halo, self.margin, strict=True)
        ]
        read = tuple(slice(at, at + size) for at, size in zip(origins, self.read_shape, strict=True))
        crop = tuple(
            slice(halo, halo + part.stop - part.start) for halo, part in zip(self.halo, write, strict=True)
        )
        return Tile(read, crop, write)


def balanced_tile_shape(shape: Sequence[int], largest: Sequence[int], stride: Sequence[int]) -> Shape:
    """Make tiles about equally large, multiples of the stride and at most ``largest`` (or one stride).

    Examples
    --------
    >>> balanced_tile_shape((520, 100), (512, 512), (16, 16))
    (272, 112)
    """
    tile_shape = []
    for size, most, step in zip(shape, largest, stride, strict=True):
        fitting = max(step, most // step * step)
        tile_shape.append(round_up(ceil(size / ceil(size / fitting)), step))
    return tuple(tile_shape)


def round_up(size: int, stride: int) -> int:
    """Return the smallest multiple of the stride that is at least ``size``."""
    return -(-size // stride) * stride


def mirror_indices(start: int, stop: int, size: int) -> NDArray[np.intp]:
    """Return for the pixels start…stop of a mirrored axis where they really are.

    Parameters
    ----------
    start, stop : int
        May lie outside 0…size, however far.
    size : int
        Pixels of the axis, at least 1. Edge pixels are not repeated, as in numpy's ``reflect``.

    Returns
    -------
    ndarray of intp
        Indices from 0 to size - 1.

    Examples
    --------
    >>> mirror_indices(-2, 5, 3)
    array([2, 1, 0, 1, 2, 1, 0])
    """
    if size == 1:
        return np.zeros(stop - start, np.intp)
    period = 2 * (size - 1)
    places = np.arange(start, stop, dtype=np.intp) % period
    mirrored: NDArray[np.intp] = np.minimum(places, period - places)
    return mirrored


def read_mirrored(
    read: Callable[[Region], NDArray[Any]], region: Region, shape: Sequence[int]
) -> NDArray[Any]:
    """Read a region that may reach beyond the image, where it is mirrored.

    Parameters
    ----------
    read : callable
        Takes a region inside the image, returns its pixels (C, *spatial).
    region : tuple of slice
        What is wanted; may start below 0 and end beyond the image.
    shape : sequence of int
        Spatial shape of the image.

    Returns
    -------
    ndarray (C, *region)
        Pixels; contiguous.

    Examples
    --------
    >>> image = np.arange(4).reshape(1, 4)
    >>> read_mirrored(lambda region: image[:, *region], (slice(-2, 6),), (4,))
    array([[2, 1, 0, 1, 2, 3, 2, 1]])
    """
    places = [mirror_indices(part.start, part.stop, size) for part, size in zip(region, shape, strict=True)]
    inside = tuple(slice(int(place.min()), int(place.max()) + 1) for place in places)
    block = read(inside)
    for axis, (place, part) in enumerate(zip(places, inside, strict=True), start=1):
        if len(place) != block.shape[axis] or place[0] != part.start or place[-1] != part.stop - 1:
            block = block.take(place - part.start, axis=axis)
    return np.ascontiguousarray(block)
