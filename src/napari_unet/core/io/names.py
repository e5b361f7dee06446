"""Which paths are images, and what they are called."""

import os
import re
import unicodedata
from collections.abc import Sequence
from pathlib import Path

from napari_unet.core.io.damage import Unreadable

TIFF_SUFFIXES = frozenset({".tif", ".tiff", ".lsm"})
RASTER_SUFFIXES = frozenset({".png", ".jpg", ".jpeg"})
HDF5_SUFFIXES = frozenset({".h5", ".hdf5", ".hdf"})
FILE_SUFFIXES = TIFF_SUFFIXES | RASTER_SUFFIXES | HDF5_SUFFIXES | {".npy"}
# read through bioio; what else it reads, such as films, is rarely meant where a folder is given
_MICROSCOPY_SUFFIXES = frozenset({".czi", ".dv", ".ims", ".lif", ".nd2", ".oib", ".oir", ".vsi"})
IMAGE_SUFFIXES = FILE_SUFFIXES | {".zarr"}
_LISTED_SUFFIXES = IMAGE_SUFFIXES | _MICROSCOPY_SUFFIXES
_MEMBER = re.compile(rf"(.*(?:{'|'.join(map(re.escape, sorted(HDF5_SUFFIXES)))})):(.*)", re.I | re.S)
_SHOWN = 10
_ZARR_MARKS = ("zarr.json", ".zarray", ".zgroup", ".zattrs")


def composed(name: str) -> str:
    r"""Return a name in the Unicode form (NFC) in which names are compared: macOS takes letters apart.

    Examples
    --------
    >>> "a\u0308" == "ä", composed("a\u0308") == composed("ä")
    (False, True)
    """
    return unicodedata.normalize("NFC", name)


def real_path(path: str | Path) -> Path:
    """Return where links lead, also in a circle, composed: equal paths are the same file on every system."""
    return Path(composed(os.path.realpath(path)))


def image_stem(path: str | Path) -> str:
    """Return the name without suffix, and without the `.ome` before it, composed.

    Examples
    --------
    >>> image_stem("run/a.ome.tif"), image_stem("b.v2.png"), image_stem("c.ome.zarr")
    ('a', 'b.v2', 'c')
    >>> image_stem("d.h5:/volumes/raw")
    'd'
    """
    stem = split_member(path)[0].stem
    return composed(stem[:-4] if stem.lower().endswith(".ome") else stem)


def split_member(path: str | Path) -> tuple[Path, str]:
    r"""Split "file.h5:/dataset" into the file and the dataset, "" where none is named.

    Examples
    --------
    >>> split_member("run/a.h5:/volumes/raw")[1], split_member(r"C:\x.h5:/a")[1], split_member("b.tif")[1]
    ('/volumes/raw', '/a', '')
    """
    match = _MEMBER.fullmatch(str(path))
    if match is None:
        return Path(path), ""
    return Path(match[1]), match[2].replace("\\", "/")  # which Windows makes of it


def check_position(position: int | None, names: Sequence[str], name: str) -> int:
    """Return the position, the first where none is chosen; ValueError where the file does not have it."""
    if position is None or 0 <= position < len(names):
        return position or 0
    listed = f" ({', '.join(names[:_SHOWN])})" if any(names[:_SHOWN]) else ""
    raise Unreadable(
        f"{name} has no position {position}: it has {len(names)}{listed}, choose among 0 to {len(names) - 1}"
    )


def is_broken_link(path: Path) -> bool:
    """Whether a path is a link that leads nowhere, or in a circle."""
    return path.is_symlink() and not path.exists()


def is_zarr(path: Path) -> bool:
    """Whether a folder is a Zarr store: by its suffix, or by the metadata in it."""
    return path.is_dir() and (path.suffix.lower() == ".zarr" or has_zarr_metadata(path))


def has_zarr_metadata(path: Path) -> bool:
    """Whether a folder is a Zarr store by what is in it, whatever its name."""
    return any((path / mark).is_file() for mark in _ZARR_MARKS)


def is_image(entry: "os.DirEntry[str]", suffix: str = "") -> bool:
    """Whether an entry of a folder is meant to be an image by its name; `suffix` is one more to take.

    Links that lead nowhere and folders with such a name count too: opening them says what is wrong.
    """
    if entry.name.startswith("."):
        return False
    own = os.path.splitext(entry.name)[1].lower()
    if own in _LISTED_SUFFIXES or is_zarr(Path(entry)):
        return True
    return bool(own) and own == suffix and not os.path.isdir(entry)  # the entry's own fails at link loops


def natural_key(path: Path) -> tuple[list[str | int], str]:
    """Sort z2 before z10.

    Examples
    --------
    >>> [p.name for p in sorted(map(Path, ["z10.tif", "z2.tif"]), key=natural_key)]
    ['z2.tif', 'z10.tif']
    """
    parts = re.split(r"(\d+)", str(path).casefold())  # numbers at the odd places only, so types never mix
    return [int(part) if i % 2 else part for i, part in enumerate(parts)], str(path)
