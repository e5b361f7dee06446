"""What the user looks at: the visible part of a plane, cut into pieces that are predicted in turn."""

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from math import ceil

import numpy as np
from numpy.typing import NDArray

from napari_unet.core.io import Image
from napari_unet.core.normalise import Intensity, normalise
from napari_unet.core.tiling import Region
from napari_unet.session.images import ImageChoice, Index

PIECE = {2: 768, 3: 192}
"""Longest side of what is predicted at once, by the number of spatial axes: a part of a second on a CPU."""
STEP = 32
"""The visible part is widened to multiples of this: small moves of the camera change nothing."""
SLAB = 8
"""Planes that a 3D network sees on both sides of the visible one."""


@dataclass(frozen=True)
class Place:
    """A rectangle of a plane."""

    index: Index
    rows: tuple[int, int]
    columns: tuple[int, int]

    @property
    def region(self) -> Region:
        """Where it lies in an array of the annotation's shape."""
        return (*(slice(at, at + 1) for at in self.index), slice(*self.rows), slice(*self.columns))


def visible_place(choice: ImageChoice, index: Index) -> Place:
    """Return the visible part of a plane; all of it where there is no canvas."""
    layer = choice.layers[0]
    corners = np.asarray(layer.corner_pixels)[:, -2:]
    if layer.multiscale:  # these are pixels of the level that is shown
        corners = corners * np.asarray(layer.downsample_factors)[layer.data_level, -2:]
    sizes = choice.annotation_shape[-2:]
    rows, columns = (_widened(corners[0, axis], corners[1, axis], size) for axis, size in enumerate(sizes))
    return Place(index, rows, columns)


def _widened(first: int, last: int, size: int) -> tuple[int, int]:
    start, stop = max(0, int(first)) // STEP * STEP, min(size, ceil((int(last) + 1) / STEP) * STEP)
    return (start, stop) if last > first and stop > start else (0, size)


def pieces(place: Place, side: int) -> tuple[Place, ...]:
    """Cut a place into pieces of at most this side, from its centre outwards.

    Examples
    --------
    >>> pieces(Place((3,), (0, 40), (0, 30)), 30)
    (Place(index=(3,), rows=(0, 20), columns=(0, 30)), Place(index=(3,), rows=(20, 40), columns=(0, 30)))
    """
    found = [
        Place(place.index, rows, columns)
        for rows in _cut(place.rows, side)
        for columns in _cut(place.columns, side)
    ]
    centre = sum(place.rows) / 2, sum(place.columns) / 2
    return tuple(
        sorted(
            found,
            key=lambda p: (sum(p.rows) / 2 - centre[0]) ** 2 + (sum(p.columns) / 2 - centre[1]) ** 2,
        )
    )


def _cut(span: tuple[int, int], side: int) -> list[tuple[int, int]]:
    start, stop = span
    n = ceil((stop - start) / side)
    return [(start + k * (stop - start) // n, start + (k + 1) * (stop - start) // n) for k in range(n)]


@dataclass(frozen=True, eq=False)
class Piece:
    """Normalised pixels (C, *spatial) around a place, and which of their planes it is (None in 2D)."""

    place: Place
    image: NDArray[np.float32]
    plane: int | None


@dataclass(frozen=True, eq=False)
class Sought:
    """A piece that is to be read: of an image that lies in a file, that may take its time."""

    choice: ImageChoice
    image: Image
    place: Place
    ndim: int
    intensity: Intensity

    @property
    def is_in_memory(self) -> bool:
        """Whether it is read at once; views of files and lazy arrays are of other types."""
        arrays = [layer.data[0] if layer.multiscale else layer.data for layer in self.choice.layers]
        return all(type(array) is np.ndarray for array in arrays)

    def read(self) -> Piece:
        """Read it."""
        return read_piece(self.choice, self.image, self.place, self.ndim, self.intensity)


def fetch(sought: Sought) -> Generator[None, None, Piece]:
    """Read a piece as a job."""
    yield
    return sought.read()


def read_piece(choice: ImageChoice, image: Image, place: Place, ndim: int, intensity: Intensity) -> Piece:
    """Read what a network of so many spatial axes has to see to predict a place."""
    t, z = (_along(choice, place.index, axis) for axis in "TZ")
    below, above = (0, 1) if ndim == 2 else (min(SLAB, z), SLAB + 1)
    has_z = "Z" in image.spatial_axes
    depth = image.spatial_shape[0] if has_z else 1
    planes = (slice(z - below, min(z + above, depth)),) if has_z else ()
    pixels = image.read((*planes, slice(*place.rows), slice(*place.columns)), t=t)
    normalised = normalise(pixels, intensity)
    if ndim == 3:
        return Piece(place, normalised, below)
    return Piece(place, normalised.reshape(len(pixels), *pixels.shape[-2:]), None)


def _along(choice: ImageChoice, index: Sequence[int], axis: str) -> int:
    return index[choice.plane_axes.index(axis)] if axis in choice.plane_axes else 0
