"""Which files a name on the command line stands for, and which belong together."""

import glob
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from fnmatch import fnmatch
from pathlib import Path

from napari_unet.core.io.names import (
    composed,
    image_stem,
    is_broken_link,
    is_image,
    is_zarr,
    natural_key,
    split_member,
)

_SHOWN = 10


def find_images(source: str | Path) -> list[Path]:
    """Return the images that a file, a folder or a glob stands for.

    Parameters
    ----------
    source
        A file (a Zarr store counts as one), "file.h5:/dataset", a folder (its images, not those of
        subfolders), or a glob, in which ** stands for folders within folders but follows no links. Hidden
        files are skipped, and what is no image by its suffix unless the glob names that suffix. Broken links
        and folders with such a suffix count: opening them says what is wrong.

    Returns
    -------
    list of Path
        Sorted naturally: z2 before z10.

    Raises
    ------
    FileNotFoundError
        Where nothing has that name.
    ValueError
        Where a folder or glob holds no image.
    """
    path = Path(source).expanduser()
    file, member = split_member(path)
    if file.is_file() or is_zarr(path) or is_broken_link(file):
        return [path]
    if path.is_dir():
        found = [Path(entry) for entry in _entries(path) if is_image(entry)]
    elif glob.has_magic(str(path)):
        suffix = "" if glob.has_magic(file.suffix) else file.suffix.lower()
        found = [
            Path(f"{entry.path}:{member}" if member else entry.path)
            for entry in _matching(Path(file.anchor), file.parts[bool(file.anchor) :])
            if is_image(entry, suffix)
        ]
    else:
        raise FileNotFoundError(f"{file} does not exist; check the path")
    if not found:
        raise ValueError(f"{source} holds no image; give TIFF, PNG, JPEG, NumPy, HDF5 or Zarr files")
    return sorted(set(found), key=natural_key)


def _matching(folder: Path, parts: Sequence[str]) -> Iterator["os.DirEntry[str]"]:
    """Yield what matches parts of a pattern below a folder; nothing hidden, unfinished or inside stores."""
    first, rest = parts[0], parts[1:]
    if first == "**":
        yield from _matching(folder, rest or ["*"])
        for entry in _entries(folder):
            is_whole = not (is_zarr(Path(entry)) or entry.name.endswith(".unfinished"))
            if is_whole and entry.is_dir(follow_symlinks=False):
                yield from _matching(Path(entry), parts)
    elif rest and not glob.has_magic(first):
        yield from _matching(folder / first, rest)
    else:
        for entry in _entries(folder):
            if not fnmatch(composed(entry.name), composed(first)):
                continue
            if rest:
                yield from _matching(Path(entry), rest)
            else:
                yield entry


def _entries(folder: Path) -> list["os.DirEntry[str]"]:
    try:
        with os.scandir(folder) as entries:
            return [entry for entry in entries if not entry.name.startswith(".")]
    except OSError:  # no folder, one that may not be read, or links in a circle: nothing matches there
        return []


def pair_files(
    images: Sequence[Path], labels: Sequence[Path], *, words: tuple[str, str] = ("image", "labels")
) -> list[tuple[Path, Path]]:
    """Pair images with labels: one with one whatever their names, otherwise by stem.

    Parameters
    ----------
    images, labels
        As `find_images` gives them.
    words
        What an error calls one and the other.

    Returns
    -------
    list of (image, labels)
        In the order of the images.

    Raises
    ------
    ValueError
        Where a stem occurs twice or something stays unpaired; it lists what.

    Examples
    --------
    >>> pairs = pair_files([Path("raw/a.tif"), Path("raw/b.ome.tif")], [Path("b.png"), Path("a.tif")])
    >>> [(image.name, labels.name) for image, labels in pairs]
    [('a.tif', 'a.tif'), ('b.ome.tif', 'b.png')]
    """
    if len(images) == len(labels) == 1:
        return [(images[0], labels[0])]
    image_of, labels_of = _by_stem(images), _by_stem(labels)
    without_labels = [str(path) for stem, path in image_of.items() if stem not in labels_of]
    without_image = [str(path) for stem, path in labels_of.items() if stem not in image_of]
    if without_labels or without_image:
        raise ValueError(
            f"{words[0]} and {words[1]} pair by name: {listed(without_labels)} without {words[1]}, "
            f"{listed(without_image)} without {words[0]}; rename or remove these"
        )
    return [(path, labels_of[stem]) for stem, path in image_of.items()]


def _by_stem(paths: Sequence[Path]) -> dict[str, Path]:
    counts = Counter(map(image_stem, paths))
    twice = [str(path) for path in paths if counts[image_stem(path)] > 1]
    if twice:
        raise ValueError(f"these have the same name: {listed(twice)}; rename or remove all but one")
    return {image_stem(path): path for path in paths}


def listed(names: Sequence[str]) -> str:
    """Name the first of many.

    >>> listed(["a.tif", "b.tif"]), listed([])
    ('a.tif, b.tif', 'none')
    """
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return (", ".join(names[:_SHOWN]) or "none") + more
