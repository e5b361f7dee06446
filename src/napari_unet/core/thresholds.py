"""Rules that find in what a network says the objects that were annotated."""

from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import product
from math import dist
from statistics import fmean

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from napari_unet.core.matching import count_overlaps, score_overlaps
from napari_unet.core.numbered import numbers_at_sides
from napari_unet.core.objects import ObjectRules, find_objects

Field = tuple[NDArray[np.uint8], NDArray[np.integer]]
"""Scores (2, *spatial) and annotation (*spatial)."""
Tenths = tuple[int, int]
"""Foreground and core."""

USUAL = (5, 6)
"""Rules that suit most images; where few objects are annotated nothing else is sure to suit better."""
COARSE = [USUAL, *product((3, 5, 7), (1, 3, 5, 7, 9))]
"""What is tried first; then what lies around the best of it."""
N_TRIALS = len(COARSE) + 8
FOUND = (0.5, 0.6, 0.7, 0.8)
"""IoU from which an object counts as found."""
CHANCE, LEARNT_CHANCE = 0.1, 0.3
"""Scores of n objects differ by chance by this over the square root of n; of learnt ones by more."""
MANY = 100
"""So many objects tell how small others may be."""
TRIED_PER_SECOND = 10_000_000
"""Pixels in which a slow core finds and compares objects."""
MAX_FIT_PIXELS = 5 * TRIED_PER_SECOND // N_TRIALS
"""Pixels of all windows together: about as many as a slow core compares `N_TRIALS` times in five seconds."""
BACKGROUND, IGNORED, FIRST = 1, 1, 2


@dataclass(frozen=True, eq=False)
class Annotated:
    """What is annotated in a field; counting it takes longer than to fit rules once more.

    Parameters
    ----------
    box : tuple of slice
        The annotated part of the field, and a pixel around it.
    objects : ndarray of unsigned integers
        The annotation in the box; numbers of objects have no gaps.
    sizes : ndarray of int64, (n_whole,)
        Pixels of the objects that the field's border does not cut.
    extents : ndarray of int64, (n_objects, ndim)
        Where pixels above or below are unlabelled, only some slices of the object may be painted: its extent
        along Z is then at least that in the plane.
    """

    box: tuple[slice, ...]
    objects: NDArray[np.unsignedinteger]
    sizes: NDArray[np.int64]
    extents: NDArray[np.int64]


def count_annotated(
    annotation: NDArray[np.integer], spacing: Sequence[float] | None = None
) -> Annotated | None:
    """Count the objects of an annotation; None where there are none.

    Parameters
    ----------
    annotation : ndarray of integers, (*spatial)
        0 = unlabelled, 1 = background, 2 and above = objects.
    spacing : sequence of float, optional
        Voxel size along each axis; equal sizes by default. An object of which only some slices are painted
        is taken to be as long along Z as in the plane, which is fewer slices where these are thick.

    Examples
    --------
    >>> annotated = count_annotated(np.array([[1, 1, 1, 7], [1, 9, 1, 7], [1, 1, 1, 1]]))
    >>> annotated.sizes, annotated.extents.tolist()
    (array([1]), [[2, 1], [1, 1]])
    """
    if not (annotation > BACKGROUND).any():
        return None
    box = _box(annotation > 0)
    objects = _renumbered(annotation[box])
    extents, goes_on = np.array(_extents(objects)), _goes_on(objects)
    sizes = np.asarray(spacing if spacing is not None else [1.0] * annotation.ndim)
    lengths = (extents * sizes).max(1) / sizes[0]
    extents[goes_on, 0] = np.ceil(lengths[goes_on])
    return Annotated(box, objects, _sizes(_whole(objects)), extents)


def sized(annotated: Sequence[Annotated], rules: ObjectRules | None = None) -> ObjectRules:
    """Give rules, by default the usual ones, the sizes of all annotated objects.

    The smallest size is half that of the smallest twentieth of those that are whole, a quarter where these
    are few. The reach is the largest extent along each axis.

    Examples
    --------
    >>> sized([])
    ObjectRules(foreground=0.5, core=0.6, min_size=0, reach=())
    """
    rules = rules or _with(ObjectRules(), USUAL)
    if not annotated:
        return rules
    sizes = np.concatenate([each.sizes for each in annotated])
    if len(sizes):
        least = int(np.percentile(sizes, 5) / (2 if len(sizes) >= MANY else 4))
        rules = replace(rules, min_size=least)
    largest = np.concatenate([each.extents for each in annotated]).max(0)
    return replace(rules, reach=tuple(map(int, largest)))


@dataclass(frozen=True, eq=False)
class Window:
    """Part of a field in which objects are found and compared.

    Parameters
    ----------
    region : tuple of slice
        Where it lies in the field.
    truth : ndarray of integers
        Whole objects, numbered above `IGNORED`, which counts neither way; 0 = background.
    """

    region: tuple[slice, ...]
    truth: NDArray[np.integer]

    @property
    def n_objects(self) -> int:
        """Number of whole objects."""
        return len(_sizes(self.truth))


def choose_windows(annotated: Sequence[Annotated], n_pixels: int) -> list[Window]:
    """Choose which part of each field is predicted to fit thresholds.

    Parameters
    ----------
    annotated : sequence of Annotated
        One for each field.
    n_pixels : int
        Most pixels of all windows together: the same share of each field, around the middle of its objects,
        or of one of them if none is whole there.

    Returns
    -------
    list of Window
        One for each field; none at all where no object is whole.

    Examples
    --------
    >>> annotation = np.ones((5, 9), int)
    >>> annotation[1:4, 1:4], annotation[1:4, 5:8] = 2, 3
    >>> [window] = choose_windows([count_annotated(annotation)], 100)
    >>> window.region, window.n_objects
    ((slice(0, 5, None), slice(0, 9, None)), 2)
    """
    share = min(1.0, n_pixels / max(1, sum(each.objects.size for each in annotated)))
    for middle in (_middle, partial(_middle_of_one, share=share)):
        windows = [_window(each, share, middle(each.objects)) for each in annotated]
        if any(window.n_objects for window in windows):
            return windows
    return []


def fit_windows(
    scores: Sequence[NDArray[np.uint8]], windows: Sequence[Window], known: ObjectRules, chance: float
) -> Generator[None, None, ObjectRules]:
    """Choose the foreground and core with which most annotated objects are found and fewest are made up.

    The measure is the number of objects found over that of all annotated or predicted ones, its mean at an
    IoU of 0.5, 0.6, 0.7 and 0.8, all windows taken together. What is not annotated counts neither way, nor do
    annotated objects that the border of their window cuts. What is found among unlabelled pixels cannot be
    judged; so of thresholds whose scores differ by no more than chance those nearest to `USUAL` are taken.

    Parameters
    ----------
    scores : sequence of ndarray of uint8, shape (2, *window)
        From `object_scores`. Best of what the network has not been trained on.
    windows : sequence of Window
        From `choose_windows`, at least one with a whole object.
    known : ObjectRules
        Smallest size and extent, from `sized`.
    chance : float
        `CHANCE`, or `LEARNT_CHANCE` where the network has been trained on these windows.

    Yields
    ------
    None
        After each trial.

    Returns
    -------
    ObjectRules

    Examples
    --------
    >>> from napari_unet.core.draining import drain
    >>> scores = np.full((2, 5, 9), 50, np.uint8)
    >>> scores[:, 1:4, 1:4] = scores[:, 1:4, 5:8] = 230
    >>> scores[:, 2, 4] = 140
    >>> annotation = np.ones((5, 9), int)
    >>> annotation[1:4, 1:4], annotation[1:4, 5:8] = 2, 3
    >>> annotated = count_annotated(annotation)
    >>> drain(fit_windows([scores], choose_windows([annotated], 100), sized([annotated]), CHANCE))
    ObjectRules(foreground=0.5, core=0.6, min_size=2, reach=(3, 3))
    """
    parts = [(each, window.truth) for each, window in zip(scores, windows, strict=True)]
    tried: dict[Tenths, float] = {}
    for tenths in COARSE:
        tried[tenths] = _score(parts, _with(known, tenths))
        yield
    for tenths in sorted(set(_around(max(tried, key=lambda each: tried[each]))) - set(tried)):
        tried[tenths] = _score(parts, _with(known, tenths))
        yield
    n_objects = sum(window.n_objects for window in windows)
    return _with(known, _nearest_to_usual(tried, chance / n_objects**0.5))


def _renumbered(annotation: NDArray[np.integer]) -> NDArray[np.unsignedinteger]:
    """Give objects numbers without gaps from 2 on, of the smallest type that holds them."""
    numbers, places = np.unique(annotation, return_inverse=True)
    few = np.where(numbers > BACKGROUND, np.cumsum(numbers > BACKGROUND) + BACKGROUND, numbers)
    smallest = few.astype(np.min_scalar_type(int(few.max())))
    renumbered: NDArray[np.unsignedinteger] = smallest[places].reshape(annotation.shape)
    return renumbered


def _box(inside: NDArray[np.bool_]) -> tuple[slice, ...]:
    places = [np.flatnonzero(inside.any(_others(inside.ndim, axis))) for axis in range(inside.ndim)]
    return tuple(slice(max(0, int(along[0]) - 1), int(along[-1]) + 2) for along in places)


def _others(ndim: int, axis: int) -> tuple[int, ...]:
    return tuple(other for other in range(ndim) if other != axis)


def _extents(annotation: NDArray[np.integer]) -> list[list[int]]:
    """Return the extents of each object."""
    boxes = ndimage.find_objects(annotation)[BACKGROUND:]
    return [[part.stop - part.start for part in box] for box in boxes if box]


def _goes_on(annotation: NDArray[np.integer]) -> NDArray[np.bool_]:
    """Mark the objects of a volume above or below which a pixel is unlabelled; in a plane none."""
    n_objects = int(annotation.max()) - BACKGROUND
    if annotation.ndim == 2:
        return np.zeros(n_objects, bool)
    unlabelled = annotation == 0
    beside = np.zeros(annotation.shape, bool)
    beside[1:] |= unlabelled[:-1]
    beside[:-1] |= unlabelled[1:]
    return np.bincount(annotation[beside], minlength=n_objects + FIRST)[FIRST:] > 0


def _window(annotated: Annotated, share: float, middle: Sequence[int]) -> Window:
    """Cut a share of the pixels out, around a place."""
    inside, region = [], []
    shape = annotated.objects.shape
    for size, kept, at, box in zip(shape, _kept(shape, share), middle, annotated.box, strict=True):
        start = min(max(0, at - kept // 2), size - kept)
        inside.append(slice(start, start + kept))
        region.append(slice(box.start + start, box.start + start + kept))
    return Window(tuple(region), _whole(annotated.objects[tuple(inside)]))


def _kept(shape: Sequence[int], share: float) -> list[int]:
    """Return the sizes of a part with a share of the pixels."""
    return [int(np.ceil(size * share ** (1 / len(shape)))) for size in shape]


def _middle(annotation: NDArray[np.integer]) -> list[int]:
    """Return the middle of what is painted as objects."""
    return [int(np.median(along)) for along in np.nonzero(annotation > BACKGROUND)]


def _middle_of_one(annotation: NDArray[np.integer], share: float) -> Sequence[int]:
    """Return the middle of the object nearest to that of all that is whole in such a part."""
    middle, kept = _middle(annotation), _kept(annotation.shape, share)
    boxes = [box for box in ndimage.find_objects(annotation)[BACKGROUND:] if box]
    whole = [box for box in boxes if _is_inside(box, annotation.shape) and _fits(box, kept)]
    middles = [[(part.start + part.stop) // 2 for part in box] for box in whole]
    return min(middles, key=lambda each: dist(each, middle), default=middle)


def _is_inside(box: Sequence[slice], shape: Sequence[int]) -> bool:
    return all(part.start > 0 and part.stop < size for part, size in zip(box, shape, strict=True))


def _fits(box: Sequence[slice], kept: Sequence[int]) -> bool:
    """Tell whether a box in the middle of a part touches none of its sides."""
    return all(part.stop - part.start + 2 < size for part, size in zip(box, kept, strict=True))


def _whole(annotation: NDArray[np.integer]) -> NDArray[np.integer]:
    """Return the whole objects, numbered above `IGNORED`, which is what counts neither way."""
    truth = np.where(annotation == BACKGROUND, 0, annotation)
    truth[(annotation == 0) | np.isin(truth, numbers_at_sides(truth))] = IGNORED
    return truth


def _sizes(truth: NDArray[np.integer]) -> NDArray[np.int64]:
    sizes = np.bincount(truth.ravel())[IGNORED + 1 :]
    return sizes[sizes > 0]


def _around(tenths: Tenths) -> Iterator[Tenths]:
    for foreground, core in product(*((at - 1, at, at + 1) for at in tenths)):
        yield foreground, min(max(core, 1), 9)


def _nearest_to_usual(tried: dict[Tenths, float], chance: float) -> Tenths:
    """Of the trials that are as good as the best choose the nearest to what is usual."""
    least = max(tried.values()) - chance
    alike = [tenths for tenths, score in tried.items() if score >= least]
    return min(alike, key=lambda tenths: (_away(tenths), -tried[tenths]))


def _away(tenths: Tenths) -> int:
    return sum((at - usual) ** 2 for at, usual in zip(tenths, USUAL, strict=True))


def _with(rules: ObjectRules, tenths: Tenths) -> ObjectRules:
    return replace(rules, foreground=tenths[0] / 10, core=tenths[1] / 10)


def _score(parts: Sequence[Field], rules: ObjectRules) -> float:
    overlaps = [count_overlaps(find_objects(scores, rules), truth, ignore=IGNORED) for scores, truth in parts]
    found = score_overlaps(overlaps).pooled_ap
    return fmean(found[iou] for iou in FOUND)
