"""HDF5 datasets, lazily; the h5py library is imported only when a file is opened."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from napari_unet.core.io.attributes import attribute_axes, attribute_sizes
from napari_unet.core.io.axes import plain_axes
from napari_unet.core.io.damage import Unreadable, readable, shown
from napari_unet.core.io.decoding import check_piece
from napari_unet.core.io.image import Image, Region, make_image
from napari_unet.core.io.names import image_stem, split_member
from napari_unet.core.io.values import Values

if TYPE_CHECKING:
    import h5py

_LISTED = 10
_DEEPEST = 8  # virtual datasets made of virtual datasets; more go in circles
_LOCKED = ("unable to lock file", "already open for write")  # as the HDF5 library says it


@dataclass(frozen=True, eq=False)
class Hdf5Pixels:
    """A dataset, whose file is open for the time of a read only: any thread or process may read."""

    path: Path
    member: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    chunks: tuple[int, ...] | None  # None where it lies in one run

    def __getitem__(self, region: Region, /) -> NDArray[Any]:
        with _opened(self.path, place=f"{self.member}, {shown(region)}") as file:
            return np.asarray(_walk(file, self.member)[region])


def open_hdf5(path: Path, axes: str | None = None) -> Image:
    """Open a dataset of an HDF5 file without reading its pixels.

    Parameters
    ----------
    path
        "file.h5:/dataset"; "file.h5" takes its only or largest image.
    axes
        Names of the stored dimensions, where they are not those of `axistags` (ilastik) or of the labels of
        the dimensions, or else YX, ZYX, CZYX or TCZYX.

    Returns
    -------
    Image
        With voxel sizes from `element_size_um`, `resolution`, `voxel_size` or `spacing`, where one is there.

    Raises
    ------
    ValueError
        Where there is no such dataset, the choice is not clear, it lies in another file, or is damaged.
    """
    file_path, member = split_member(path)
    with _opened(file_path) as file:
        member = member or _only_image(file)
        dataset = _walk(file, member)
        labels = [dimension.label for dimension in dataset.dims]
        attributes = _attributes(dataset)
        values = Values(image_stem(file_path))
        letters = axes or attribute_axes(attributes, dataset.shape, labels, values)
        sizes, unit = attribute_sizes(attributes, letters.upper(), values)
        if dataset.chunks is not None:
            check_piece(file_path, dataset.chunks, dataset.dtype)
        pixels = Hdf5Pixels(file_path, member, dataset.shape, np.dtype(dataset.dtype), dataset.chunks)
    return make_image(pixels, letters, sizes, unit, (), image_stem(file_path), values.notes)


@contextmanager
def _opened(path: Path, place: str = "") -> Iterator["h5py.File"]:
    import h5py

    with readable(path, place=place), _unlocked(path), h5py.File(path, "r") as file:
        yield file


@contextmanager
def _unlocked(path: Path) -> Iterator[None]:
    """Tell a file that is whole but open elsewhere from one that is damaged."""
    try:
        yield
    except OSError as error:
        if not any(sign in str(error) for sign in _LOCKED):
            raise
        raise Unreadable(
            f"{path.name} is open for writing in another program; close it there (after a crash: h5clear -s)"
        ) from error


def _walk(file: "h5py.File", member: str) -> "h5py.Dataset":
    """Return a dataset, having followed no link and no source of a virtual dataset out of the file."""
    found = _dataset(file, member)
    level = {member: found}
    for _ in range(_DEEPEST):
        names = {name for at, dataset in level.items() for name in _sources(dataset, at)}
        if not names:
            return found
        level = {name: _dataset(file, name) for name in names}
        for source in level.values():
            if source.chunks is not None:
                check_piece(Path(file.filename), source.chunks, source.dtype)
    raise ValueError(f"{member!r} is made of virtual datasets in circles")


def _sources(dataset: "h5py.Dataset", member: str) -> set[str]:
    """Return which datasets of the same file a virtual dataset shows; ValueError where it needs others."""
    sources = dataset.virtual_sources() if dataset.is_virtual else []
    foreign = [name for name, *_ in dataset.external or ()]
    foreign += [source.file_name for source in sources if source.file_name != "."]
    if foreign:
        raise ValueError(f"{member!r} lies in another file, {foreign[0]!r}")
    names = {source.dset_name for source in sources}
    for name in names:
        if "%" in name:  # stands for many names, which only reading would tell
            raise ValueError(f"{member!r} shows numbered datasets, {name!r}")
    return names


def _dataset(node: "h5py.Group", member: str) -> "h5py.Dataset":
    import h5py

    found = _follow(node, member)
    if not isinstance(found, h5py.Dataset):
        raise _no_dataset(node, member)
    return found


def _follow(node: Any, member: str) -> Any:
    import h5py

    for part in filter(None, member.split("/")):
        link = node.get(part, getlink=True) if isinstance(node, h5py.Group) else None
        if link is None:
            raise _no_dataset(node, member)
        if isinstance(link, h5py.ExternalLink):
            raise ValueError(f"{member!r} lies in another file, {link.filename!r}")
        if isinstance(link, h5py.SoftLink):
            node = _follow(node.file if link.path.startswith("/") else node, link.path)
        else:
            node = node[part]
    return node


def _no_dataset(node: Any, member: str) -> Unreadable:
    name = Path(node.file.filename).name
    return Unreadable(f"{name} has no dataset {member!r}; choose among {_listed(_images(node.file))}")


def _only_image(file: "h5py.File") -> str:
    images, name = _images(file), Path(file.filename).name
    if not images:
        raise Unreadable(f"{name} holds no dataset that is an image; give another file")
    first, *others = sorted(images, key=lambda member: -images[member])
    if others and images[others[0]] == images[first]:
        raise Unreadable(f"{name} holds {_listed(images)}; choose one, as in {name}:{first}")
    return first


def _images(file: "h5py.File") -> dict[str, int]:
    """Datasets that can be images, and their number of pixels; links are not followed."""
    import h5py

    found: dict[str, int] = {}

    def look(name: str, node: Any) -> None:
        if isinstance(node, h5py.Dataset) and plain_axes(node.shape) and node.dtype.kind in "buif":
            found[f"/{name}"] = int(node.size)

    file.visititems(look)
    return {name: size for name, size in found.items() if size}


def _listed(images: Mapping[str, int]) -> str:
    more = f" and {len(images) - _LISTED} more" if len(images) > _LISTED else ""
    return (", ".join(list(images)[:_LISTED]) or "no image") + more


def _attributes(dataset: "h5py.Dataset") -> dict[str, Any]:
    """Attributes as text and numbers."""
    return {
        key: value.decode("utf-8", "replace") if isinstance(value, bytes) else value
        for key, value in dataset.attrs.items()
    }
