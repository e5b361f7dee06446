"""From what a network says to numbered objects: seeds are found, grown, filled and sifted.

Nothing here measures a distance: the maps already follow the image. Sizes are counted in pixels or voxels.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import ndimage

from napari_unet.core.flooding import N_STEPS, beside, flood
from napari_unet.core.numbered import (
    Objects,
    connected_objects,
    fill_holes,
    number_in_order,
    numbers_at_sides,
)

SCALE = 255
"""Scores are probabilities times this, so that a byte holds one."""


@dataclass(frozen=True)
class ObjectRules:
    """How objects are found in what a network says; fitted to what is annotated, and kept in the model.

    Parameters
    ----------
    foreground : float, above 0, at most 1
        Pixels of an object have at least this probability of not being background.
    core : float, above 0, at most 1
        Pixels of its seed have at least this probability of core.
    min_size : int
        Pixels or voxels of the smallest object, below 2³².
    reach : tuple of int
        Extent of the largest annotated object along each axis, pixels: in a halo of this size around a tile
        its objects are grown. () = unknown.

    Raises
    ------
    ValueError
        If a value is out of its range.
    """

    foreground: float = 0.5
    core: float = 0.5
    min_size: int = 0
    reach: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        for name in ("foreground", "core"):
            if not 0 < getattr(self, name) <= 1:
                raise ValueError(
                    f"{name} {getattr(self, name)} is no probability above 0: give one such as 0.5"
                )
        check_min_size(self.min_size)
        if any(extent < 1 for extent in self.reach):
            raise ValueError(f"a reach of {self.reach} pixels is less than a pixel: give () if it is unknown")


def check_min_size(min_size: int) -> None:
    """Raise a ValueError where a size in pixels is none, or no block could count up to it."""
    if not 0 <= min_size < 2**32:
        raise ValueError(
            f"a minimum size of {min_size} pixels is not from 0 to 2³² - 1: give 0 to keep all objects"
        )


def object_scores(probabilities: ArrayLike) -> NDArray[np.uint8]:
    """Keep of a network's probabilities what objects are made from, in a quarter of the memory.

    Parameters
    ----------
    probabilities : array of float, (3, *spatial) or (2, *spatial)
        Of background, rim and core; or of background and object.

    Returns
    -------
    ndarray of uint8, (2, *spatial)
        Scores of foreground and core: probabilities times 255. With two classes both are the foreground, so
        that objects are its connected parts.

    Raises
    ------
    ValueError
        If there are neither two nor three classes.

    Examples
    --------
    >>> object_scores([[0.2, 1.0], [0.2, 0.0], [0.6, 0.0]]).tolist()
    [[204, 0], [153, 0]]
    """
    each = np.asarray(probabilities)
    if len(each) not in (2, 3):
        raise ValueError(f"{len(each)} classes do not tell objects: give background, rim and core")
    scores = np.empty((2, *each.shape[1:]), np.uint8)
    for score, probability in zip(scores, (1 - each[0], each[-1]), strict=True):
        score[...] = np.rint(np.clip(probability, 0, 1) * np.float32(SCALE))
    return scores


def set_no_data(scores: NDArray[np.uint8], missing: NDArray[np.bool_]) -> None:
    """Mark in place where scores (2, *spatial) have no data: core without foreground, which none have."""
    scores[0][missing], scores[1][missing] = 0, SCALE


def has_no_data(scores: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Return where scores (2, *spatial) are marked by `set_no_data`."""
    marked: NDArray[np.bool_] = (scores[0] == 0) & (scores[1] == SCALE)
    return marked


def find_seeds(scores: ArrayLike, rules: ObjectRules) -> NDArray[np.uint32]:
    """Find the connected parts of the core within the foreground.

    Parameters
    ----------
    scores : array of uint8, (2, *spatial)
        Foreground and core, from `object_scores`.
    rules : ObjectRules

    Returns
    -------
    ndarray of uint32, (*spatial)
        0 = no seed, 1 to N = seeds in the order of their first pixels. Parts of fewer pixels than
        `smallest_seed` split others and are none, but at the array's border, where they may go on.

    Examples
    --------
    >>> find_seeds(np.uint8([[200, 200, 200, 0], [200, 100, 200, 200]]), ObjectRules())
    array([1, 0, 2, 0], dtype=uint32)
    """
    foreground, core = np.asarray(scores)
    seeds, _ = ndimage.label(_reaches(foreground, rules.foreground) & _reaches(core, rules.core))
    kept: NDArray[np.bool_] = np.bincount(seeds.ravel(), minlength=1) >= smallest_seed(rules, seeds.ndim)
    kept[numbers_at_sides(seeds)] = True
    return number_in_order(seeds, kept).astype(np.uint32)


def smallest_seed(rules: ObjectRules, ndim: int) -> int:
    """Return the pixels of the smallest seed: min_size // 3**ndim, as of a smallest object in thirds."""
    least: int = max(1, rules.min_size // 3**ndim)
    return least


def grow_seeds(seeds: ArrayLike, scores: ArrayLike, rules: ObjectRules) -> NDArray[np.uint32]:
    """Grow seeds into the foreground by a watershed: first where the core is high, last where it is low.

    Who is first takes a pixel; of those that arrive at once, it is the one before it along the first axis,
    then the one behind it, and so on. What a pixel becomes depends on its surroundings only, not on where
    an array begins, so that tiles with a halo agree with the whole.

    Parameters
    ----------
    seeds : array of unsigned integers below 2³², (*spatial)
        0 = no seed; parts of any numbers.
    scores : array of uint8, (2, *spatial)
        Foreground and core, from `object_scores`.
    rules : ObjectRules

    Returns
    -------
    ndarray of uint32, (*spatial)
        Objects with the numbers of their seeds; 0 in the background and in foreground that no seed reaches.

    Examples
    --------
    >>> scores = np.uint8([[200] * 6 + [0, 200], [99, 255, 99, 80, 90, 255, 0, 0]])
    >>> grow_seeds([0, 1, 0, 0, 0, 2, 0, 0], scores, ObjectRules())
    array([1, 1, 1, 1, 2, 2, 0, 0], dtype=uint32)
    """
    foreground, core = np.asarray(scores)
    numbers = np.asarray(seeds, np.uint32)
    free = _reaches(foreground, rules.foreground) & (numbers == 0)
    step = core // ((SCALE + 1) // N_STEPS) + np.uint8(1)
    objects, steps = (np.pad(each, 1) for each in (numbers, np.where(free, step, np.uint8(0))))
    flood(objects.ravel(), steps.ravel(), beside(objects.shape))
    return objects[(slice(1, -1),) * objects.ndim]


def find_objects(
    scores: ArrayLike,
    rules: ObjectRules,
    *,
    fill: bool = True,
    largest_hole: Sequence[int] = (),
    min_size: int | None = None,
    keep_border: bool = True,
) -> Objects:
    """Find the objects of an image or a volume that is there as a whole.

    Parameters
    ----------
    scores : array of uint8, (2, *spatial)
        Foreground and core, from `object_scores`.
    rules : ObjectRules
    fill : bool
        Fill holes.
    largest_hole : sequence of int
        Extent of the largest hole that is filled along each axis, pixels; () = any.
    min_size : int, optional
        Pixels or voxels of the smallest object that is kept; by default that of the rules. Seeds follow the
        rules in any case: what is left out has no influence on what stays.
    keep_border : bool
        Keep objects that touch the border of the array.

    Returns
    -------
    ndarray of uint8, uint16 or uint32, whichever holds the number of objects, (*spatial)
        0 = background, 1 to N = objects in the order of their first pixels.

    Examples
    --------
    >>> find_objects(np.uint8([[200, 200, 0, 0, 200], [200, 99, 0, 0, 200]]), ObjectRules(min_size=2))
    array([1, 1, 0, 0, 0], dtype=uint8)
    """
    objects: Objects = grow_seeds(find_seeds(scores, rules), scores, rules)
    if fill:
        objects = fill_holes(objects, largest_hole)
        objects[has_no_data(np.asarray(scores))] = 0
    least = rules.min_size if min_size is None else min_size
    kept = np.bincount(objects.ravel(), minlength=1) >= max(1, least)
    if not keep_border:
        kept[numbers_at_sides(objects)] = False
    return number_in_order(objects, kept)


def coreless_objects(scores: ArrayLike, rules: ObjectRules, objects: ArrayLike) -> Objects:
    """Label the connected parts of the foreground that belong to no object.

    Parameters
    ----------
    scores : array of uint8, (2, *spatial)
        Foreground and core, from `object_scores`.
    rules : ObjectRules
    objects : array of unsigned integers, (*spatial)
        Those that were found.

    Returns
    -------
    ndarray as of `connected_objects`, (*spatial)

    Examples
    --------
    >>> coreless_objects(np.uint8([[200, 200, 0, 200], [0, 0, 0, 0]]), ObjectRules(), [0, 0, 0, 1])
    array([1, 1, 0, 0], dtype=uint8)
    """
    foreground, _ = np.asarray(scores)
    return connected_objects(_reaches(foreground, rules.foreground) & (np.asarray(objects) == 0))


def _reaches(scores: NDArray[np.uint8], probability: float) -> NDArray[np.bool_]:
    """Mark the scores that reach a probability; 0 never does."""
    reaches: NDArray[np.bool_] = scores >= max(1, round(SCALE * probability))
    return reaches
