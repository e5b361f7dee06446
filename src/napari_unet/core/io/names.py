"""Which paths are images, and what they are called."""

import re
from pathlib import Path

TIFF_SUFFIXES = frozenset({".tif", ".tiff", ".lsm"})
RASTER_SUFFIXES = frozenset({".png", ".jpg", ".jpeg"})
IMAGE_SUFFIXES = TIFF_SUFFIXES | RASTER_SUFFIXES | {".zarr"}
_ZARR_MARKS = ("zarr.json", ".zarray", ".zgroup", ".zattrs")


def image_stem(path: str | Path) -> str:
    """Return the name without suffix, and without the `.ome` before it.

    Examples
    --------
    >>> image_stem("run/a.ome.tif"), image_stem("b.v2.png"), image_stem("c.ome.zarr")
    ('a', 'b.v2', 'c')
    """
    stem = Path(path).stem
    return stem[:-4] if stem.lower().endswith(".ome") else stem


def is_zarr(path: Path) -> bool:
    """Whether a folder is a Zarr store: by its suffix, or by the metadata in it."""
    return path.is_dir() and (path.suffix.lower() == ".zarr" or has_zarr_metadata(path))


def has_zarr_metadata(path: Path) -> bool:
    """Whether a folder is a Zarr store by what is in it, whatever its name."""
    return any((path / mark).is_file() for mark in _ZARR_MARKS)


def is_image(path: Path) -> bool:
    """Whether a path is something that `open_image` opens, as far as its name says."""
    if path.name.startswith("."):
        return False
    return is_zarr(path) or (path.is_file() and path.suffix.lower() in TIFF_SUFFIXES | RASTER_SUFFIXES)


def natural_key(path: Path) -> tuple[list[str | int], str]:
    """Sort z2 before z10.

    Examples
    --------
    >>> [p.name for p in sorted(map(Path, ["z10.tif", "z2.tif"]), key=natural_key)]
    ['z2.tif', 'z10.tif']
    """
    parts = re.split(r"(\d+)", str(path).casefold())  # numbers at the odd places only, so types never mix
    return [int(part) if i % 2 else part for i, part in enumerate(parts)], str(path)
