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


def free_numbers(plane: Objects, n: int, above: int = 0) -> NDArray[np.uint32]:
    """Return the lowest numbers above one that no object of a plane has.

    Examples
    --------
    >>> free_numbers(np.array([0, 2, 5]), 3), free_numbers(np.array([0, 2, 5]), 2, above=4)
    (array([1, 3, 4], dtype=uint32), array([6, 7], dtype=uint32))
    """
    taken = np.unique(plane[plane > above]).astype(np.int64) - above - 1
    is_free = np.ones(len(taken) + n, bool)  # so many numbers are enough: no table as long as the highest
    is_free[taken[taken < len(is_free)]] = False
    return (np.flatnonzero(is_free)[:n] + above + 1).astype(np.uint32)


def settle_numbers(plane: Objects, top: int, above: int = 0) -> None:
    """Give objects with numbers above the top, which were new, the lowest free ones above a number, in place.

    While pieces are joined new numbers have to be higher than those that were there, which stay.

    Examples
    --------
    >>> plane = np.array([0, 2, 9, 7])
    >>> settle_numbers(plane, top=5)
    >>> plane
    array([0, 2, 3, 1])
    """
    is_new = plane > top
    if not is_new.any():
        return
    new, places = np.unique(plane[is_new], return_inverse=True)
    plane[is_new] = free_numbers(np.where(is_new, 0, plane), len(new), above)[places]


def numbered_as_before(found: Objects, before: Objects, top: int) -> NDArray[np.uint32]:
    """Give objects the numbers of those that they overlap most, one to one, and others numbers above the top.

    Examples
    --------
    >>> numbered_as_before(np.array([1, 1, 0, 2, 3]), np.array([7, 7, 7, 0, 4]), top=7)
    array([7, 7, 0, 8, 4], dtype=uint32)
    """
    there, places = np.unique(found, return_inverse=True)
    numbers = np.zeros(len(there), np.uint32)
    pairs = sharing_most(found, before)
    numbers[np.searchsorted(there, pairs[:, 0])] = pairs[:, 1]
    fresh = np.flatnonzero((numbers == 0) & (there != 0))
    numbers[fresh] = top + 1 + np.arange(len(fresh))
    return numbers[places].reshape(found.shape)


def part_pieces(plane: Objects, rows: Span, columns: Span) -> None:
    """Give what shares a number inside and outside of a piece, and apart outside of it, new numbers.

    They may have them from one that was found earlier and went through several pieces. It is done in place;
    `join_pieces` gives those that go on across the border one number again.
    """
    piece = plane[slice(*rows), slice(*columns)]
    inside = np.unique(piece[piece != 0])
    outside = np.where(np.isin(plane, inside), plane, 0)
    outside[slice(*rows), slice(*columns)] = 0
    shared = np.unique(outside[outside != 0])
    if not len(shared):
        return
    fresh = int(plane.max()) + 1 + np.arange(len(shared), dtype=plane.dtype)
    places = np.searchsorted(shared, piece)
    is_shared = np.isin(piece, shared)
    piece[is_shared] = fresh[places[is_shared]]
    box = ndimage.find_objects((outside != 0).view(np.uint8))[0]
    _part(plane[box], outside[box], int(plane.max()))


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


def _part(inside: Objects, outside: Objects, top: int) -> None:
    """Give parts of a box that hang not together numbers above the top, in place."""
    places = np.nonzero(outside)
    connected = label(outside, connectivity=1)[places]  # type: ignore[no-untyped-call]
    _, first, part_of = np.unique(connected, return_index=True, return_inverse=True)
    numbers = outside[places][first]  # the first part of each number keeps it
    is_other = np.ones(len(numbers), bool)
    is_other[np.unique(numbers, return_index=True)[1]] = False
    numbers[is_other] = top + 1 + np.arange(np.count_nonzero(is_other))
    inside[places] = numbers[part_of]


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
