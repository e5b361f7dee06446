"""Where results go: into a layer whose axes may be in any order, or onto one plane of it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from napari_unet.core.io.layout import Sink
from napari_unet.core.tiling import Region


@dataclass(frozen=True, eq=False)
class PlaneSink:
    """Keeps one plane of the result of a part of an image.

    Parameters
    ----------
    array
        The plane, with the axes of the result: one pixel long along T and Z.
    axes
        Those of the result.
    z
        Which plane of the part it is.
    """

    array: NDArray[Any]
    axes: str
    z: int

    def write(self, region: Region, array: NDArray[Any]) -> None:
        """Store what lies on the plane, and drop the rest."""
        if "Z" not in self.axes:
            self.array[region] = array
            return
        axis = self.axes.index("Z")
        z = self.z - region[axis].start
        if 0 <= z < array.shape[axis]:
            place = (*region[:axis], slice(0, 1), *region[axis + 1 :])
            self.array[place] = array.take([z], axis=axis)


@dataclass(eq=False)
class Numbers:
    """The numbers that objects of a result have so far."""

    highest: int = 0


@dataclass(frozen=True, eq=False)
class NumberedSink:
    """Gives objects numbers above those that the result had before: equal numbers would be one object."""

    sink: Sink
    numbers: Numbers
    first: int

    def write(self, region: Region, array: NDArray[Any]) -> None:
        """Store renumbered objects."""
        objects = array != 0
        array = array.copy()
        array[objects] += self.first
        self.numbers.highest = max(self.numbers.highest, int(array.max(initial=0)))
        self.sink.write(region, array)


def as_result(array: NDArray[Any], axes: str, result_axes: Sequence[str]) -> NDArray[Any]:
    """Return a view of a layer's array with the axes of a result; others have to be of size 1.

    Examples
    --------
    >>> import numpy as np
    >>> as_result(np.zeros((5, 1, 3, 8, 9)), "ZcTYX", "TZYX").shape
    (3, 5, 8, 9)
    """
    kept = [axis for axis in axes if axis in result_axes]
    view = array[tuple(slice(None) if axis in result_axes else 0 for axis in axes)]
    return view.transpose([kept.index(axis) for axis in result_axes])


def in_layer(region: Region, axes: str, result_axes: str) -> Region:
    """Return where a region of a result lies in the layer.

    Examples
    --------
    >>> in_layer((slice(4, 5), slice(0, 8), slice(2, 9)), "cZYX", "ZYX")
    (slice(0, 1, None), slice(4, 5, None), slice(0, 8, None), slice(2, 9, None))
    """
    places = dict(zip(result_axes, region, strict=True))
    return tuple(places.get(axis, slice(0, 1)) for axis in axes)


def as_layer(array: Any, result_axes: str, axes: str) -> Any:
    """Return the array of a result, lazy or not, with the axes of a layer; those it lacks are of size 1.

    Examples
    --------
    >>> import numpy as np
    >>> as_layer(np.zeros((3, 5, 8, 9)), "TZYX", "ZcTYX").shape
    (5, 1, 3, 8, 9)
    """
    kept = [result_axes.index(axis) for axis in axes if axis in result_axes]
    return array.transpose(kept)[tuple(slice(None) if axis in result_axes else None for axis in axes)]
