"""Predicted objects become annotation, one by a click or all of a slice; or background."""

from collections.abc import Container, Sequence

import numpy as np
from numpy.typing import NDArray
from skimage.measure import label

from napari_unet.core.linking import overlaps
from napari_unet.session.picking import (
    BACKGROUND,
    FIRST_OBJECT,
    Edit,
    Part,
    Plane,
    Spot,
    object_at,
    pieces_in,
)


def accept(annotation: Plane, predicted: Plane, spot: Spot, free: int, slices: Sequence[Plane] = ()) -> Edit:
    """Paint the predicted object at a place where nothing is painted; what is of it already goes on.

    In `slices`, those above and below, too: they are given where objects go through them.
    """
    found = _predicted_at(predicted, spot)
    taken = unpainted(annotation, found)
    there = numbers_of(annotation, painted_in(annotation, found))
    refuse_several(there)
    number = there[0] if there else continued(annotation, found, slices) or free
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


def painted_in(annotation: Plane, found: Part) -> list[Part]:
    """List the painted objects that lie, most of each, in a part."""
    return [one for one in pieces_in(annotation, found, FIRST_OBJECT) if found.covers_most_of(one)]


def numbers_of(annotation: Plane, painted: Sequence[Part]) -> list[int]:
    """List the numbers of painted objects, each once."""
    return list(dict.fromkeys(int(annotation[one.box][one.mask][0]) for one in painted))


def refuse_several(there: Sequence[int]) -> None:
    """Raise a ValueError where several objects are painted in a predicted one."""
    if len(there) > 1:
        raise ValueError(f"objects {there[0]} and {there[1]} are painted in it: split it by a stroke first")


def continued(
    annotation: Plane,
    found: Part,
    slices: Sequence[Plane],
    given: Container[int] = (),
    sibling: Part | None = None,
) -> int | None:
    """Return the object that lies over most of a part on a slice beside, unless it is on this one already.

    What is `given` to another part will be on this one. An object that lies over a sibling too comes last.
    """
    shared = set(over_most(sibling, slices)) if sibling else set()
    numbers = sorted(over_most(found, slices), key=shared.__contains__)
    return next((each for each in numbers if each not in given and not (annotation == each).any()), None)


def over_most(found: Part, slices: Sequence[Plane]) -> list[int]:
    """List the objects that lie over most of a part on the slices beside, the one with most pixels first."""
    over = _most_over(found.mask.astype(np.uint8), [plane[found.box] for plane in slices])
    return list(dict.fromkeys(over[::-1, 1].tolist()))


def accepted_numbers(
    annotation: Plane, predicted: Plane, slices: Sequence[Plane], highest: int
) -> NDArray[np.int64]:
    """Return the number of each predicted object, (highest predicted + 1,), when all of a plane are accepted.

    As with a click, what is painted of it already goes on, or what is painted on the slices above and below;
    others get numbers above the highest. 0 where it is not accepted: several are painted in it, one is
    painted in several, or it is a part of one that is painted.

    Examples
    --------
    >>> accepted_numbers(np.array([[0, 9, 0, 1, 0]]), np.array([[3, 3, 0, 2, 2]]), [], highest=9)
    array([ 0,  0, 10,  9])
    """
    numbers, is_left = _painted_numbers(_objects(annotation), predicted)
    taken = {*np.unique(annotation).tolist(), *numbers.tolist()}
    for one, other, _ in _most_over(predicted, slices)[::-1].tolist():
        if not (is_left[one] or numbers[one] or other in taken):
            numbers[one] = other
            taken.add(other)
    new = (numbers == 0) & ~is_left
    numbers[new] = max(highest, *taken) + np.arange(1, new.sum() + 1)
    return numbers


def _painted_numbers(painted: Plane, predicted: Plane) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Return the number of what is painted of each predicted object, and which ones are not to be taken."""
    sizes = np.bincount(predicted.ravel())
    pieces = np.asarray(label(painted, connectivity=1))  # type: ignore[no-untyped-call]
    number_of = np.zeros(int(pieces.max(initial=0)) + 1, np.int64)
    number_of[pieces.ravel()] = painted.ravel()
    found, piece, n_shared = overlaps(predicted, pieces).T
    is_inside = 2 * n_shared > np.bincount(pieces.ravel())[piece]  # most of what is painted
    inside = np.unique(np.stack([found, number_of[piece]], 1)[is_inside], axis=0)
    n_inside = np.bincount(inside[:, 0], minlength=len(sizes))
    is_covered = 2 * np.bincount(found, n_shared, len(sizes)) > sizes
    is_left = (sizes == 0) | (n_inside > 1) | ((n_inside == 0) & is_covered)
    is_left[0] = True  # the background
    _, places, n_found = np.unique(inside[:, 1], return_inverse=True, return_counts=True)
    is_left[inside[n_found[places] > 1, 0]] = True  # one number is painted in several
    numbers = np.zeros(len(sizes), np.int64)
    numbers[inside[:, 0]] = inside[:, 1]
    numbers[is_left] = 0
    return numbers, is_left


def _objects(annotation: Plane) -> Plane:
    return np.where(annotation >= FIRST_OBJECT, annotation, 0)


def _most_over(predicted: Plane, slices: Sequence[Plane]) -> NDArray[np.int64]:
    """List predicted objects with what is painted over most of them on a slice: (n, 3), ascending."""
    tables = [overlaps(predicted, _objects(plane)) for plane in slices]
    table = np.concatenate([np.zeros((0, 3), np.int64), *tables])
    most = table[2 * table[:, 2] > np.bincount(predicted.ravel())[table[:, 0]]]
    ascending: NDArray[np.int64] = most[np.argsort(most[:, 2], kind="stable")]
    return ascending


def _predicted_at(predicted: Plane, spot: Spot) -> Part:
    if predicted[spot] == 0:
        raise ValueError("no object is predicted here: click on one, or paint it")
    return object_at(predicted, spot)
