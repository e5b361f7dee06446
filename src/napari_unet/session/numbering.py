"""Numbers that predicted objects keep: from one prediction to the next, and across borders of its pieces."""

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from skimage.measure import label

from napari_unet.core.linking import overlaps

Objects = NDArray[np.integer[Any]]
Span = tuple[int, int]
"""First pixel, and the one after the last."""


def numbered_as_before(found: Objects, before: Objects, highest: int) -> tuple[NDArray[np.uint32], int]:
    """Give objects the numbers of those that they overlap most, one to one, and others numbers of their own.

    Return them with the highest number that is taken now.

    Examples
    --------
    >>> numbered_as_before(np.array([1, 1, 0, 2, 3]), np.array([7, 7, 7, 0, 4]), highest=7)
    (array([7, 7, 0, 8, 4], dtype=uint32), 8)
    """
    numbers = np.zeros(int(found.max(initial=0)) + 1, np.uint32)
    pairs = sharing_most(found, before)
    numbers[pairs[:, 0]] = pairs[:, 1]
    there = np.unique(found)
    fresh = there[(numbers[there] == 0) & (there != 0)]
    numbers[fresh] = highest + 1 + np.arange(len(fresh))
    return numbers[found], highest + len(fresh)


def part_pieces(plane: Objects, rows: Span, columns: Span, highest: int) -> int:
    """Give what shares a number inside and outside of a piece, and apart outside of it, numbers of their own.

    They may have them from one that was found earlier and went through several pieces. It is done in place;
    `join_pieces` gives those that go on across the border one number again. Return the highest one.
    """
    piece = plane[slice(*rows), slice(*columns)]
    is_inside = np.zeros(highest + 1, bool)
    is_inside[piece] = True
    is_inside[0] = False
    outside = np.where(is_inside[plane], plane, 0)
    outside[slice(*rows), slice(*columns)] = 0
    shared = np.unique(outside[outside != 0])
    own = np.arange(highest + 1, dtype=plane.dtype)
    own[shared] = highest + 1 + np.arange(len(shared))
    piece[...] = own[piece]
    if not len(shared):
        return highest
    box = ndimage.find_objects((outside != 0).view(np.uint8))[0]
    return _part(plane[box], outside[box], highest + len(shared))


def join_pieces(plane: Objects, rows: Span, columns: Span) -> None:
    """Give objects that go on beyond the border of a piece one number, the lower of theirs, in place.

    Neighbours that only touch stay apart: two are one where each shares more of the border with the other
    than with anything else, and at least half of the shorter stretch.
    """
    pairs = [pair for inside, outside in _faces(plane, rows, columns) for pair in facing(inside, outside)]
    others = _lowest([pair for pair in pairs if pair[0] != pair[1]])
    if others:
        names = np.array(sorted(others))
        hit = np.isin(plane, names)
        lowest = np.array([others[name] for name in names.tolist()], plane.dtype)
        plane[hit] = lowest[np.searchsorted(names, plane[hit])]


def sharing_most(first: Objects, second: Objects) -> NDArray[np.int64]:
    """Return pairs of objects that share more pixels with each other than with others, and how many: (n, 3).

    Examples
    --------
    >>> sharing_most(np.array([1, 1, 1, 2, 0]), np.array([5, 5, 6, 5, 6]))
    array([[1, 5, 2]])
    """
    table = overlaps(first, second)
    return table[_is_most(table[:, 0], table[:, 2]) & _is_most(table[:, 1], table[:, 2])]


def facing(inside: Objects, outside: Objects) -> Iterator[tuple[int, int]]:
    """Yield the pairs of objects that go on from one side of a border to the other."""
    for one, other, n_shared in sharing_most(inside, outside).tolist():
        shorter = min(np.count_nonzero(inside == one), np.count_nonzero(outside == other))
        if 2 * n_shared >= shorter:
            yield one, other


def _part(plane: Objects, outside: Objects, highest: int) -> int:
    """Give parts that hang not together numbers of their own, in place, and return the highest one."""
    places = np.nonzero(outside)
    connected = label(outside, connectivity=1)[places]  # type: ignore[no-untyped-call]
    _, first, part_of = np.unique(connected, return_index=True, return_inverse=True)
    numbers = outside[places][first]  # the first part of each number keeps it
    is_other = np.ones(len(numbers), bool)
    is_other[np.unique(numbers, return_index=True)[1]] = False
    numbers[is_other] = highest + 1 + np.arange(np.count_nonzero(is_other))
    plane[places] = numbers[part_of]
    return highest + int(np.count_nonzero(is_other))


def _is_most(groups: NDArray[np.int64], counts: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Mark the highest count of each group, the first one of equals."""
    order = np.lexsort((-counts, groups))
    is_first = np.ones(len(order), bool)
    is_first[1:] = np.diff(groups[order]) != 0
    most = np.zeros(len(order), bool)
    most[order[is_first]] = True
    return most


def _faces(plane: Objects, rows: Span, columns: Span) -> Iterator[tuple[Objects, Objects]]:
    """Yield the pixels on both sides of each border that has another side."""
    for turned, across, along in ((plane, rows, columns), (plane.T, columns, rows)):
        inner = slice(*along)
        if across[0] > 0:
            yield turned[across[0], inner], turned[across[0] - 1, inner]
        if across[1] < len(turned):
            yield turned[across[1] - 1, inner], turned[across[1], inner]


def _lowest(pairs: list[tuple[int, int]]) -> dict[int, int]:
    """Map each number to the lowest that it is joined with, whatever lies between, unless it is that."""
    lower: dict[int, int] = {}

    def lowest(number: int) -> int:
        while number in lower:
            number = lower[number]
        return number

    for pair in pairs:
        low, high = sorted(map(lowest, pair))
        if low != high:
            lower[high] = low
    return {number: lowest(number) for number in lower}
