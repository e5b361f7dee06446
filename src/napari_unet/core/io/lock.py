"""Folders that one process at a time works in; locks go with their process."""

import errno
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from io import FileIO
from pathlib import Path

from napari_unet.core.io.disk import remove

LOCK = "lock"
# Lustre without -o flock, some NFS (of folders EBADF): better to go on without than not at all
_UNSUPPORTED = (errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOLCK, errno.EBADF)


class OwnFolder:
    """A folder, made where there is none, in which no other process works until it is closed or removed.

    Parameters
    ----------
    path : Path
        Of the folder.

    Raises
    ------
    BlockingIOError
        If it belongs to another process.
    OSError
        As the disk says it.

    Examples
    --------
    >>> import tempfile
    >>> outer = tempfile.TemporaryDirectory()
    >>> own = OwnFolder(Path(outer.name, "work"))
    >>> own.remove()
    >>> own.path.exists()
    False
    >>> outer.cleanup()
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = _own(path)

    def close(self) -> None:
        """Leave it to others as it is."""
        self._lock.close()

    def clear(self, last: str = "") -> None:
        """Remove what is in it; what is called `last` last, if it is there."""
        entries = [entry for entry in self.path.iterdir() if entry.name != LOCK]
        for entry in sorted(entries, key=lambda entry: entry.name == last):
            remove(entry)

    def remove(self, last: str = "") -> None:
        """Remove it for good, unless another process has come meanwhile, and leave it."""
        self.clear(last)
        if os.name != "posix":  # Windows removes nothing that is open
            self.close()
        with suppress(FileNotFoundError, PermissionError):
            (self.path / LOCK).unlink()  # whoever waits with it open finds that it is gone
        self.close()  # NFS keeps what is open
        with suppress(OSError):
            self.path.rmdir()


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Wait until no other process is in such a block of the same folder; Windows cannot."""
    if os.name != "posix":
        yield
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        _take(handle, waits=True)
        yield
    finally:
        os.close(handle)


def _own(folder: Path) -> FileIO:
    """Return the open lock of a folder."""
    while True:
        _make(folder)
        try:
            file = FileIO(folder / LOCK, "a")
        except FileNotFoundError:  # whoever had the folder has removed it in between
            continue
        try:
            _take(file.fileno(), waits=False)
            if _is_at(folder / LOCK, file):
                return file
        except BaseException:  # Ctrl-C included: it is raised again
            file.close()
            raise
        file.close()


def _make(folder: Path) -> None:
    """Make a folder where there is none."""
    try:
        folder.mkdir()
    except FileExistsError:  # with exist_ok pathlib raises it for a folder that goes just then, too
        if folder.is_file() or (folder.is_symlink() and not folder.exists()):  # there never will be one
            raise


def _is_at(path: Path, file: FileIO) -> bool:
    with suppress(FileNotFoundError):
        return os.path.samestat(os.fstat(file.fileno()), os.stat(path))
    return False


if sys.platform == "win32":
    import msvcrt

    def _take(handle: int, *, waits: bool) -> None:
        """Lock a file; BlockingIOError where another process has it."""
        try:
            msvcrt.locking(handle, msvcrt.LK_LOCK if waits else msvcrt.LK_NBLCK, 1)
        except PermissionError as error:
            raise BlockingIOError(error.errno, error.strerror) from error

else:
    import fcntl

    def _take(handle: int, *, waits: bool) -> None:
        """Lock a file or folder; BlockingIOError where another process has it."""
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | (0 if waits else fcntl.LOCK_NB))
        except OSError as error:
            if error.errno not in _UNSUPPORTED:
                raise
