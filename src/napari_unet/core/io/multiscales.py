"""OME-NGFF metadata of a Zarr group, as far as they can be used."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from napari_unet.core.io.values import Values, is_size

if TYPE_CHECKING:
    import zarr


def ome_metadata(group: "zarr.Group | zarr.Array[Any]") -> Mapping[str, Any]:
    """Return OME's metadata, {} where there are none: from 0.5 on they have a name of their own."""
    attributes: dict[str, Any] = dict(group.attrs)
    ome = attributes.get("ome", attributes)
    return ome if isinstance(ome, Mapping) else {}


def finest(ome: Mapping[str, Any]) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
    """Return the first multiscale image of OME's metadata and its finest level, which has a path.

    Raises
    ------
    ValueError
        Where the metadata name no array.
    """
    match ome.get("multiscales"):
        case [{"datasets": [{"path": str()} as dataset, *_]} as multiscale, *_]:
            return multiscale, dataset
    raise ValueError("its multiscales name no array")


def transformations(
    holder: Mapping[str, Any], kind: str, n_axes: int, values: Values
) -> list[Sequence[float]]:
    """Return the scales or translations of a level or of a whole image, a number for each axis."""
    steps = values.sequence(holder, "coordinateTransformations")
    found = [step for step in steps if isinstance(step, Mapping) and step.get("type") == kind]
    read = values.sizes if kind == "scale" else values.numbers
    return [read(step, kind, n_axes) for step in found]


def pixel_shifts(multiscale: Mapping[str, Any], n_axes: int) -> list[float]:
    """Return where the first pixel of an image lies, in pixels of the finest level."""
    values, scales, starts = Values(""), [1.0] * n_axes, [0.0] * n_axes
    levels = values.sequence(multiscale, "datasets")
    for holder in (*levels[:1], multiscale):  # what holds for one level comes before that for all
        for step in values.sequence(holder, "coordinateTransformations"):
            factors = values.sizes(step, "scale", n_axes) or [1.0] * n_axes
            offsets = values.numbers(step, "translation", n_axes) or [0.0] * n_axes
            scales = [scale * factor for scale, factor in zip(scales, factors, strict=True)]
            starts = [s * f + o for s, f, o in zip(starts, factors, offsets, strict=True)]
    shifts = [start / scale if is_size(scale) else 0.0 for start, scale in zip(starts, scales, strict=True)]
    return [shift if abs(shift) < float("inf") else 0.0 for shift in shifts]
