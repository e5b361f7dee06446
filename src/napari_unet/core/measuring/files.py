"""A table as a text file for spreadsheets and scripts; it has its name only when it is whole."""

import csv
import errno
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_unet.core.io.disk import sync_folder

_DELIMITERS = {".csv": ",", ".tsv": "\t"}
_AT_ONCE = 10_000  # rows


def check_table_path(path: str | Path, *, overwrite: bool = False) -> None:
    """Refuse a name that `write_table` would refuse, before the work.

    Raises
    ------
    ValueError
        Where the suffix is neither .csv nor .tsv.
    OSError
        Where the file exists and `overwrite` is false, or is a folder, or its own folder does not exist or
        cannot be written.
    """
    path = Path(path)
    if path.suffix.lower() not in _DELIMITERS:
        raise ValueError(f"{path} is no name of a table: let it end in .csv or .tsv")
    if path.is_dir():
        raise IsADirectoryError(f"{path} is a folder: give the table another name")
    if path.exists() and not overwrite:
        raise FileExistsError(f"{path} exists: choose another name or replace it (--overwrite)")
    if not path.parent.is_dir():
        raise FileNotFoundError(f"the folder {path.parent} does not exist: make it or choose another one")
    if not os.access(path.parent, os.W_OK):
        raise PermissionError(f"the folder {path.parent} cannot be written: choose another one")


def write_table(table: Mapping[str, NDArray[Any]], path: str | Path, *, overwrite: bool = False) -> None:
    r"""Write a table as comma-separated (.csv) or tab-separated (.tsv) values, UTF-8.

    Parameters
    ----------
    table : mapping of str to ndarray (n,)
        As `measure_objects` returns it. NaN becomes an empty cell; numbers keep all their digits.
    path : path
        Its suffix sets the format.
    overwrite : bool
        Whether an existing file is replaced, once the new one is whole.

    Raises
    ------
    ValueError
        Where the suffix is neither, or columns differ in length.
    OSError
        Where the file exists, or the disk is full or refuses it; nothing is left of it then.

    Examples
    --------
    >>> import tempfile
    >>> folder = tempfile.TemporaryDirectory()
    >>> write_table({"label": np.array([1, 2]), "area": np.array([0.5, np.nan])}, f"{folder.name}/cells.csv")
    >>> Path(f"{folder.name}/cells.csv").read_text()
    'label,area\n1,0.5\n2,\n'
    >>> folder.cleanup()
    """
    path = Path(path)
    check_table_path(path, overwrite=overwrite)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.unfinished")
    with _disk_errors(path):
        try:
            _write(table, temporary, _DELIMITERS[path.suffix.lower()])
            os.replace(temporary, path)
            sync_folder(path.parent)
        finally:
            with suppress(FileNotFoundError):
                temporary.unlink()


def _write(table: Mapping[str, NDArray[Any]], path: Path, delimiter: str) -> None:
    with open(path, "w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, delimiter=delimiter, lineterminator="\n")
        writer.writerow(table)
        for start in range(0, max(map(len, table.values()), default=0), _AT_ONCE):
            columns = [_cells(column[start : start + _AT_ONCE]) for column in table.values()]
            writer.writerows(zip(*columns, strict=True))
        file.flush()
        os.fsync(file.fileno())


def _cells(column: NDArray[Any]) -> list[Any]:
    cells: list[Any] = column.tolist()
    if column.dtype.kind == "f" and np.isnan(column).any():
        return ["" if cell != cell else cell for cell in cells]  # only NaN differs from itself
    return cells


@contextmanager
def _disk_errors(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise OSError(f"no space for {path}; free some or write to another disk") from error
        reason = error.strerror or error
        raise OSError(f"cannot write {path} ({reason}); choose a folder that is writable") from error
