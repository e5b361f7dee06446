"""A stroke over objects: across one it makes two of it, over several it makes them one."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import count, pairwise

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from napari_unet.session.accepting import (
    continued,
    numbers_of,
    over_most,
    painted_in,
    refuse_several,
    unpainted,
)
from napari_unet.session.picking import FIRST_OBJECT, Edit, Part, Plane, Spot, objects_under, united

CRUMB = 50
"""A part smaller than the object by this factor was cut off by accident."""


def split(
    annotation: Plane, predicted: Plane, spots: Sequence[Spot], free: int, slices: Sequence[Plane] = ()
) -> Edit:
    """Divide the objects that a stroke goes across: painted ones or, where there are none, predicted ones.

    What is painted of a part goes on, in `slices` too, those above and below where objects go through them.
    """
    parts = _split_painted(annotation, spots, free, slices)
    if parts:
        which = "one part of each" if len(parts) > 1 else "one part"
        return Edit(tuple(parts), f"split: {which} is object {_numbers(parts)} now")
    parts = _split_predicted(annotation, predicted, spots, free, slices)
    if not parts:
        raise ValueError("the stroke divides no object: draw it right across one, from side to side")
    words = "accepted in parts, as objects" if len(parts) > 1 else "one part is accepted, as object"
    return Edit(tuple(parts), f"{words} {_numbers(parts)}")


def _split_painted(
    annotation: Plane, spots: Sequence[Spot], free: int, slices: Sequence[Plane]
) -> list[tuple[Part, int]]:
    """Give one part of each painted object another number."""
    numbers, parts = count(free), list[tuple[Part, int]]()
    for painted in objects_under(annotation, spots, FIRST_OBJECT):
        if halves := two_parts(painted, spots):
            part, number = _cut_off(annotation, halves, slices, [given for _, given in parts])
            parts.append((part, number or next(numbers)))
    return parts


def _cut_off(
    annotation: Plane, halves: tuple[Part, Part], slices: Sequence[Plane], given: Sequence[int]
) -> tuple[Part, int | None]:
    """Choose the part with another number, and which if the slices beside tell: else the smaller one, new."""
    larger, smaller = halves
    (own,) = numbers_of(annotation, [larger])
    to_larger = continued(annotation, larger, slices, given, sibling=smaller)
    to_smaller = continued(annotation, smaller, slices, given, sibling=larger)
    over_larger, over_smaller = (set(over_most(half, slices)) for half in halves)
    if own in over_smaller - over_larger:
        return larger, to_larger
    if to_smaller in over_smaller - over_larger:
        return smaller, to_smaller
    if own not in over_larger and to_larger in over_larger - over_smaller:
        return larger, to_larger
    return smaller, None


def _split_predicted(
    annotation: Plane, predicted: Plane, spots: Sequence[Spot], free: int, slices: Sequence[Plane]
) -> list[tuple[Part, int]]:
    """Accept both parts of each predicted object, but one that is painted, or in which several are."""
    numbers, parts = count(free), list[tuple[Part, int]]()
    for half, sibling in _predicted_halves(annotation, predicted, spots):
        given = [number for _, number in parts]
        there = numbers_of(annotation, painted_in(annotation, half))
        taken = half.without(annotation[half.box] != 0)
        if len(there) > 1 or not set(there).isdisjoint(given) or not taken.mask.any():
            continue
        if there or _not_painted(annotation, [half]):
            number = there[0] if there else continued(annotation, half, slices, given, sibling)
            parts.append((taken, number or next(numbers)))
    return parts


def _predicted_halves(
    annotation: Plane, predicted: Plane, spots: Sequence[Spot]
) -> Iterator[tuple[Part, Part]]:
    """Yield each part of predicted objects that a stroke divides, and the other; none if both are painted."""
    for found in objects_under(predicted, spots):
        halves = two_parts(found, spots)
        if halves and _not_painted(annotation, halves):
            yield from (halves, halves[::-1])


def merge(
    annotation: Plane, predicted: Plane, spots: Sequence[Spot], free: int, slices: Sequence[Plane] = ()
) -> Edit:
    """Make one of the objects under a stroke, be they painted or predicted: the first painted one grows."""
    painted = list(objects_under(annotation, spots, FIRST_OBJECT))
    bare = [spot for spot in spots if annotation[spot] == 0]
    predicted_ones = list(_not_painted(annotation, objects_under(predicted, bare)))
    painted += _others_in(annotation, predicted_ones, painted)
    found = [part for part in predicted_ones if not any(part.covers_most_of(one) for one in painted)]
    numbers = numbers_of(annotation, painted)
    if len(numbers) + len(found) < 2:
        if len(painted) > 1:
            raise ValueError(f"these are object {numbers[0]} already: draw the line into another object")
        raise ValueError("the stroke is not over two objects: draw it from one into the other")
    beside = (continued(annotation, part, slices) for part in found)
    number = numbers[0] if numbers else next(filter(None, beside), free)
    whole = [*painted, *(unpainted(annotation, part) for part in predicted_ones)]
    ours = [0, *{int(predicted[spot]) for spot in spots}]
    gaps = _gaps(whole, spots)
    parts = [
        *whole,
        *(gap.without((annotation[gap.box] != 0) | ~np.isin(predicted[gap.box], ours)) for gap in gaps),
    ]
    words = f"merged: {len(numbers) + len(found)} objects are object {number} now"
    return Edit(tuple((part, number) for part in parts), words)


def _others_in(annotation: Plane, found: Iterable[Part], painted: Sequence[Part]) -> list[Part]:
    """List what is painted in predicted objects beside the stroke: one object in each, not several."""
    under = set(numbers_of(annotation, painted))
    others = []
    for part in found:
        inside = painted_in(annotation, part)
        there = numbers_of(annotation, inside)
        if not under.issuperset(there):
            refuse_several(there)
            others += inside
    return others


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
