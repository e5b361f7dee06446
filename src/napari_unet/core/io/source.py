"""Where an image comes from, in a few words that another process can open again."""

import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from napari_unet.core.io.names import TIFF_SUFFIXES, split_member

if TYPE_CHECKING:
    from napari_unet.core.io.image import Image

LABELS = "labels"
_GROUP = (".zattrs", ".zgroup", ".zmetadata")


@dataclass(frozen=True)
class Source:
    """Where an image comes from, so that another process can open the same.

    Parameters
    ----------
    paths
        Absolute; several are the planes of one stack. Of HDF5 with the dataset: "…/file.h5:/dataset".
    stack
        Whether these are planes of one stack.
    axes, spacing, channels, position
        As given to `open_image`; the channels are numbers in the file.

    Examples
    --------
    >>> import tempfile, tifffile
    >>> import numpy as np
    >>> folder = tempfile.TemporaryDirectory()
    >>> tifffile.imwrite(f"{folder.name}/cells.tif", np.zeros((64, 64), np.uint8))
    >>> source = Source((f"{folder.name}/cells.tif",), spacing=(0.5, 0.5))
    >>> source.open().spacing, len(source.fingerprint())
    ((0.5, 0.5), 64)
    >>> folder.cleanup()
    """

    paths: tuple[str, ...]
    stack: bool = False
    axes: str | None = None
    spacing: tuple[float, ...] | None = None
    channels: tuple[int | str, ...] | None = None
    position: int | None = None

    def open(self) -> "Image":
        """Open the image again.

        Raises
        ------
        ValueError, OSError
            As `open_image` does, where the files have changed or gone.
        """
        from napari_unet.core.io.opening import open_image, open_stack  # these make sources

        if self.stack:
            paths = [Path(path) for path in self.paths]
            return open_stack(paths, axes=self.axes, spacing=self.spacing, channels=self.channels)
        return open_image(
            self.paths[0],
            axes=self.axes,
            spacing=self.spacing,
            channels=self.channels,
            position=self.position,
        )

    def fingerprint(self) -> str:
        """Return a SHA-256 that moves when any file is replaced, or anything else than its folder differs.

        It covers name, size and time of change of every file, and the options. Of a Zarr store these are the
        arrays; what their groups say of axes and voxel size is in the image.

        Raises
        ------
        OSError
            Where a file has gone.
        """
        digest = hashlib.sha256()
        options = (self.stack, self.axes, self.spacing, self.channels, self.position)
        digest.update(repr(options).encode())
        for text in self.paths:
            path, member = split_member(text)
            digest.update(f"\n{path.name}:{member}".encode())
            for name, file in _files(path):
                facts = file.stat()
                digest.update(f"\n{name} {facts.st_size} {facts.st_mtime_ns}".encode())
        return digest.hexdigest()


def _files(path: Path) -> Iterator[tuple[str, Path]]:
    """Every file at `path`, with its name relative to it, sorted by folder; no labels in a store."""
    if not path.is_dir():
        yield from ((file.name, file) for file in _companions(path))
        return
    for folder, folders, names in os.walk(path):
        # results come and go
        folders[:] = sorted(name for name in folders if name != LABELS and not name.endswith(".unfinished"))
        for file in (Path(folder, name) for name in sorted(names)):
            if not _is_of_group(file):
                yield file.relative_to(path).as_posix(), file


def _is_of_group(file: Path) -> bool:
    """Whether a file of a store is about a group: it may be written again when labels are added."""
    if file.name != "zarr.json":
        return file.name in _GROUP
    with suppress(ValueError, RecursionError):
        match json.loads(file.read_bytes()):
            case {"node_type": "group"}:
                return True
    return False


def _companions(path: Path) -> list[Path]:
    """Return the file and the other files of an OME-TIFF of several."""
    if path.suffix.lower() not in TIFF_SUFFIXES:
        return [path]
    from napari_unet.core.io.tiff import companions  # an image of which has a source

    return companions(path)
