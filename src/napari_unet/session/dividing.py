"""A stroke over objects: across one it makes two of it, over several it makes them one."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from napari_unet.session.accepting import unpainted
from napari_unet.session.picking import FIRST_OBJECT, Edit, Part, Plane, Spot, objects_under, united

CRUMB = 50
"""A part smaller than the object by this factor was cut off by accident."""


def split(annotation: Plane, predicted: Plane, spots: Sequence[Spot], free: int) -> Edit:
    """Divide the objects that a stroke goes across: painted ones or, where there are none, predicted ones."""
    parts: list[tuple[Part, int]] = []
    for painted in objects_under(annotation, spots, FIRST_OBJECT):
        halves = two_parts(painted, spots)
        parts += [(halves[1], free + len(parts))] if halves else []
    if parts:
        return Edit(tuple(parts), f"split: the smaller part is object {_numbers(parts)} now")
    for found in _not_painted(annotation, objects_under(predicted, spots)):
        halves = two_parts(found, spots)
        bare = [half.without(annotation[half.box] != 0) for half in halves or ()]
        new = [half for half in bare if half.mask.any()]  # the other one may be background already
        parts += [(half, free + len(parts) + n) for n, half in enumerate(new)]
    if not parts:
        raise ValueError("the stroke divides no object: draw it right across one, from side to side")
    words = (
        "accepted in parts, as objects" if len(parts) > 1 else "accepted but for what is painted, as object"
    )
    return Edit(tuple(parts), f"{words} {_numbers(parts)}")


def merge(annotation: Plane, predicted: Plane, spots: Sequence[Spot], free: int) -> Edit:
    """Make one of the objects under a stroke, be they painted or predicted: the first painted one grows."""
    painted = list(objects_under(annotation, spots, FIRST_OBJECT))
    bare = [spot for spot in spots if annotation[spot] == 0]
    predicted_ones = list(_not_painted(annotation, objects_under(predicted, bare)))
    found = [part for part in predicted_ones if not any(part.covers_most_of(one) for one in painted)]
    numbers = list(dict.fromkeys(int(annotation[one.box][one.mask][0]) for one in painted))
    if len(numbers) + len(found) < 2:
        if len(painted) > 1:
            raise ValueError(f"these are object {numbers[0]} already: draw the line into another object")
        raise ValueError("the stroke is not over two objects: draw it from one into the other")
    number = numbers[0] if numbers else free
    whole = [*painted, *(unpainted(annotation, part) for part in predicted_ones)]
    ours = [0, *{int(predicted[spot]) for spot in spots}]
    gaps = _gaps(whole, spots)
    parts = [
        *whole,
        *(gap.without((annotation[gap.box] != 0) | ~np.isin(predicted[gap.box], ours)) for gap in gaps),
    ]
    words = f"merged: {len(numbers) + len(found)} objects are object {number} now"
    return Edit(tuple((part, number) for part in parts), words)


def two_parts(whole: Part, spots: Sequence[Spot]) -> tuple[Part, Part] | None:
    """Divide an object along a stroke, the larger part first; None where that does not go across it."""
    parts, n_parts = ndimage.label(whole.mask & ~whole.drawn(spots))
    sizes = np.bincount(parts.ravel(), minlength=3)[1:]
    first, second = np.argsort(-sizes, kind="stable")[:2] + 1
    if n_parts < 2 or sizes[second - 1] * CRUMB < sizes[first - 1]:
        return None
    is_first = _nearer(parts == first, parts == second)
    return Part(whole.box, whole.mask & is_first), Part(whole.box, whole.mask & ~is_first)


def _gaps(parts: Sequence[Part], spots: Sequence[Spot]) -> Iterator[Part]:
    """Yield what lies between two parts that a stroke joins, as wide as what it crosses there."""
    under = [next((part for part in parts if part.holds(spot)), None) for spot in spots]
    inside = [(at, part) for at, part in enumerate(under) if part is not None]
    for (start, one), (stop, other) in pairwise(inside):
        if crossed := spots[start + 1 : stop]:
            yield _gap(united([one, other]), len(crossed))


def _gap(both: Part, width: int) -> Part:
    """Close a gap with a disc as wide; between parts that are much narrower than it nothing is closed."""
    reach = width // 2 + 1
    near = ndimage.distance_transform_edt(~np.pad(both.mask, reach + 1)) <= reach
    inner = (slice(reach + 1, -reach - 1),) * 2
    closed = ndimage.distance_transform_edt(near)[inner] > reach
    return Part(both.box, closed & ~both.mask)


def _nearer(one: NDArray[np.bool_], other: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Mark what is nearer to one part than to the other: the stroke itself, and crumbs beside it."""
    to_one, to_other = (ndimage.distance_transform_edt(~part) for part in (one, other))
    nearer: NDArray[np.bool_] = to_one <= to_other
    return nearer


def _not_painted(annotation: Plane, found: Iterable[Part]) -> list[Part]:
    """Leave out predicted objects that are painted already, for the most part."""
    return [part for part in found if 2 * np.count_nonzero(annotation[part.box][part.mask]) < part.mask.sum()]


def _numbers(parts: Sequence[tuple[Part, int]]) -> str:
    return " and ".join(str(number) for _, number in parts)
