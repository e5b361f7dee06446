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
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from io import BytesIO
from pathlib import Path
from secrets import token_hex
from typing import IO, Any, get_args

import numpy as np
from numpy.typing import NDArray
from platformdirs import user_data_path

from napari_unet.core.targets import Task
from napari_unet.session.classes import ClassStyle
from napari_unet.session.images import Index

Plane = NDArray[np.integer[Any]]

MOST_ENTRIES = 5
"""So many sessions are kept of each image; older ones are removed."""
FORMAT, FORMAT_VERSION = "napari-unet-kept", 1
_HEADER = "header.json"
_NPY_BYTES = 4096  # no header of an array is longer
_COMPRESSION = 1  # strokes are mostly zeros: the fastest is small enough
_DAMAGE = (
    *(OSError, ValueError, TypeError, LookupError, EOFError, RuntimeError, MemoryError, OverflowError),
    *(zipfile.BadZipFile, zlib.error, struct.error),
)


@dataclass(frozen=True, eq=False)
class Snapshot:
    """Copies of what is painted on one image: its annotated planes (Y, X), and which are complete."""

    key: str
    image_name: str
    task: Task
    classes: tuple[ClassStyle, ...]
    shape: tuple[int, ...]
    planes: Mapping[Index, Plane]
    complete: frozenset[Index]


@dataclass(frozen=True, eq=False)
class Kept(Snapshot):
    """A snapshot that was found: its file, when it was saved (seconds since 1970), the model beside it."""

    path: Path
    saved_at: float
    model: Path | None

    @property
    def offer(self) -> str:
        """Ask whether to restore it."""
        n_slices = len(self.planes.keys() | self.complete)
        slices = "1 annotated slice" if n_slices == 1 else f"{n_slices} annotated slices"
        what = f"{slices} of {self.image_name}" + (" and a model" if self.model else "")
        return (
            f"{what} were kept on {time.strftime('%d %b at %H:%M', time.localtime(self.saved_at))}: restore?"
        )


def data_home() -> Path:
    """Return the user's data folder, or the one that NAPARI_UNET_HOME names."""
    return Path(os.environ.get("NAPARI_UNET_HOME") or user_data_path("napari-unet", appauthor=False))


def new_entry(key: str) -> Path:
    """Name a folder, not made yet, that only this session writes to."""
    now = time.strftime("%Y%m%dT%H%M%S", time.gmtime())
    # two viewers may start within a second, and computers that share a folder may have equal process ids
    return _image_folder(key) / f"{now}-{os.getpid()}-{token_hex(3)}"


def annotation_path(entry: Path, task: Task) -> Path:
    """Return the file that a snapshot of this task is kept in."""
    return entry / f"annotation-{task}.npz"


def model_path(entry: Path, task: Task) -> Path:
    """Return the file of the model that is trained for this task."""
    return entry / f"model-{task}.safetensors"


def keep(entry: Path, snapshot: Snapshot) -> None:
    """Write a snapshot into an entry's folder; an OSError says in one sentence what the disk refuses."""
    with _replacing(annotation_path(entry, snapshot.task)) as file:
        _write(file, snapshot)
    for old in _newest_first(each for each in entry.parent.iterdir() if each.is_dir())[MOST_ENTRIES:]:
        if old != entry:
            shutil.rmtree(old, ignore_errors=True)


def find_kept(key: str, task: Task | None = None, but: Collection[Path] = ()) -> Kept | None:
    """Return the newest snapshot of an image that holds strokes; entries named in `but` are passed over.

    Damaged files are left aside with a warning, which napari shows.
    """
    paths = _image_folder(key).glob(f"*/annotation-{task or '*'}.npz")
    for path in _newest_first(path for path in paths if path.parent not in but):
        try:
            kept = _read(path)
        except _DAMAGE as error:
            warnings.warn(f"{path} cannot be read and is left aside: {error}", stacklevel=2)
            continue
        if kept.key == key and (kept.planes or kept.complete):
            return kept
    return None


def discard(kept: Kept) -> None:
    """Remove a snapshot with its model, and its entry when nothing else was painted there."""
    kept.path.unlink(missing_ok=True)
    model_path(kept.path.parent, kept.task).unlink(missing_ok=True)
    if not any(kept.path.parent.glob("annotation-*.npz")):
        shutil.rmtree(kept.path.parent, ignore_errors=True)


def compact(plane: Plane) -> Plane:
    """Copy a plane in the smallest type that holds its values."""
    low, high = int(plane.min()), int(plane.max())
    for dtype in (np.uint8, np.uint16):
        if low >= 0 and high <= np.iinfo(dtype).max:
            return plane.astype(dtype)
    return np.array(plane)


def _image_folder(key: str) -> Path:
    return data_home() / "kept" / hashlib.sha256(key.encode(errors="surrogatepass")).hexdigest()[:32]


def _newest_first(paths: Iterable[Path]) -> list[Path]:
    return sorted(paths, key=_modified, reverse=True)


def _modified(path: Path) -> int:
    """Return when a file was written, or the newest annotation of an entry; 0 where it has gone."""
    with suppress(OSError):
        files = path.glob("annotation-*.npz") if path.is_dir() else [path]
        return max((file.stat().st_mtime_ns for file in files), default=0)
    return 0


def _write(file: IO[bytes], snapshot: Snapshot) -> None:
    header = {
        **{"format": FORMAT, "format_version": FORMAT_VERSION, "saved_at": time.time()},
        **{"key": snapshot.key, "image_name": snapshot.image_name, "task": snapshot.task},
        **{"shape": snapshot.shape, "indices": list(snapshot.planes), "complete": sorted(snapshot.complete)},
        "classes": [asdict(each) for each in snapshot.classes],
    }
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED, compresslevel=_COMPRESSION) as archive:
        archive.writestr(_HEADER, json.dumps(header))
        for number, plane in enumerate(snapshot.planes.values()):
            with archive.open(f"{number}.npy", "w", force_zip64=True) as member:
                np.lib.format.write_array(member, plane, allow_pickle=False)


def _read(path: Path) -> Kept:
    """Read a snapshot; zipfile compares the checksum of everything that is read."""
    with zipfile.ZipFile(path) as archive:
        header = json.loads(archive.read(_HEADER))
        if (header["format"], header["format_version"]) != (FORMAT, FORMAT_VERSION):
            raise ValueError(
                f"its format is {header['format']} {header['format_version']}, not one known here"
            )
        if header["task"] not in get_args(Task):
            raise ValueError(f"its task is {header['task']!r}, not one known here")
        shape = tuple(map(int, header["shape"]))
        indices = _indices(header["indices"], shape)
        planes = {index: _read_plane(archive, n, shape[-2:]) for n, index in enumerate(indices)}
    model = model_path(path.parent, header["task"])
    return Kept(
        key=str(header["key"]),
        image_name=str(header["image_name"]),
        task=header["task"],
        classes=tuple(ClassStyle(**each) for each in header["classes"]),
        shape=shape,
        planes=planes,
        complete=frozenset(_indices(header["complete"], shape)),
        path=path,
        saved_at=float(header["saved_at"]),
        model=model if model.is_file() else None,
    )


def _indices(values: Iterable[Iterable[int]], shape: tuple[int, ...]) -> list[Index]:
    indices = [tuple(map(int, value)) for value in values]
    for index in indices:
        if not all(0 <= at < size for at, size in zip(index, shape[:-2], strict=True)):
            raise ValueError(f"its plane {index} lies outside of the shape {shape}")
    return indices


def _read_plane(archive: zipfile.ZipFile, number: int, shape: tuple[int, ...]) -> Plane:
    member = archive.getinfo(f"{number}.npy")
    if member.file_size > np.prod(shape, dtype=float) * np.dtype(np.int64).itemsize + _NPY_BYTES:
        raise ValueError(f"its plane {number} is larger than the shape {shape}")
    plane: Plane = np.lib.format.read_array(BytesIO(archive.read(member)), allow_pickle=False)
    if plane.shape != shape or plane.dtype.kind not in "iu":
        raise ValueError(
            f"its plane {number} is {plane.dtype} of shape {plane.shape}, not integers of {shape}"
        )
    return plane


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
            _sync_folder(folder)
    except OSError as error:
        raise OSError(
            f"annotation cannot be kept in {path.parent} ({error.strerror or error}): free some space there "
            "or make it writable; it stays in memory and is tried again"
        ) from error
    finally:
        with suppress(OSError):  # renamed, or never made
            temporary.unlink()


def _sync_folder(folder: Path) -> None:
    if os.name != "posix":  # Windows cannot open a folder
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
