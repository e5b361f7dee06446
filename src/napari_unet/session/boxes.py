"""Bounding boxes of measured objects as a layer of rectangles."""

from collections.abc import Generator
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Labels, Shapes
from numpy.typing import NDArray

from napari_unet.session.desk import OURS
from napari_unet.session.measured import Measured, Place

if TYPE_CHECKING:
    from napari_unet.core.measuring import Table

MOST = 5000
"""Rectangles in one layer: napari takes milliseconds for each."""


def make_boxes(measured: Measured, place: Place) -> Generator[None, None, Shapes]:
    """Draw the boxes of all planes, or where these are too many, of the one that is shown."""
    table, layer = measured.table, measured.layer
    rows, planes = _everywhere(table)
    if len(rows) > MOST or not len(rows):
        rows, planes = _at(table, place)
    if len(rows) > MOST:
        raise ValueError(
            f"there are {len(rows):,} objects in this slice and napari draws {MOST:,} boxes at most: "
            "save the table, which has them all"
        )
    look = _look(layer, table, rows)
    yield
    return Shapes(_corners(table, measured.axes, rows, planes), shape_type="rectangle", **look)


def _everywhere(table: "Table") -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Return a row of the table, and a plane, for each box; nothing where they are too many."""
    first, n_planes = _planes(table)
    if n_planes.sum() > MOST:
        return np.empty(0, np.intp), np.empty(0, np.intp)
    rows = np.repeat(np.arange(len(first)), n_planes)
    within = np.arange(len(rows)) - np.repeat(np.cumsum(n_planes) - n_planes, n_planes)
    return rows, first[rows] + within


def _at(table: "Table", place: Place) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Return the rows of objects whose boxes lie on a plane, and that plane for each."""
    t, z = place
    first, n_planes = _planes(table)
    has_planes = "plane" in table or "bbox_z_start" in table
    here = (first <= z) & (z < first + n_planes) if has_planes else np.ones(len(first), bool)
    rows = np.flatnonzero(here & (table["timepoint"] == t))
    return rows, np.full(len(rows), z)


def _planes(table: "Table") -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Return the first plane of each object, and on how many it is."""
    one = np.ones(len(table["label"]), np.intp)
    if "plane" in table:
        return table["plane"].astype(np.intp), one
    first = table.get("bbox_z_start", 0 * one).astype(np.intp)
    return first, table.get("bbox_z_stop", one).astype(np.intp) - first


def _corners(
    table: "Table", axes: str, rows: NDArray[np.intp], planes: NDArray[np.intp]
) -> NDArray[np.float64]:
    """Return the corners (n, 4, axes) of the boxes, around their outermost pixels."""
    (top, bottom), (left, right) = (
        [table[f"bbox_{axis}_{end}"][rows].astype(float) - 0.5 for end in ("start", "stop")] for axis in "yx"
    )
    places: dict[str, list[NDArray[Any]]] = {
        "T": [table["timepoint"][rows]] * 4,
        "C": [np.zeros(len(rows))] * 4,
        "Z": [planes] * 4,
        "Y": [top, top, bottom, bottom],
        "X": [left, right, right, left],
    }
    return np.stack([np.stack(places[axis], axis=1) for axis in axes], axis=-1)


def _look(layer: Labels, table: "Table", rows: NDArray[np.intp]) -> dict[str, Any]:
    """Return colours as those of the objects, features, and where the layer lies."""
    labels, size = table["label"][rows], "area" if "area" in table else "volume"
    return {
        "name": f"{layer.name} boxes",
        "edge_color": layer.colormap.map(labels),
        "face_color": "transparent",
        "features": {"label": labels, size: table[size][rows]},
        "metadata": {OURS: "boxes"},
        "scale": np.array(layer.scale),
        "translate": np.array(layer.translate),
        "rotate": np.array(layer.rotate),
        "shear": np.array(layer.shear),
        "affine": np.array(layer.affine.affine_matrix),
        "units": layer.units,
        "axis_labels": layer.axis_labels,
    }
