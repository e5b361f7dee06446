"""Labels inside an OME-Zarr image: where they lie, how they are stored, and the list that names them."""

import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from napari_unet.core.io.damage import readable
from napari_unet.core.io.lock import locked
from napari_unet.core.io.multiscales import finest, ome_metadata, pixel_shifts
from napari_unet.core.io.names import has_zarr_metadata
from napari_unet.core.io.values import Values

if TYPE_CHECKING:
    import zarr

FOLDER = "labels"


def labels_path(image_store: Path, name: str) -> Path:
    """Return where labels lie inside an OME-Zarr image.

    Parameters
    ----------
    image_store
        Folder of the image: the store, or a position in it.
    name
        Of the labels.

    Returns
    -------
    Path
        `image_store/labels/name`, which need not exist.

    Raises
    ------
    ValueError
        Where the store is no OME-Zarr image, or the name would leave it or hide.

    Examples
    --------
    >>> import tempfile
    >>> from napari_unet.core.io import create_output
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     image = Path(folder) / "cells.ome.zarr"
    ...     with create_output(image, (8, 8), "uint8", axes="YX", spacing=(1, 1)):
    ...         pass
    ...     labels_path(image, "nuclei").relative_to(image).parts
    ('labels', 'nuclei')
    """
    _open_image(image_store)
    if not name or name.startswith(".") or name == "zarr.json" or set(name) & set("/\\:"):
        raise ValueError(f"{name!r} cannot be a name of labels; use one without slashes or a dot in front")
    path = image_store / FOLDER / name
    if not path.resolve().is_relative_to(image_store.resolve()):
        raise ValueError(f"{path} leads out of {image_store.name}; choose another name for the labels")
    return path


def is_labels_path(path: Path) -> bool:
    """Whether a path is that of labels inside an image, as `labels_path` returns it."""
    return path.parent.name == FOLDER and has_zarr_metadata(path.parent.parent)


@dataclass(frozen=True)
class StoreFormat:
    """How labels are stored: Zarr format, separator in names of chunks, pixels by which axes are shifted."""

    zarr_format: Literal[2, 3] = 3
    separator: str = "/"
    shifts: Mapping[str, float] = field(default_factory=dict)


def store_format(image_store: Path | None) -> StoreFormat:
    """Return how labels are stored so that they suit their image and lie on it; without one, the newest."""
    if image_store is None:
        return StoreFormat()
    group, ome = _open_image(image_store)
    with readable(image_store):
        multiscale, dataset = finest(ome)
        array = group[dataset["path"]]
        separator = getattr(array.metadata, "dimension_separator", "/")
        return StoreFormat(group.metadata.zarr_format, separator, _named_shifts(multiscale))


def _named_shifts(multiscale: Mapping[str, Any]) -> dict[str, float]:
    """Return where the first pixel of an image lies, in its pixels, by the names of its axes."""
    match multiscale.get("axes"):
        case [*axes]:
            names = [str(axis["name"]).upper() for axis in axes if isinstance(axis, dict) and "name" in axis]
            return dict(zip(names, pixel_shifts(multiscale, len(names)), strict=True))
    return {}


def register_labels(image_store: Path, name: str) -> None:
    """Add labels to the list that the image's viewers read; those that are there stay.

    Parameters
    ----------
    image_store
        As of `labels_path`.
    name
        Of labels that are complete.

    Raises
    ------
    ValueError
        Where the store is no OME-Zarr image.
    """
    import zarr

    image, _ = _open_image(image_store)
    zarr_format = image.metadata.zarr_format
    with locked(image_store):  # another run may add to the same list
        group = zarr.open_group(str(image_store / FOLDER), mode="a", zarr_format=zarr_format)
        listed = ome_metadata(group)
        names = [str(each) for each in Values("").sequence(listed, "labels")]
        if name not in names:
            changed = {**listed, "labels": [*names, name]}
            group.attrs.update({"ome": {"version": "0.5", **changed}} if zarr_format > 2 else changed)
        _consolidate_again(image_store)


def _consolidate_again(image_store: Path) -> None:
    """Where one file repeats the metadata of a whole store, readers look nowhere else."""
    import zarr

    image = zarr.open_group(str(image_store), mode="r")
    if image.metadata.consolidated_metadata is None:
        return
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that not all formats define it: this store has it already
        zarr.consolidate_metadata(str(image_store), zarr_format=image.metadata.zarr_format)


def _open_image(store: Path) -> tuple["zarr.Group", Mapping[str, Any]]:
    import zarr

    ome: Mapping[str, Any] = {}
    if has_zarr_metadata(store):
        with readable(store):
            group = zarr.open_group(str(store), mode="r", use_consolidated=False)
            ome = ome_metadata(group)
    if not ome.get("multiscales"):
        raise ValueError(f"{store} is no OME-Zarr image; give one, or one of its positions")
    return group, ome
