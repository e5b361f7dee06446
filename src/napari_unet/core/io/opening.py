"""Open whatever a path is: one image, labels, or a folder's planes as one stack."""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_unet.core.io.damage import readable
from napari_unet.core.io.formats import format_of
from napari_unet.core.io.image import ChannelView, Image, Region, make_image, override
from napari_unet.core.io.names import image_stem
from napari_unet.core.io.source import Source

_SENTENCES = (ValueError, FileNotFoundError)  # of readers: options that do not fit, files that are not there
_KEPT = 2  # planes of a stack: a PNG or JPEG is decoded whole, and stays in memory


def open_image(
    path: str | Path,
    *,
    axes: str | None = None,
    spacing: Sequence[float] | None = None,
    channels: Sequence[int | str] | None = None,
    position: int | None = None,
) -> Image:
    """Open a TIFF, Zarr, HDF5, NumPy, PNG or JPEG file lazily, or whatever an installed bioio reader opens.

    Parameters
    ----------
    path
        The file, the folder of a Zarr store, or "file.h5:/dataset".
    axes
        Letters of "TCZYX" in the order of the stored dimensions; OME-TIFF and ImageJ files have none of
        size 1 but Y and X. None takes the file's.
    spacing
        Voxel size of each spatial axis in ZYX order; None takes the file's.
    channels
        Which channels to keep, in which order, by number or by name; None keeps all.
    position
        Which image of several in the file, as `list_positions` counts them; None is the first.

    Returns
    -------
    Image
        Nothing but metadata is read.

    Raises
    ------
    ValueError
        Where the file is no image or damaged, or does not fit axes, spacing or channels.
    FileNotFoundError
        Where there is no such file.

    Examples
    --------
    >>> import tempfile, tifffile
    >>> folder = tempfile.TemporaryDirectory()
    >>> tifffile.imwrite(f"{folder.name}/cells.tif", np.zeros((5, 64, 64), np.uint8), metadata=None)
    >>> image = open_image(f"{folder.name}/cells.tif", spacing=(50, 4, 4))
    >>> image.axes, image.spacing, image.read((slice(1, 2), slice(0, 8), slice(0, 8))).shape
    ('ZYX', (50.0, 4.0, 4.0), (1, 1, 8, 8))
    >>> folder.cleanup()
    """
    image = _open(Path(path), axes, position)
    source = Source((os.path.abspath(path),), axes=axes, position=position)
    return override(replace(image, source=source), spacing=spacing, channels=channels)


def open_labels(
    path: str | Path, *, axes: str | None = None, spacing: Sequence[float] | None = None
) -> Image:
    """Open an annotation or label file: as `open_image`, but a palette gives its indices.

    Raises
    ------
    ValueError
        Where the values are no integers or there are several channels.
    """
    image = override(_open(Path(path), axes, indices=True), spacing=spacing)
    check_labels(image)
    return image


def check_labels(image: Image) -> None:
    """Raise ValueError where an image cannot be labels, as far as its type and axes say."""
    if image.dtype.kind not in "bui":
        raise ValueError(
            f"labels {image.name} are {image.dtype}; save them as integers (uint8, uint16 or uint32)"
        )
    if image.n_channels > 1:
        raise ValueError(
            f"labels {image.name} have {image.n_channels} channels (a coloured picture?); "
            "save them as one channel of integers, or say --axes ZYX if these are planes"
        )


def read_labels(image: Image, region: Region | None = None, *, t: int = 0) -> NDArray[Any]:
    """Read an annotation or labels.

    Parameters
    ----------
    image
        As `open_labels` gives it, or any other that can be labels.
    region
        One slice per spatial axis; None is everything.
    t
        Time point.

    Returns
    -------
    ndarray of integers, spatial shape
        Writable; bool becomes uint8.

    Raises
    ------
    ValueError
        Where values are negative or no integers, or there are several channels.

    Examples
    --------
    >>> read_labels(Image(np.eye(2, dtype=bool), "YX", (1.0, 1.0), "pixel", ("",), "mask"))
    array([[1, 0],
           [0, 1]], dtype=uint8)
    """
    check_labels(image)
    labels: NDArray[Any] = image.read(region, t=t)[0]
    if labels.dtype == bool:
        return labels.astype(np.uint8)
    lowest = labels.min(initial=0)
    if lowest < 0:
        raise ValueError(
            f"labels {image.name} hold the negative value {lowest}; save them with values from 0 on"
        )
    return labels


@dataclass(frozen=True, eq=False)
class PlaneStack:
    """Equal planes in many files, opened one at a time, so that no stack runs out of file handles."""

    paths: tuple[Path, ...]
    shape: tuple[int, ...]
    dtype: np.dtype[Any]

    @cached_property
    def _open(self) -> Callable[[Path], Image]:
        """Open a plane, or give one of the last again: the tiles of a plane come one after the other."""
        return lru_cache(_KEPT)(open_image)

    def __getitem__(self, region: Region, /) -> NDArray[Any]:
        paths = self.paths[region[0]]
        plane_shape = [len(range(n)[part]) for n, part in zip(self.shape[1:], region[1:], strict=True)]
        out = np.empty((len(paths), *plane_shape), self.dtype)
        for target, path in zip(out, paths, strict=True):
            target[...] = self._open(path).data[region[1:]]
        return out


def open_stack(
    paths: Sequence[Path],
    *,
    axes: str | None = None,
    spacing: Sequence[float] | None = None,
    channels: Sequence[int | str] | None = None,
) -> Image:
    """Open files of one plane each as one stack along Z.

    Parameters
    ----------
    paths
        The planes in order, as `find_images` sorts them.
    axes, spacing, channels
        As for `open_image`, of the whole stack; the distance of the planes is unknown (1.0) unless given.

    Returns
    -------
    Image
        Named after the folder.

    Raises
    ------
    ValueError
        Where there are no planes, a file holds more than one, or shape, axes or type are not the first's.
    """
    if not paths:
        raise ValueError("a stack needs at least one plane; give a folder with images")
    first = open_image(paths[0])
    for path in paths:
        _check_plane(open_image(path), first, path, paths[0])
    data = PlaneStack(tuple(paths), (len(paths), *first.data.shape), first.dtype)
    sizes = dict(zip(first.spatial_axes, first.spacing, strict=True))
    name = image_stem(paths[0].resolve().parent)
    stack = make_image(data, axes or "Z" + first.axes, sizes, first.unit, first.channels, name)
    source = Source(tuple(map(os.path.abspath, paths)), stack=True, axes=axes)
    return override(replace(stack, source=source), spacing=spacing, channels=channels)


def _check_plane(plane: Image, first: Image, path: Path, first_path: Path) -> None:
    if plane.spatial_axes != "YX" or plane.n_timepoints > 1:
        raise ValueError(f"{path.name} is {plane.axes} {plane.data.shape}, not one plane; open it by itself")
    traits, expected = (f"{i.axes} {i.data.shape} {i.dtype}" for i in (plane, first))
    if traits != expected:
        raise ValueError(
            f"{path.name} is {traits} but {first_path.name} is {expected}; a stack has equal planes"
        )


def list_positions(path: str | Path) -> tuple[str, ...]:
    """Return the names of the images in a file: series of a TIFF, images of a Zarr store, scenes.

    Parameters
    ----------
    path
        As for `open_image`, whose `position` counts these names.

    Returns
    -------
    tuple of str
        ("",) where there is but one.

    Raises
    ------
    ValueError, FileNotFoundError
        As for `open_image`.

    Examples
    --------
    >>> import tempfile, tifffile
    >>> folder = tempfile.TemporaryDirectory()
    >>> tifffile.imwrite(f"{folder.name}/cells.tif", np.zeros((5, 64, 64), np.uint8))
    >>> list_positions(f"{folder.name}/cells.tif")
    ('',)
    >>> folder.cleanup()
    """
    path = Path(path)
    with readable(path, spared=_SENTENCES):
        return format_of(path).positions(path)


def describe_format(path: str | Path) -> str:
    """Return the format of a file in words, such as "OME-TIFF" or "OME-Zarr 0.5"."""
    path = Path(path)
    with readable(path, spared=_SENTENCES):
        return format_of(path).describe(path)


def count_missing_chunks(image: Image) -> int:
    """Count the Zarr chunks of an image that do not exist and read as the fill value.

    Parameters
    ----------
    image
        Only chunks of its own channels count. Of a sharded array the shards are counted.

    Returns
    -------
    int
        0 for any other format. A million chunks take seconds.

    Examples
    --------
    >>> count_missing_chunks(Image(np.zeros((2, 2)), "YX", (1.0, 1.0), "pixel", ("",), "array"))
    0
    """
    chosen: dict[int, Sequence[int]] = {}
    data = image.data
    if isinstance(data, ChannelView):
        chosen, data = {data.axis: data.chosen}, data.data
    count = getattr(data, "count_missing", None)  # of ZarrPixels, which other formats do not import
    return int(count(chosen)) if count else 0


def _open(path: Path, axes: str | None, position: int | None = None, *, indices: bool = False) -> Image:
    with readable(path, spared=_SENTENCES):
        return format_of(path, indices=indices).open(path, axes, position)
