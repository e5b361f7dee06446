"""Results that grow under a temporary name, here or in several processes, and appear when they are whole."""

import os
from pathlib import Path

from napari_unet.core.io.disk import remove, sync_all, sync_file, sync_folder
from napari_unet.core.io.labels import is_labels_path
from napari_unet.core.io.layout import Layout, ResultSink
from napari_unet.core.io.names import has_zarr_metadata
from napari_unet.core.io.tiff_writer import check_ome, create_tiff, open_tiff_result
from napari_unet.core.io.zarr_writer import create_zarr, open_zarr_result

_FORMATS = (".ome.zarr", ".ome.tif", ".ome.tiff", ".zarr", ".tif", ".tiff")


def result_suffix(path: Path) -> str:
    """Return the suffix that sets the format of a result; labels inside an image are OME-Zarr without one.

    Raises
    ------
    ValueError
        Where it is none of ours.

    Examples
    --------
    >>> result_suffix(Path("run.2/a.OME.tif"))
    '.ome.tif'
    """
    if is_labels_path(path):
        return ".ome.zarr"
    for suffix in _FORMATS:
        if path.name.lower().endswith(suffix):
            return suffix
    raise ValueError(f"{path.name} has no suffix of an output; choose .tif, .ome.tif or .ome.zarr")


def check_output(path: Path, *, overwrite: bool) -> None:
    """Refuse early what could not be written at the end.

    Parameters
    ----------
    path
        Final name of a result, or what `labels_path` returns.
    overwrite
        Whether an existing result may be replaced.

    Raises
    ------
    FileExistsError
        Where the result exists and `overwrite` is false, or is a folder that is no Zarr store.
    FileNotFoundError
        Where its folder does not exist.
    OSError
        Where its folder cannot be written to.
    ValueError
        Where the suffix is none of an output.
    """
    result_suffix(path)
    folder = path.parent
    if is_labels_path(path) and not folder.exists():
        folder = folder.parent
    if not folder.is_dir():
        raise FileNotFoundError(f"the folder {folder} does not exist; make it first")
    _refuse_existing(path, overwrite=overwrite)
    if not os.access(folder, os.W_OK):
        raise OSError(f"cannot write {path} (read-only); choose a folder that is writable")


def check_format(path: Path, layout: Layout) -> None:
    """Raise ValueError where the format that the suffix sets cannot store the type of a result."""
    if ".ome.tif" in result_suffix(path):
        check_ome(layout)


def create_result(temporary: Path, layout: Layout, *, name: str) -> ResultSink:
    """Create a file or store in which a result can grow; what was there is replaced.

    Parameters
    ----------
    temporary
        Its suffix sets the format: .tif, .ome.tif or .ome.zarr.
    layout
        Of the result.
    name
        For the metadata of an OME-Zarr.

    Returns
    -------
    ResultSink
        All 0; the disk space of a TIFF is taken already.

    Raises
    ------
    ValueError
        Where the format cannot store the type.
    OSError
        As the disk says it; `disk_errors` makes a sentence of that.

    Examples
    --------
    >>> import tempfile
    >>> import numpy as np
    >>> folder = tempfile.TemporaryDirectory()
    >>> temporary, path = Path(folder.name) / "result.tif", Path(folder.name) / "cells.tif"
    >>> layout = Layout((2, 8, 8), np.dtype("uint8"), "ZYX", (5, 1, 1), "µm", (), block_shape=(1, 8, 8))
    >>> sink = create_result(temporary, layout, name="cells")
    >>> sink.write((slice(1, 2), slice(0, 8), slice(0, 8)), np.ones((1, 8, 8), np.uint8))
    >>> publish(temporary, path, overwrite=False)
    >>> [entry.name for entry in Path(folder.name).iterdir()]
    ['cells.tif']
    >>> folder.cleanup()
    """
    suffix = result_suffix(temporary)
    remove(temporary)
    if suffix.endswith(".zarr"):
        return create_zarr(temporary, layout, name)
    return create_tiff(temporary, layout, ome=".ome." in suffix)


def open_result(temporary: Path, layout: Layout) -> ResultSink:
    """Open for writing what `create_result` has made: to resume, or in another process.

    Parameters
    ----------
    temporary, layout
        As they were given to `create_result`.

    Returns
    -------
    ResultSink
        With all that has been written to it.

    Raises
    ------
    ValueError
        Where it is not whole or has another shape or type.
    FileNotFoundError
        Where it is not there.
    """
    if result_suffix(temporary).endswith(".zarr"):
        return open_zarr_result(temporary, layout, is_synced=True)
    return open_tiff_result(temporary, layout)


def publish(temporary: Path, path: Path, *, overwrite: bool) -> None:
    """Give a complete result its final name, once every byte of it is on the disk.

    Parameters
    ----------
    temporary
        What has been created and written; on the same disk as `path`.
    path
        Final name.
    overwrite
        Whether an existing result is replaced; it stays whole until then.

    Raises
    ------
    FileExistsError
        As of `check_output`; the result may have come meanwhile.
    OSError
        As the disk says it.
    """
    _flush(temporary)
    _refuse_existing(path, overwrite=overwrite)
    if is_labels_path(path):
        path.parent.mkdir(exist_ok=True)  # the first labels of their image
    replaced = path.with_name(f".{path.name}.replaced")
    if path.is_dir():  # a folder cannot be replaced in one go
        remove(replaced)
        os.replace(path, replaced)
    try:
        os.replace(temporary, path)
    except OSError:
        if os.path.lexists(replaced):
            os.replace(replaced, path)
        raise
    remove(replaced)
    sync_folder(path.parent)


def _flush(temporary: Path) -> None:
    if not temporary.is_dir():
        sync_file(temporary)
        return
    for left in temporary.rglob("*.partial"):  # by a process that was killed while it wrote a chunk
        left.unlink()
    sync_all(temporary)


def _refuse_existing(path: Path, *, overwrite: bool) -> None:
    if not overwrite and os.path.lexists(path):
        raise FileExistsError(f"{path} exists; give --overwrite to replace it")
    is_store = path.suffix.lower() == ".zarr" or is_labels_path(path)
    if path.is_dir() and not (is_store and has_zarr_metadata(path)):
        raise FileExistsError(f"{path} is a folder and no Zarr store; choose another name for the output")
