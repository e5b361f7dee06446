"""Which reader a path needs; readers with heavy libraries are imported only then."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from napari_unet.core.io.damage import Unreadable
from napari_unet.core.io.image import Image
from napari_unet.core.io.names import (
    HDF5_SUFFIXES,
    RASTER_SUFFIXES,
    TIFF_SUFFIXES,
    check_position,
    is_broken_link,
    is_zarr,
    split_member,
)
from napari_unet.core.io.npy import open_npy
from napari_unet.core.io.raster import open_raster
from napari_unet.core.io.tiff import open_tiff, tiff_format, tiff_positions

_Open = Callable[[Path, str | None], Image]


@dataclass(frozen=True)
class Format:
    """How files of a kind are opened (with axes and position), which images they hold, and what they are."""

    open: Callable[[Path, str | None, int | None], Image]
    positions: Callable[[Path], tuple[str, ...]]
    describe: Callable[[Path], str]


def format_of(path: Path, *, indices: bool = False) -> Format:
    """Return the format of a file, a Zarr store, or a "file.h5:/dataset".

    Raises
    ------
    FileNotFoundError
        Where there is no such file.
    ValueError
        Where it is a folder of something else, no regular file, or a link that leads nowhere.
    """
    file, _ = split_member(path)
    suffix = file.suffix.lower()
    if is_broken_link(file):
        raise Unreadable(f"{file.name} is a broken link to {os.readlink(file)}; put the file itself there")
    if not file.exists():
        raise FileNotFoundError(f"{file} does not exist; check the path")
    if is_zarr(path):
        return _zarr()
    if file.is_dir():
        raise ValueError(f"{path} is a folder; give a TIFF, PNG, JPEG, NumPy, HDF5 or Zarr file")
    if not file.is_file():  # opening a pipe would wait for ever
        raise ValueError(f"{path} is no regular file; give a TIFF, PNG, JPEG, NumPy, HDF5 or Zarr file")
    if suffix in TIFF_SUFFIXES:
        return Format(open_tiff, tiff_positions, tiff_format)
    if suffix in RASTER_SUFFIXES:
        return _single(partial(open_raster, indices=indices), "PNG" if suffix == ".png" else "JPEG")
    if suffix == ".npy":
        return _single(open_npy, "NumPy")
    return _hdf5() if suffix in HDF5_SUFFIXES else _bioio()


def _single(opened: _Open, words: str) -> Format:
    """Files of one image each."""

    def open_only(path: Path, axes: str | None, position: int | None) -> Image:
        check_position(position, ("",), path.name)
        return opened(path, axes)

    return Format(open_only, lambda _: ("",), lambda _: words)


def _zarr() -> Format:
    from napari_unet.core.io.zarr import open_zarr, zarr_format, zarr_positions

    return Format(open_zarr, zarr_positions, zarr_format)


def _hdf5() -> Format:
    from napari_unet.core.io.hdf5 import open_hdf5

    return _single(open_hdf5, "HDF5")


def _bioio() -> Format:
    from napari_unet.core.io.bioio import bioio_format, bioio_positions, open_bioio

    return Format(open_bioio, bioio_positions, bioio_format)
