"""Write a result by regions; it appears under its name only when it is whole."""

import errno
import os
import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import DTypeLike, NDArray

from napari_unet.core.io.axes import UNKNOWN_UNIT
from napari_unet.core.io.image import Region
from napari_unet.core.io.layout import Layout, Sink
from napari_unet.core.io.names import has_zarr_metadata, image_stem
from napari_unet.core.io.tiff_writer import create_tiff

_REMOVALS, _PAUSE = 50, 0.1  # of a folder into which something still writes; seconds
_FORMATS = (".ome.zarr", ".ome.tif", ".ome.tiff", ".zarr", ".tif", ".tiff")


class Output:
    """A result being written: a context manager, made by `create_output`.

    On success it is flushed to the disk and renamed; after an exception nothing of it remains.
    """

    def __init__(self, path: Path, layout: Layout, *, overwrite: bool) -> None:
        self.path = path
        self.layout = layout
        self._overwrite = overwrite
        self._temporary = path.with_name(f".{path.name}.{os.getpid()}.partial")
        self._sink: Sink | None = None

    def __enter__(self) -> Self:
        try:
            with _disk(self.path, self.layout):
                self._sink = _create_sink(self._temporary, self.path, self.layout)
        except BaseException:  # Ctrl-C included: it is raised again
            _remove(self._temporary)
            raise
        return self

    def write(self, region: Region, array: NDArray[Any]) -> None:
        """Write `array` at `region`, one slice for each axis; regions come in any order.

        Raises
        ------
        ValueError
            Where the shapes do not fit.
        TypeError
            Where the type cannot be stored, such as floats in integer labels.
        OSError
            Where the disk is full or goes away.
        """
        expected = tuple(len(range(*p.indices(n))) for p, n in zip(region, self.layout.shape, strict=True))
        if array.shape != expected:
            raise ValueError(f"an array of shape {array.shape} does not fill the region of shape {expected}")
        if self._sink is None:
            raise ValueError(f"{self.path.name} is not open; write inside its with block")
        with _disk(self.path, self.layout):
            self._sink.write(region, array)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._sink = None
        try:
            if kind is None:
                with _disk(self.path, self.layout):
                    _flush(self._temporary)
                    self._rename()
        finally:
            _remove(self._temporary)

    def _rename(self) -> None:
        _refuse_existing(self.path, overwrite=self._overwrite)  # it may have come meanwhile
        replaced = self.path.with_name(self._temporary.name + ".old")
        if self.path.is_dir():  # a folder cannot be replaced in one go
            os.replace(self.path, replaced)
        os.replace(self._temporary, self.path)
        _remove(replaced)
        sync_folder(self.path.parent)


def create_output(
    path: str | Path,
    shape: Sequence[int],
    dtype: DTypeLike,
    *,
    axes: str,
    spacing: Sequence[float],
    unit: str = UNKNOWN_UNIT,
    channels: Sequence[str] = (),
    info: str = "",
    overwrite: bool = False,
) -> Output:
    """Prepare a result file; nothing is written before its `with` block is entered.

    Parameters
    ----------
    path
        Its suffix sets the format: `.tif` (with ImageJ's metadata for uint8, uint16 and float32, unless C and
        Z are both there; BigTIFF where it must be), `.ome.tif`, or `.ome.zarr` (0.5; integers without
        channels are marked as labels).
    shape, dtype, axes
        Of the whole; axes are some of TCZYX in this order.
    spacing, unit
        Voxel size of each spatial axis in ZYX order.
    channels
        A name for each channel, or none.
    info
        Text that a `.tif` keeps beside its pixels, where ImageJ shows it too.
    overwrite
        Whether an existing result is replaced, once the new one is whole.

    Returns
    -------
    Output
        Two equal runs give the same bytes.

    Raises
    ------
    FileExistsError
        Where the result exists and `overwrite` is false, or is a folder that is no Zarr store.
    FileNotFoundError
        Where its folder does not exist.
    ValueError
        Where the suffix is none of these or the layout contradicts itself.

    Examples
    --------
    >>> import tempfile
    >>> folder = tempfile.TemporaryDirectory()
    >>> result = create_output(f"{folder.name}/labels.tif", (2, 8, 8), "uint8", axes="ZYX", spacing=(5, 1, 1))
    >>> with result:
    ...     result.write((slice(1, 2), slice(0, 8), slice(0, 4)), np.ones((1, 8, 4), np.uint8))
    >>> [entry.name for entry in Path(folder.name).iterdir()]
    ['labels.tif']
    >>> folder.cleanup()
    """
    path = Path(path)
    if not path.name.lower().endswith(_FORMATS):
        raise ValueError(f"{path.name} has no suffix of an output; choose .tif, .ome.tif or .ome.zarr")
    if not path.parent.is_dir():
        raise FileNotFoundError(f"the folder {path.parent} does not exist; make it first")
    _refuse_existing(path, overwrite=overwrite)
    layout = Layout(
        tuple(map(int, shape)), np.dtype(dtype), axes, tuple(map(float, spacing)), unit, tuple(channels), info
    )
    return Output(path, layout, overwrite=overwrite)


def _create_sink(temporary: Path, path: Path, layout: Layout) -> Sink:
    name = path.name.lower()
    if name.endswith(".zarr"):
        from napari_unet.core.io.zarr_writer import create_zarr

        return create_zarr(temporary, layout, image_stem(path))
    return create_tiff(temporary, layout, ome=".ome." in name)


def _refuse_existing(path: Path, *, overwrite: bool) -> None:
    if not overwrite and os.path.lexists(path):
        raise FileExistsError(f"{path} exists; give --overwrite to replace it")
    if path.is_dir() and not (path.suffix.lower() == ".zarr" and has_zarr_metadata(path)):
        raise FileExistsError(f"{path} is a folder and no Zarr store; choose another name for the output")


@contextmanager
def _disk(path: Path, layout: Layout) -> Iterator[None]:
    """Say in one sentence what the disk refuses."""
    try:
        yield
    except FileExistsError:
        raise
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            sentence = (
                f"no space for {path} ({layout.n_bytes / 1e6:.3g} MB); free some or write to another disk"
            )
        else:
            sentence = f"cannot write {path} ({error.strerror or error}); choose a folder that is writable"
        raise OSError(sentence) from error


def _flush(path: Path) -> None:
    """Make sure that every byte is on the disk before the name appears."""
    if path.is_dir() and hasattr(os, "sync"):
        os.sync()  # one wait for everything: a wait for each of a store's many files takes minutes
        return
    for file in path.rglob("*") if path.is_dir() else [path]:
        if file.is_file():
            with open(file, "rb+") as handle:
                os.fsync(handle.fileno())


def sync_folder(folder: Path) -> None:
    """Wait until the names in a folder are on the disk."""
    if os.name != "posix":  # Windows cannot open a folder
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        _remove_folder(path)
    elif os.path.lexists(path):  # a read-only disk refuses even to remove what is not there
        path.unlink()


def _remove_folder(path: Path) -> None:
    """Remove until it stays away: after an error zarr's threads finish the chunks they have begun."""
    for _ in range(_REMOVALS):
        shutil.rmtree(path, ignore_errors=True)
        time.sleep(_PAUSE)
        if not path.exists():
            return
    shutil.rmtree(path)  # says what is in the way
