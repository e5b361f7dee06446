"""What is kept of a session: annotation and model in the user's data folder, each file whole or not there."""

import hashlib
import json
import os
import shutil
import struct
import time
import warnings
import zipfile
import zlib
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from io import BytesIO
from pathlib import Path
from secrets import token_hex
from typing import IO, Self, get_args

import numpy as np
from platformdirs import user_data_path

from napari_unet.core.annotated_regions import CELL_SHAPE, Corner, cell_pixels
from napari_unet.core.io.disk import sync_folder
from napari_unet.core.targets import Task
from napari_unet.session.classes import ClassStyle
from napari_unet.session.images import Index
from napari_unet.session.strokes import Cell

MOST_ENTRIES = 5
"""So many sessions are kept of each image; an older one goes unless it holds more than those after it."""
MOST_IMAGES = 500
"""Annotations are kept of so many images, and models of so many sessions; those written longest ago go."""
MOST_MODELS = 20
FORMAT, FORMAT_VERSION = "napari-unet-kept", 2
_HEADER = "header.json"
_NPY_BYTES = 4096  # no header of an array is longer
_COMPRESSION = 1  # strokes are mostly zeros: the fastest is small enough
_DAMAGE = (
    *(OSError, ValueError, TypeError, LookupError, EOFError, RuntimeError, MemoryError, OverflowError),
    AttributeError,
    *(zipfile.BadZipFile, zlib.error, struct.error),
)


@dataclass(frozen=True, eq=False)
class Snapshot:
    """What is painted on one image: its cells, by plane and by place on it, and which planes are complete."""

    key: str
    image_name: str
    task: Task
    classes: tuple[ClassStyle, ...]
    shape: tuple[int, ...]
    cells: Mapping[Index, Mapping[Corner, Cell]]
    complete: frozenset[Index]
    session: str  # whose models are meant


@dataclass(frozen=True, eq=False)
class Kept:
    """An annotation that was found: all but its pixels, when it was saved (seconds since 1970), its model."""

    key: str
    image_name: str
    task: Task
    classes: tuple[ClassStyle, ...]
    shape: tuple[int, ...]
    corners: Mapping[Index, tuple[Corner, ...]]
    complete: frozenset[Index]
    path: Path
    saved_at: float
    model: Path | None

    @classmethod
    def of(cls, archive: zipfile.ZipFile, path: Path) -> Self:
        """Read a header; zipfile compares the checksum of everything that is read."""
        header = json.loads(archive.read(_HEADER))
        if (header["format"], header["format_version"]) != (FORMAT, FORMAT_VERSION):
            raise ValueError(
                f"its format is {header['format']} {header['format_version']}, not one known here"
            )
        if header["task"] not in get_args(Task):
            raise ValueError(f"its task is {header['task']!r}, not one known here")
        shape = tuple(map(int, header["shape"]))
        indices = _indices([plane["index"] for plane in header["planes"]], shape)
        corners = [_corners(plane["cells"], shape[-2:]) for plane in header["planes"]]
        model = model_path(Path(header["session"]).name, header["task"])
        time.localtime(float(header["saved_at"]))  # fails here rather than where it is shown
        return cls(
            key=str(header["key"]),
            image_name=str(header["image_name"]),
            task=header["task"],
            classes=tuple(ClassStyle(**each) for each in header["classes"]),
            shape=shape,
            corners=dict(zip(indices, corners, strict=True)),
            complete=frozenset(_indices(header["complete"], shape)),
            path=path,
            saved_at=float(header["saved_at"]),
            model=model if model.is_file() else None,
        )

    @property
    def n_slices(self) -> int:
        """How many planes are annotated or complete."""
        return len(self.corners.keys() | self.complete)

    def cells(self) -> Iterator[tuple[Index, dict[Corner, Cell]]]:
        """Read one plane after the other; a damaged one is left aside with a warning."""
        with zipfile.ZipFile(self.path) as archive:
            now = Kept.of(archive, self.path)  # another napari may have gone on writing
            for number, (index, corners) in enumerate(now.corners.items()):
                try:
                    yield index, _read_cells(archive, number, now.shape[-2:], corners)
                except _DAMAGE as error:
                    warnings.warn(
                        f"slice {index} of {self.path} cannot be read and is left aside: {error}",
                        stacklevel=2,
                    )

    @property
    def offer(self) -> str:
        """Ask whether to restore it."""
        slices = "1 annotated slice" if self.n_slices == 1 else f"{self.n_slices} annotated slices"
        what = f"{slices} of {self.image_name}" + (" and a model" if self.model else "")
        return (
            f"{what} were kept on {time.strftime('%d %b at %H:%M', time.localtime(self.saved_at))}: restore?"
        )


def data_home() -> Path:
    """Return the user's data folder, or the one that NAPARI_UNET_HOME names."""
    return Path(os.environ.get("NAPARI_UNET_HOME") or user_data_path("napari-unet", appauthor=False))


def new_name() -> str:
    """Name a session, or an entry: two viewers may start within a second, even in one process."""
    now = time.strftime("%Y%m%dT%H%M%S", time.gmtime())
    # computers that share a folder may have equal process ids
    return f"{now}-{os.getpid()}-{token_hex(3)}"


def new_entry(key: str) -> Path:
    """Name a folder, not made yet, that only this session writes to."""
    return _image_folder(key) / new_name()


def annotation_path(entry: Path, task: Task) -> Path:
    """Return the file that a snapshot of this task is kept in."""
    return entry / f"annotation-{task}.npz"


def model_path(session: str, task: Task) -> Path:
    """Return the file of the model that a session trains for this task, whichever its images."""
    return data_home() / "models" / session / f"model-{task}.safetensors"


def keep(entry: Path, snapshot: Snapshot) -> None:
    """Write a snapshot into an entry's folder; an OSError says in one sentence what the disk refuses."""
    path = annotation_path(entry, snapshot.task)
    is_new = not path.exists()
    with _replacing(path) as file:
        _write(file, snapshot)
    if is_new:
        _thin(entry)
        _remove_oldest(entry.parent.parent, MOST_IMAGES)


def keep_model(path: Path, save: Callable[[Path], object]) -> None:
    """Have the model of a session written."""
    is_new = not path.exists()
    path.parent.mkdir(parents=True, exist_ok=True)
    save(path)
    if is_new:
        _remove_oldest(path.parent.parent, MOST_MODELS)


def find_kept(key: str, task: Task | None = None, but: Collection[Path] = ()) -> Kept | None:
    """Return what holds the most annotated slices of an image, the newest among equals, None if nothing.

    Entries named in `but` are passed over. Damaged files are left aside with a warning, which napari shows.
    Only headers are read.
    """
    paths = _image_folder(key).glob(f"*/annotation-{task or '*'}.npz")
    headers = [_header(path) for path in _newest_first(path for path in paths if path.parent not in but)]
    found = [kept for kept in headers if kept is not None and kept.key == key and kept.n_slices]
    return max(found, key=lambda kept: kept.n_slices, default=None)


def discard(kept: Kept) -> None:
    """Remove an annotation, and its entry when nothing else was painted there."""
    kept.path.unlink(missing_ok=True)
    if not any(kept.path.parent.glob("annotation-*.npz")):
        shutil.rmtree(kept.path.parent, ignore_errors=True)


def compact(values: Cell) -> Cell:
    """Return values in the smallest type that holds them."""
    low, high = int(values.min()), int(values.max())
    fitting = (each for each in (np.uint8, np.uint16) if low >= 0 and high <= np.iinfo(each).max)
    return values.astype(next(fitting, values.dtype), copy=False)


def _image_folder(key: str) -> Path:
    return data_home() / "kept" / hashlib.sha256(key.encode(errors="surrogatepass")).hexdigest()[:32]


def _thin(entry: Path) -> None:
    """Remove older entries of the same image, but none that holds more than those after it."""
    most: dict[str, int] = {}
    for number, each in enumerate(_newest_first(entry.parent.iterdir())):
        headers = {path.name: _header(path) for path in each.glob("annotation-*.npz")}
        held = {name: kept.n_slices for name, kept in headers.items() if kept is not None}
        holds_more = any(n_slices > most.get(name, 0) for name, n_slices in held.items())
        if number >= MOST_ENTRIES and not holds_more and each != entry:
            shutil.rmtree(each, ignore_errors=True)
        most |= {name: max(n_slices, most.get(name, 0)) for name, n_slices in held.items()}


def _remove_oldest(folder: Path, most: int) -> None:
    """Remove all but the folders in which something was written last."""
    for each in _newest_first(folder.iterdir())[most:]:
        shutil.rmtree(each, ignore_errors=True)


def _newest_first(paths: Iterable[Path]) -> list[Path]:
    return sorted(paths, key=_modified, reverse=True)


def _modified(path: Path) -> int:
    """Return when a file, or the newest one in a folder, was written; now, if it is just being replaced."""
    try:
        files = path.rglob("*.*") if path.is_dir() else [path]  # folders have no dot in their names
        return max((file.stat().st_mtime_ns for file in files), default=0)
    except OSError:
        return time.time_ns()


def _write(file: IO[bytes], snapshot: Snapshot) -> None:
    header = {
        **{"format": FORMAT, "format_version": FORMAT_VERSION, "saved_at": time.time()},
        **{"key": snapshot.key, "image_name": snapshot.image_name, "task": snapshot.task},
        **{"session": snapshot.session, "classes": [asdict(each) for each in snapshot.classes]},
        **{"shape": snapshot.shape, "complete": sorted(snapshot.complete)},
        "planes": [{"index": index, "cells": list(cells)} for index, cells in snapshot.cells.items()],
    }
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED, compresslevel=_COMPRESSION) as archive:
        archive.writestr(_HEADER, json.dumps(header))
        for number, cells in enumerate(snapshot.cells.values()):
            values = compact(np.concatenate([cell.ravel() for cell in cells.values()]))
            with archive.open(f"{number}.npy", "w", force_zip64=True) as member:
                np.lib.format.write_array(member, values, allow_pickle=False)


def _header(path: Path) -> Kept | None:
    try:
        with zipfile.ZipFile(path) as archive:
            return Kept.of(archive, path)
    except _DAMAGE as error:
        warnings.warn(f"{path} cannot be read and is left aside: {error}", stacklevel=3)
        return None


def _indices(values: Iterable[Iterable[int]], shape: tuple[int, ...]) -> list[Index]:
    indices = [tuple(map(int, value)) for value in values]
    for index in indices:
        if not all(0 <= at < size for at, size in zip(index, shape[:-2], strict=True)):
            raise ValueError(f"its plane {index} lies outside of the shape {shape}")
    return indices


def _corners(values: Iterable[Iterable[int]], shape: tuple[int, ...]) -> tuple[Corner, ...]:
    corners = tuple(tuple(map(int, value)) for value in values)
    for corner in corners:
        starts = [at * cell for at, cell in zip(corner, CELL_SHAPE[-2:], strict=True)]
        if not all(0 <= start < size for start, size in zip(starts, shape, strict=True)):
            raise ValueError(f"its cell {corner} lies outside of the plane {shape}")
    return corners


def _read_cells(
    archive: zipfile.ZipFile, number: int, shape: tuple[int, ...], corners: tuple[Corner, ...]
) -> dict[Corner, Cell]:
    shapes = [
        [len(range(size)[part]) for part, size in zip(cell_pixels(corner), shape, strict=True)]
        for corner in corners
    ]
    ends = np.cumsum([n_rows * n_columns for n_rows, n_columns in shapes])
    n_pixels = int(ends[-1])
    member = archive.getinfo(f"{number}.npy")
    if member.file_size > n_pixels * np.dtype(np.int64).itemsize + _NPY_BYTES:
        raise ValueError(f"it is larger than the {len(corners)} cells that it should be")
    values: Cell = np.lib.format.read_array(BytesIO(archive.read(member)), allow_pickle=False)
    if values.shape != (n_pixels,) or values.dtype.kind not in "iu":
        raise ValueError(f"it is {values.dtype} of shape {values.shape}, not {n_pixels} integers")
    parts = zip(corners, np.split(values, ends[:-1]), shapes, strict=True)
    return {corner: part.reshape(cell_shape) for corner, part, cell_shape in parts}


@contextmanager
def _replacing(path: Path) -> Iterator[IO[bytes]]:
    """Write under a temporary name; the final one shows only what has reached the disk."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(temporary, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
        for folder in path.parents[:2]:  # the name of a new entry is in the folder above
            sync_folder(folder)
    except OSError as error:
        raise OSError(
            f"annotation cannot be kept in {path.parent} ({error.strerror or error}): free some space there "
            "or make it writable; it stays in memory and is tried again"
        ) from error
    finally:
        with suppress(OSError):  # renamed, or never made
            temporary.unlink()
