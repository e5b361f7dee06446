"""A table of objects as features of their layer: the rows of the place that is shown, and one in words."""

from collections.abc import Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Labels
from numpy.typing import NDArray

from napari_unet.core.io.axes import UNKNOWN_UNIT

if TYPE_CHECKING:
    from napari_unet.core.measuring import Table

Place = tuple[int, int]
"""Time point and plane."""

_ROOM = 4
"""As many rows for each object, at most, so that the number of a row can be the label of its object."""
_FEW = 1000
_KEYS = ("label", "timepoint", "plane")
_MEAN = "intensity_mean"


def n_undone(layer: Labels) -> int:
    """Return how many steps can be done again: napari tells it nowhere else when something is undone."""
    return len(layer._redo_history)


class Measured:
    """What was measured of a layer; as features of the layer it can be shown for one place at a time.

    Features have one row for each value of `index`, but the table has as many for an object as there are time
    points, or planes that were measured by themselves.
    """

    def __init__(self, layer: Labels, axes: str, table: "Table") -> None:
        self.layer, self.axes, self.table = layer, axes, table
        self.data, self.n_undone = layer.data, n_undone(layer)
        self.shown: Place | None = None
        self._labels = table["label"]

    @property
    def is_so_still(self) -> bool:
        """Whether the layer has the same array, and nothing was undone in it; strokes tell by themselves."""
        return self.layer.data is self.data and n_undone(self.layer) == self.n_undone

    @cached_property
    def count(self) -> str:
        """Say how many there are."""
        n_rows, n_times = len(self._labels), len(np.unique(self.table["timepoint"]))
        times = f" at {n_times:,} time points" if n_times > 1 else ""
        planes = ", each slice by itself" if len(np.unique(self.table.get("plane", ()))) > 1 else ""
        return f"{n_rows:,} object{'s' * (n_rows != 1)}{times}{planes}"

    @property
    def is_flat(self) -> bool:
        """Whether volumes are measured of objects that lie in one plane each."""
        starts, stops = (self.table.get(f"bbox_z_{end}", np.zeros(1)) for end in ("start", "stop"))
        return bool((stops == starts + 1).all())

    def place(self, point: tuple[float, ...]) -> Place:
        """Return the time point and plane of a point of the viewer."""
        position = np.round(self.layer.world_to_data(point)).astype(int)
        at = dict(zip(self.axes, position.tolist(), strict=True))
        return at.get("T", 0), at.get("Z", 0)

    def show(self, point: tuple[float, ...]) -> None:
        """Make the rows of where the viewer is the features of the layer."""
        place = self.place(point)
        if self.shown is not None and not self.rows_differ(self.shown, place):
            return
        self.shown = place
        rows = self.rows(place)
        columns = {name: column[rows] for name, column in self.table.items() if name not in _KEYS}
        self.layer.features = by_label(self._labels[rows], columns)

    def rows_differ(self, one: Place, other: Place) -> bool:
        """Tell whether there are other rows for another place."""
        return one[0] != other[0] or ("plane" in self.table and one[1] != other[1])

    def rows(self, place: Place) -> NDArray[np.intp]:
        """Return which rows of the table are of a place."""
        here = self.table["timepoint"] == place[0]
        if "plane" in self.table:
            here &= self.table["plane"] == place[1]
        return np.flatnonzero(here)

    def words(self, label: int) -> str:
        """Say what was measured of an object, where it is shown."""
        rows = self.rows(self.shown or (0, 0))
        found = rows[self._labels[rows] == label]
        if not len(found):
            return f"object {label} was not measured here: it is not in the table"
        row = {name: column[found[0]] for name, column in self.table.items()}
        return ", ".join(filter(None, (f"object {label}: {_size(row)}", _means(row))))


def by_label(labels: NDArray[Any], columns: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    """Return features whose row number is the label: napari's table takes the one for the other.

    Background and labels that do not occur have empty rows. Where these would be too many there is a row for
    each object, which the layer finds by its `index`, and only napari's table does not follow a click.
    """
    n_rows = int(labels.max(initial=0)) + 1
    if n_rows > max(_FEW, _ROOM * len(labels)):
        return {"index": labels, **columns}
    features: dict[str, NDArray[Any]] = {"index": np.arange(n_rows)}
    for name, column in columns.items():
        is_number = column.dtype.kind in "uif"
        features[name] = np.full(n_rows, np.nan, np.float64 if is_number else object)
        features[name][labels] = column
    return features


def _size(row: Mapping[str, Any]) -> str:
    unit, number = str(row["unit"]), {"area": "²", "volume": "³"}
    name = next(each for each in number if each in row)
    if unit == UNKNOWN_UNIT:
        return f"{name} {row[name]:,.6g} {'pixels' if name == 'area' else 'voxels'}"
    return f"{name} {row[name]:,.4g} {unit}{number[name]}"


def _means(row: Mapping[str, Any]) -> str:
    means = {key.removeprefix(_MEAN)[1:]: value for key, value in row.items() if key.startswith(_MEAN)}
    each = ", ".join(f"{name} {value:.4g}".strip() for name, value in means.items())
    return f"mean intensity {each}" if means else ""
