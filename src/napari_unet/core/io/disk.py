"""What the disk refuses, said in one sentence; folders that are synced, or removed for good."""

import errno
import os
import shutil
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from napari_unet.core.io.layout import Layout

_REMOVALS, _PAUSE = 50, 0.1  # of a folder into which something still writes; seconds


@contextmanager
def disk_errors(path: Path, layout: Layout) -> Iterator[None]:
    """Say in one sentence what the disk refuses.

    Parameters
    ----------
    path
        Final name of the result.
    layout
        Of the result, for its size.

    Raises
    ------
    OSError
        Where the disk is full, read-only or fails.
    """
    try:
        yield
    except FileExistsError:
        raise
    except OSError as error:
        size = f"{layout.n_bytes / 1e6:.3g} MB"
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            sentence = f"no space for {path} ({size}); free some or write to another disk"
        elif error.errno == errno.EFBIG:
            sentence = f"no file here can be as large as {path} ({size}); choose .ome.zarr or another disk"
        else:
            sentence = f"cannot write {path} ({error.strerror or error}); choose a folder that is writable"
        raise OSError(sentence) from error


def sync_file(path: Path) -> None:
    """Wait until the bytes of a file are on the disk."""
    with open(path, "rb+") as handle:
        os.fsync(handle.fileno())


def sync_files(files: Iterable[Path], top: Path) -> None:
    """Wait until the bytes of those files that exist are on the disk, and their names up to a folder."""
    folders = set()
    for file in files:
        with suppress(FileNotFoundError):  # blocks of zeros have none
            sync_file(file)
            folders |= {folder for folder in file.parents if folder.is_relative_to(top)}
    for folder in sorted(folders, reverse=True):
        sync_folder(folder)


def sync_folder(folder: Path) -> None:
    """Wait until the names in a folder are on the disk."""
    if os.name != "posix":  # Windows cannot open a folder
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def sync_all(folder: Path) -> None:
    """Wait until all bytes in a folder are on the disk."""
    if sys.platform == "linux":  # one wait for everything: a wait for each of many files takes minutes
        os.sync()  # elsewhere it may return before anything is written
        return
    sync_files((file for file in folder.rglob("*") if file.is_file()), folder)


def remove(path: Path) -> None:
    """Remove a file, link or folder, if it is there."""
    if path.is_dir() and not path.is_symlink():
        _remove_folder(path)
    elif os.path.lexists(path):  # a read-only disk refuses even to remove what is not there
        path.unlink()


def _remove_folder(path: Path) -> None:
    """Remove until it stays away: after an error zarr's threads finish the chunks they have begun."""
    failed = sys.exc_info()[0] is not None
    for _ in range(_REMOVALS):
        shutil.rmtree(path, ignore_errors=True)
        if failed or path.exists():
            time.sleep(_PAUSE)
        if not path.exists():
            return
    shutil.rmtree(path)  # says what is in the way
