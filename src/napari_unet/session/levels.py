"""What an OME-Zarr has beside the finest level of an image: coarser ones, its place, labels, provenance."""

from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from napari_unet.core.io import Image
from napari_unet.core.io.damage import Unreadable, readable
from napari_unet.core.io.multiscales import finest, ome_metadata, pixel_shifts
from napari_unet.core.io.names import has_zarr_metadata
from napari_unet.core.io.ngff import PROVENANCE
from napari_unet.core.io.values import Values

if TYPE_CHECKING:
    import zarr

    from napari_unet.core.io.zarr import ZarrPixels


@dataclass(frozen=True, eq=False)
class Levels:
    """The finest array and the coarser ones, or nothing where the image is no OME-Zarr.

    `shifts` are pixels along each axis by which the image lies off the origin; `labels` are those inside it.
    """

    arrays: "tuple[ZarrPixels, ...]" = ()
    shifts: Mapping[str, float] = field(default_factory=dict)
    labels: tuple[Path, ...] = ()
    is_labels: bool = False
    provenance: Mapping[str, Any] = field(default_factory=dict)


def find_levels(image: Image) -> Levels:
    """Look what else the store of an image holds; ValueError where its metadata lead out of it."""
    array = getattr(image.data, "array", None)
    if array is None:  # another format
        return Levels()
    with readable(image.data.path):  # type: ignore[attr-defined]  # of ZarrPixels
        return _levels_of(image, array)


def _levels_of(image: Image, array: "zarr.Array[Any]") -> Levels:
    from napari_unet.core.io.zarr import ZarrPixels

    store: Path = image.data.path  # type: ignore[attr-defined]  # of ZarrPixels
    group, multiscale = _group_of(store, PurePosixPath(array.path))
    if group is None:
        return Levels()
    values = Values(store.name)
    named = [values.text(dataset, "path") for dataset in values.sequence(multiscale, "datasets")]
    paths = [_inside(store / group.path, name) for name in named if name]
    arrays = [group[path] for path in paths if path in group]  # coarser ones may have been left out
    ome = ome_metadata(group)
    provenance = values.mapping(dict(group.attrs), PROVENANCE)
    return Levels(
        tuple(ZarrPixels(store, each) for each in arrays),  # type: ignore[arg-type]
        dict(zip(image.axes, pixel_shifts(multiscale, len(image.axes)), strict=True)),
        tuple(_labels(store / group.path, group)),
        "image-label" in ome and image.dtype.kind in "ui",
        provenance,
    )


def _group_of(store: Path, array: PurePosixPath) -> "tuple[zarr.Group | None, Mapping[str, Any]]":
    """Find the group whose finest level an array is."""
    import zarr

    for parent in array.parents if array.name else ():
        group = zarr.open_group(str(store), path=str(parent).removeprefix("."), mode="r")
        for multiscale in Values("").sequence(ome_metadata(group), "multiscales"):
            with suppress(ValueError):
                _, dataset = finest({"multiscales": [multiscale]})
                if PurePosixPath(dataset["path"]) == array.relative_to(parent):
                    return group, multiscale
    return None, {}


def _labels(folder: Path, group: "zarr.Group") -> Iterator[Path]:
    """Paths of the labels that an image lists; what has gone is left out."""
    if not has_zarr_metadata(folder / "labels"):
        return
    listed = Values("").sequence(ome_metadata(group["labels"]), "labels")
    paths = (folder / "labels" / _inside(folder / "labels", str(name)) for name in listed)
    yield from (path for path in paths if has_zarr_metadata(path))


def _inside(folder: Path, name: str) -> str:
    """Return what metadata name, which has to lie inside the store."""
    if not (folder / name).resolve().is_relative_to(folder.resolve()):
        raise Unreadable(
            f"{folder.name}: its metadata names {name!r}, outside the store; open a part by itself"
        )
    return name
