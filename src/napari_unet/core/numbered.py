"""Arrays of numbered objects: connected parts, holes, those at the sides, and numbers in order.

Pixels belong together where they share a face, at any voxel size. Nothing here knows what a network says.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import ndimage

from napari_unet.core.flooding import beside

Objects = NDArray[np.unsignedinteger]
"""0 = background; every other number is an object."""


def connected_objects(foreground: ArrayLike) -> Objects:
    """Label the connected parts of the foreground.

    Parameters
    ----------
    foreground : array of bool, any number of dimensions

    Returns
    -------
    array of uint8, uint16 or uint32, whichever holds the number of objects
        0 = background, 1 to N = objects, in the order of their first pixels. Pixels belong together where
        they share a face.

    Examples
    --------
    >>> connected_objects([[1, 1, 0, 1], [0, 0, 0, 1], [1, 0, 0, 0]])
    array([[1, 1, 0, 2],
           [0, 0, 0, 2],
           [3, 0, 0, 0]], dtype=uint8)
    """
    parts, n_objects = ndimage.label(np.asarray(foreground, dtype=bool))
    objects: Objects = parts.astype(np.min_scalar_type(n_objects))
    return objects


def fill_holes(objects: NDArray[np.unsignedinteger], largest: Sequence[int] = ()) -> Objects:
    """Give background that one object encloses to that object.

    Parameters
    ----------
    objects : ndarray of unsigned integers, (*spatial)
    largest : sequence of int
        Extent of the largest hole that is filled along each axis, pixels: where a tile has a halo of as many,
        it sees such a hole as a whole. () = any.

    Returns
    -------
    ndarray of the same type, (*spatial)
        What touches the array's border or two objects is no hole and stays background.

    Examples
    --------
    >>> fill_holes(np.uint8([[3, 3, 3, 0], [3, 0, 3, 0], [3, 3, 3, 0]]))
    array([[3, 3, 3, 0],
           [3, 3, 3, 0],
           [3, 3, 3, 0]], dtype=uint8)
    """
    parts, n_parts = ndimage.label(objects == 0)
    enclosed = np.arange(n_parts + 1) > 0  # part 0 is no background
    enclosed[numbers_at_sides(parts)] = False
    enclosed &= _extends_at_most(parts, n_parts, largest)
    holes = np.flatnonzero(enclosed[parts])  # none lies at the array's border: what is beside it exists
    part, before = parts.ravel()[holes], objects.ravel()
    lowest = np.full(n_parts + 1, np.iinfo(before.dtype).max, before.dtype)
    highest = np.zeros(n_parts + 1, before.dtype)
    for way in beside(objects.shape):
        number = before[holes + way]
        np.minimum.at(lowest, part[number > 0], number[number > 0])
        np.maximum.at(highest, part, number)
    filled = before.copy()
    filled[holes] = np.where(lowest == highest, lowest, 0)[part]
    return filled.reshape(objects.shape)


def numbers_at_sides(objects: NDArray[np.integer]) -> NDArray[np.integer]:
    """Find the objects that touch the border of an array.

    Parameters
    ----------
    objects : ndarray of integers, (*spatial)

    Returns
    -------
    ndarray of the same type, (n,)
        Numbers other than 0, ascending.

    Examples
    --------
    >>> numbers_at_sides(np.uint8([[0, 0, 3], [0, 2, 0], [1, 0, 0]]))
    array([1, 3], dtype=uint8)
    """
    axes = range(objects.ndim if objects.size else 0)
    faces = [objects.take(at, axis=axis).ravel() for axis in axes for at in (0, -1)]
    numbers = np.unique(np.concatenate([np.zeros(1, objects.dtype), *faces]))
    return np.asarray(numbers[1:])


def number_in_order(objects: NDArray[np.integer], kept: NDArray[np.bool_]) -> Objects:
    """Drop objects, and number the others 1 to N in the order of their first pixels.

    Parameters
    ----------
    objects : ndarray of integers from 0 on, any number of dimensions
    kept : ndarray of bool, (highest + 1,)
        Whether each number that occurs stays; that of 0 does not count.

    Returns
    -------
    ndarray of uint8, uint16 or uint32, whichever holds N

    Examples
    --------
    >>> number_in_order(np.uint8([0, 5, 3, 3, 1]), np.array([True, True, True, True, True, False]))
    array([0, 0, 1, 1, 2], dtype=uint8)
    """
    flat = objects.ravel()
    places = np.flatnonzero(flat)[::-1]
    firsts = np.full(len(kept), flat.size)
    firsts[flat[places]] = places  # of the places of an object the last that is written stays: its first
    firsts[~kept] = flat.size
    n_objects = int((firsts < flat.size).sum())
    numbers = np.zeros(len(kept), np.min_scalar_type(n_objects))
    numbers[np.argsort(firsts)[:n_objects]] = np.arange(1, n_objects + 1)
    numbered: Objects = numbers[objects]
    return numbered


def _extends_at_most(parts: NDArray[np.integer], n_parts: int, largest: Sequence[int]) -> NDArray[np.bool_]:
    """Tell of each part, and of 0, whether it is at most so long along each axis."""
    fits = np.ones(n_parts + 1, bool)
    if largest and n_parts:
        lengths = [[at.stop - at.start for at in box] for box in ndimage.find_objects(parts)]
        fits[1:] = (np.array(lengths) <= largest).all(axis=1)
    return fits
