"""Rim and core of annotated objects, and the line between those that touch."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

Annotation = NDArray[np.integer[Any]]

RIM_DEPTH, CORE_DEPTH = 0.25, 0.75
"""Up to the first share of its greatest depth an object is all rim, from the second on all core."""


def separate_touching(objects: Annotation) -> Annotation:
    """Draw a background line between objects that share a face.

    Parameters
    ----------
    objects : ndarray of integers
        0 = background; every other value is one object.

    Returns
    -------
    ndarray
        A copy in which the pixels on both sides of such a face are 0.

    Examples
    --------
    >>> separate_touching(np.array([1, 1, 1, 2, 2, 0, 3]))
    array([1, 1, 0, 0, 2, 0, 3])
    """
    separated = objects.copy()
    for axis in range(objects.ndim):
        before = np.moveaxis(objects, axis, 0)[:-1]
        after = np.moveaxis(objects, axis, 0)[1:]
        touching = (before != after) & (before != 0) & (after != 0)
        np.moveaxis(separated, axis, 0)[:-1][touching] = 0
        np.moveaxis(separated, axis, 0)[1:][touching] = 0
    return separated


def core_share_of(
    objects: Annotation, spacing: Sequence[float], unlabelled: NDArray[np.bool_] | None = None
) -> NDArray[np.float32]:
    """Say how much of each pixel of an object is core: nothing near its border, all in its middle.

    In between it grows with the depth, which is the distance to the pixels along the border plus one pixel
    of the plane, and 0 where two objects touch: so their cores never do, whatever the size of the objects.
    Narrow objects that touch no other are core up to their border.

    Parameters
    ----------
    objects : ndarray of integers, shape (*spatial)
        0 = no object; every other value is one. The border of the image is none of an object.
    spacing : sequence of float
        Pixel size along each axis; depths are distances in these units.
    unlabelled : ndarray of bool, shape (*spatial), optional
        Where nothing is known: no object of a volume has a border to that above or below. None = nowhere.

    Returns
    -------
    ndarray of float32, shape (*spatial)
        0 to 1; from `RIM_DEPTH` to `CORE_DEPTH` in proportion to the depth.

    Examples
    --------
    >>> core_share_of(np.array([0, 1, 1, 1, 1, 1, 1, 1, 2, 2]), (1.0,)).tolist()
    [0.0, 0.0, 0.5, 1.0, 1.0, 1.0, 0.5, 0.0, 0.0, 1.0]
    """
    depth = _relative_depth(
        objects, spacing, np.zeros(objects.shape, bool) if unlabelled is None else unlabelled
    )
    return np.clip((depth - RIM_DEPTH) / (CORE_DEPTH - RIM_DEPTH), 0, 1).astype(np.float32)


def _relative_depth(
    objects: Annotation, spacing: Sequence[float], unlabelled: NDArray[np.bool_]
) -> NDArray[np.float64]:
    """Measure how deep each pixel lies in its object, as a share of the greatest depth there."""
    border = _borders(objects, unlabelled)
    if not border.any():
        return np.asarray(objects != 0, np.float64)
    # a pixel of the plane, so that an object on one plane of a volume is what it is in 2D
    depth = ndimage.distance_transform_edt(~border, sampling=spacing) + min(spacing[-2:])
    depth[(objects == 0) | (separate_touching(objects) != objects)] = 0
    inside = np.flatnonzero(objects)
    values = objects.ravel()[inside]
    if values.max() > objects.size:  # numbers may have gaps
        values = np.unique(values, return_inverse=True)[1]
    greatest = np.zeros(int(values.max()) + 1)
    np.maximum.at(greatest, values, depth.ravel()[inside])
    greatest[greatest == 0] = 1
    depth.ravel()[inside] /= greatest[values]
    return np.asarray(depth)


def _borders(objects: Annotation, unlabelled: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Mark pixels of objects beside whatever else, but for what is unlabelled above or below them."""
    border = np.zeros(objects.shape, bool)
    for axis in range(objects.ndim):
        values, unknown, found = (np.moveaxis(each, axis, 0) for each in (objects, unlabelled, border))
        differs = values[:-1] != values[1:]
        if axis < objects.ndim - 2:
            differs &= ~(unknown[:-1] | unknown[1:])
        found[:-1] |= differs
        found[1:] |= differs
    return np.asarray(border & (objects != 0))
