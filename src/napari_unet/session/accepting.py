"""A click on a predicted object: it becomes annotation, or background."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from napari_unet.session.picking import BACKGROUND, FIRST_OBJECT, Edit, Part, Plane, Spot, object_at


def accept(annotation: Plane, predicted: Plane, spot: Spot, free: int) -> Edit:
    """Paint the predicted object at a place where nothing is painted; what is of it already goes on."""
    found = _predicted_at(predicted, spot)
    taken = unpainted(annotation, found)
    number = _number(annotation, found, free)
    how = "accepted as object" if number == free else "added to object"
    n_pixels = np.count_nonzero(taken.mask)
    return Edit(((taken, number),), f"{n_pixels} pixels are {how} {number}")


def reject(annotation: Plane, predicted: Plane, spot: Spot) -> Edit:
    """Paint background over the object that is painted at a place, or else where one is predicted."""
    is_painted = annotation[spot] >= FIRST_OBJECT
    taken = (
        object_at(annotation, spot) if is_painted else unpainted(annotation, _predicted_at(predicted, spot))
    )
    return Edit(((taken, BACKGROUND),), f"rejected: {np.count_nonzero(taken.mask)} pixels are background")


def unpainted(annotation: Plane, found: Part) -> Part:
    """Return the part of a predicted object where nothing is painted; ValueError where there is none."""
    taken = found.without(annotation[found.box] != 0)
    if not taken.mask.any():
        raise ValueError("all of this object is painted already: undo that, or paint over it")
    return taken


def continued(slices: Sequence[Plane], predicted: Plane, spot: Spot) -> int | None:
    """Return the object painted on slices above and below that lies over most of the predicted one."""
    if predicted[spot] == 0:
        return None
    found = object_at(predicted, spot)
    there = np.concatenate([plane[found.box][found.mask].ravel() for plane in slices] or [np.zeros(0, int)])
    numbers, counts = np.unique(there[there >= FIRST_OBJECT], return_counts=True)
    is_most = len(counts) > 0 and 2 * counts.max() > np.count_nonzero(found.mask)
    return int(numbers[counts.argmax()]) if is_most else None


def _predicted_at(predicted: Plane, spot: Spot) -> Part:
    if predicted[spot] == 0:
        raise ValueError("no object is predicted here: click on one, or paint it")
    return object_at(predicted, spot)


def _number(annotation: Plane, found: Part, free: int) -> int:
    """Return the number of what is painted of it already, if most of that lies in it; else a free one."""
    now = annotation[found.box]
    there = [
        number
        for number in np.unique(now[found.mask & (now >= FIRST_OBJECT)]).tolist()
        if 2 * np.count_nonzero(found.mask & (now == number)) > _size(annotation, found, now == number)
    ]
    if len(there) > 1:
        raise ValueError(f"objects {there[0]} and {there[1]} are painted in it: split it by a stroke first")
    return int(there[0]) if there else free


def _size(annotation: Plane, found: Part, is_it: NDArray[np.bool_]) -> int:
    """Count the pixels of an object that may reach beyond the box."""
    row, column = np.argwhere(is_it & found.mask)[0]
    spot = int(row) + found.box[0].start, int(column) + found.box[1].start
    return int(np.count_nonzero(object_at(annotation, spot).mask))
