"""What a result says about its making."""

import json
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from napari_unet.core.io.damage import readable
from napari_unet.core.io.names import TIFF_SUFFIXES, is_zarr
from napari_unet.core.io.ngff import PROVENANCE, STATED_AXES
from napari_unet.core.io.tiff import read_info


def read_provenance(path: Path) -> dict[str, Any]:
    """Return which model, version and options have made a result.

    Parameters
    ----------
    path
        A TIFF, an OME-TIFF or an OME-Zarr.

    Returns
    -------
    dict
        Empty where the file does not say, because it is none of ours.

    Raises
    ------
    ValueError
        Where the file is damaged.
    """
    if is_zarr(path):
        import zarr

        with readable(path):
            attributes: dict[str, Any] = dict(zarr.open_group(str(path), mode="r").attrs)
        found = attributes.get(PROVENANCE)
        return found if isinstance(found, dict) else {}
    if path.suffix.lower() not in TIFF_SUFFIXES:
        return {}
    return _of_ome_tiff(path) or _of_text(read_info(path))


def _of_ome_tiff(path: Path) -> dict[str, Any]:
    import tifffile

    with readable(path), tifffile.TiffFile(path) as tif:
        xml = tif.ome_metadata
        if not xml or PROVENANCE not in xml:
            return {}
        entries = f".//{{*}}MapAnnotation[@Namespace='{PROVENANCE}']//{{*}}M"
        found = ElementTree.fromstring(xml).iterfind(entries)
        values = {str(entry.get("K")): entry.text or "" for entry in found}
        values.pop(STATED_AXES, None)
        return {key: json.loads(value) if value.startswith("{") else value for key, value in values.items()}


def _of_text(text: str) -> dict[str, Any]:
    try:
        found = json.loads(text)[PROVENANCE]
    except (ValueError, KeyError, TypeError):  # somebody else's text
        return {}
    return found if isinstance(found, dict) else {}
