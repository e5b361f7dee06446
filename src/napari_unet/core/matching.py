"""Objects against true objects: which overlap, which match, and the scores that follow.

Overlaps are counted as a table of the pairs that share pixels, never as a matrix of all pairs, and pieces of
a volume add up: memory grows with the number of objects.
"""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from statistics import fmean
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

Pair = tuple[ArrayLike, ArrayLike]
"""(prediction, truth), of one shape."""

THRESHOLDS = (0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95)
"""IoU from which a predicted object counts as found."""


@dataclass(frozen=True, eq=False)
class Overlaps:
    """Which predicted and true objects share pixels; made by `count_overlaps` or `sum_overlaps`.

    Parameters
    ----------
    true, predicted : ndarray of int, (n_true,) and (n_predicted,)
        Numbers of the objects, ascending.
    true_sizes, predicted_sizes : ndarray of int64, (n_true,) and (n_predicted,)
        Their pixels.
    pairs : ndarray of int64, (n_pairs, 2)
        Places in `true` and in `predicted` of the objects that share pixels, ascending.
    n_pixels : ndarray of int64, (n_pairs,)
        How many pixels each pair shares.
    """

    true: NDArray[np.integer]
    predicted: NDArray[np.integer]
    true_sizes: NDArray[np.int64]
    predicted_sizes: NDArray[np.int64]
    pairs: NDArray[np.int64]
    n_pixels: NDArray[np.int64]

    @property
    def iou(self) -> NDArray[np.float64]:
        """Intersection over union of each pair, (n_pairs,)."""
        both = self.true_sizes[self.pairs[:, 0]] + self.predicted_sizes[self.pairs[:, 1]]
        return np.asarray(self.n_pixels / (both - self.n_pixels), np.float64)

    def matches(self, least_iou: float = 0.5) -> NDArray[np.int64]:
        """Match objects one to one, as many as there can be with the largest sum of IoU.

        Above an IoU of 0.5 no object has two partners. At 0.5 it may: two halves of it that are all its
        pixels, and being inside it they have no other partner. Either is as good; the first is taken.

        Parameters
        ----------
        least_iou : float
            From 0.5 to 1; what has exactly this IoU matches.

        Returns
        -------
        ndarray of int64, (n_matches,)
            Places in `pairs`, ascending.

        Raises
        ------
        ValueError
            If `least_iou` is outside its range.

        Examples
        --------
        >>> overlaps = count_overlaps([[7, 7, 8, 8]], [[1, 1, 1, 1]])
        >>> overlaps.predicted[overlaps.pairs[overlaps.matches()][:, 1]].tolist()
        [7]
        """
        if not 0.5 <= least_iou <= 1:
            raise ValueError(f"an IoU of {least_iou} cannot decide what matches: give one from 0.5 to 1")
        places = np.flatnonzero(self.iou >= least_iou)
        for side in (0, 1):
            _, first = np.unique(self.pairs[places, side], return_index=True)
            places = np.sort(places[first])
        return places


@dataclass(frozen=True)
class ObjectScores:
    """How well objects are found in one image, or the means over many; None is what could not be measured.

    Parameters
    ----------
    ap, f1 : dict of float to float
        For each IoU of `THRESHOLDS`: TP / (TP + FP + FN) and 2 TP / (2 TP + FP + FN) of the objects that
        match. 1 where there is no object and none is predicted, 0 where there are objects on one side only.
    n_matched : dict of float to int
        For each IoU: objects that match; summed over images.
    n_true, n_predicted : int
        Objects; summed over images.
    mean_matched_iou : float or None
        Of the objects that match at an IoU of 0.5.
    count_error : float or None
        Difference of the two counts over the true one, without its sign.
    seg : float or None
        Mean over true objects of their IoU with the predicted object that covers more than half of them, 0
        where none does, as the Cell Tracking Challenge has it.
    """

    ap: dict[float, float]
    f1: dict[float, float]
    n_matched: dict[float, int]
    n_true: int
    n_predicted: int
    mean_matched_iou: float | None
    count_error: float | None
    seg: float | None

    @property
    def pooled_ap(self) -> dict[float, float]:
        """AP of the objects of all images taken together: every object weighs alike, not every image."""
        n_objects = self.n_true + self.n_predicted
        return {iou: _share(n, n_objects - n) for iou, n in self.n_matched.items()}

    def to_json(self) -> dict[str, Any]:
        """Give what ``json.dumps`` takes."""
        scores = asdict(self) | {"pooled_ap": self.pooled_ap}
        return {
            name: {f"{iou:.2g}": one for iou, one in value.items()} if isinstance(value, dict) else value
            for name, value in scores.items()
        }


def count_overlaps(prediction: ArrayLike, truth: ArrayLike, *, ignore: int | None = None) -> Overlaps:
    """Count which objects share how many pixels.

    Parameters
    ----------
    prediction, truth : arrays of int or bool, of one shape
        Any number of dimensions; 0 is background, every other value is one object.
    ignore : int, optional
        True value whose pixels count nowhere. A predicted object with more than half of its pixels there is
        left out, unless it covers at least half of a true object.

    Raises
    ------
    ValueError
        If the shapes differ.
    TypeError
        If labels are not integers.

    Examples
    --------
    >>> overlaps = count_overlaps([[0, 5, 5, 5]], [[2, 2, 2, 0]])
    >>> overlaps.true, overlaps.predicted, overlaps.n_pixels, overlaps.iou
    (array([2]), array([5]), array([2]), array([0.5]))
    """
    return sum_overlaps([(prediction, truth)], ignore=ignore)


def sum_overlaps(pieces: Iterable[Pair], *, ignore: int | None = None) -> Overlaps:
    """Count overlaps of objects that reach over several pieces, such as the planes of a volume.

    Parameters
    ----------
    pieces : iterable of (prediction, truth)
        Disjoint parts of the same two label images; taken one at a time. See `count_overlaps`.
    ignore : int, optional
        See `count_overlaps`.

    Returns
    -------
    Overlaps
        The same as of the whole at once.

    Raises
    ------
    ValueError
        If there is no piece; see also `count_overlaps`.

    Examples
    --------
    >>> sum_overlaps([([[5, 5]], [[2, 2]]), ([[5, 5]], [[2, 0]])]).iou
    array([0.75])
    """
    tables: list[_Table] = []
    n_summed = 0
    for prediction, truth in pieces:
        tables.append(_tabulate(prediction, truth))
        if sum(len(table.true) for table in tables) > 2 * n_summed:  # so that each row is sorted a few times
            tables = [_sum(tables)]
            n_summed = len(tables[0].true)
    if not tables:
        raise ValueError("there are 0 pieces to compare: give at least one prediction with its truth")
    table = _sum(tables)
    return _arrange(table if ignore is None else _leave_out(table, ignore))


def score_overlaps(images: Iterable[Overlaps]) -> ObjectScores:
    """Score the objects of many images: counts are summed, scores are means over the images that have one.

    Raises
    ------
    ValueError
        If there is no image.

    Examples
    --------
    >>> images = [count_overlaps([1, 1, 0], [1, 1, 1]), count_overlaps([0, 0], [0, 1])]
    >>> scores = score_overlaps(images)
    >>> scores.ap[0.5], scores.ap[0.95], scores.seg
    (0.5, 0.0, 0.3333333333333333)
    """
    scores = [_score(overlaps) for overlaps in images]
    if not scores:
        raise ValueError("there are 0 images to score: give at least one prediction with its truth")
    return ObjectScores(
        ap={iou: fmean(one.ap[iou] for one in scores) for iou in THRESHOLDS},
        f1={iou: fmean(one.f1[iou] for one in scores) for iou in THRESHOLDS},
        n_matched={iou: sum(one.n_matched[iou] for one in scores) for iou in THRESHOLDS},
        n_true=sum(one.n_true for one in scores),
        n_predicted=sum(one.n_predicted for one in scores),
        mean_matched_iou=_mean(one.mean_matched_iou for one in scores),
        count_error=_mean(one.count_error for one in scores),
        seg=_mean(one.seg for one in scores),
    )


def score_objects(prediction: ArrayLike, truth: ArrayLike, *, ignore: int | None = None) -> ObjectScores:
    """Score the objects of one image or one volume; takes and raises what `count_overlaps` does.

    Examples
    --------
    >>> scores = score_objects([[1, 1, 1, 0, 5]], [[3, 3, 3, 3, 0]])
    >>> scores.ap[0.75], scores.f1[0.75], scores.ap[0.8], scores.n_predicted
    (0.5, 0.6666666666666666, 0.0, 2)
    """
    return score_overlaps([count_overlaps(prediction, truth, ignore=ignore)])


def score_object_images(pairs: Iterable[Pair], *, ignore: int | None = None) -> ObjectScores:
    """Score the objects of many images, taken one at a time; see `score_objects` and `score_overlaps`.

    Examples
    --------
    >>> scores = score_object_images([([1, 0], [1, 0]), ([1, 2], [1, 1])])
    >>> scores.ap[0.5], scores.pooled_ap[0.5]
    (0.75, 0.6666666666666666)
    """
    return score_overlaps(count_overlaps(*pair, ignore=ignore) for pair in pairs)


class _Table(NamedTuple):
    """Pixels of each pair of values, the background's among them; three columns of one length."""

    true: NDArray[Any]
    predicted: NDArray[Any]
    n_pixels: NDArray[np.int64]


def _tabulate(prediction: ArrayLike, truth: ArrayLike) -> _Table:
    """Sum runs of equal pairs: neighbours are mostly alike, so there is little left to sort."""
    predicted, true = _labels(prediction), _labels(truth)
    if predicted.shape != true.shape:
        raise ValueError(
            f"prediction {predicted.shape} and truth {true.shape} differ: give arrays of one shape"
        )
    predicted, true = predicted.ravel(), true.ravel()
    starts = _starts(true, predicted)
    return _sum([_Table(true[starts], predicted[starts], np.diff(starts, append=true.size))])


def _labels(labels: ArrayLike) -> NDArray[Any]:
    array = np.asarray(labels)
    if array.dtype.kind not in "biu":
        raise TypeError(
            f"labels of type {array.dtype} are no integers: give arrays of objects, neither probabilities "
            "nor files that are open"
        )
    return array


def _starts(true: NDArray[Any], predicted: NDArray[Any]) -> NDArray[np.int64]:
    """Find where another pair of values begins."""
    begins = np.ones(true.size, bool)
    begins[1:] = (true[1:] != true[:-1]) | (predicted[1:] != predicted[:-1])
    return np.flatnonzero(begins)


def _sum(tables: Sequence[_Table]) -> _Table:
    """Give each pair one row, ascending."""
    columns = _Table(*map(np.concatenate, zip(*tables, strict=True)))
    order = np.lexsort((columns.predicted, columns.true))
    true, predicted, n_pixels = (column[order] for column in columns)
    starts = _starts(true, predicted)
    return _Table(true[starts], predicted[starts], np.add.reduceat(n_pixels, starts))


def _leave_out(table: _Table, ignore: int) -> _Table:
    """Leave out ignored pixels, and predicted objects of which these are more than half."""
    counted = table.true != ignore
    _, true_places = np.unique(table.true, return_inverse=True)
    true_sizes = np.bincount(true_places, table.n_pixels)
    covers_half = counted & (table.true != 0) & (2 * table.n_pixels >= true_sizes[true_places])
    _, places = np.unique(table.predicted, return_inverse=True)
    unknown = np.bincount(places, np.where(counted, -table.n_pixels, table.n_pixels)) > 0
    unknown[places[covers_half]] = False
    predicted = np.where(unknown[places], 0, table.predicted)
    return _Table(table.true[counted], predicted[counted], table.n_pixels[counted])


def _arrange(table: _Table) -> Overlaps:
    true, true_sizes = _objects(table.true, table.n_pixels)
    predicted, predicted_sizes = _objects(table.predicted, table.n_pixels)
    both = (table.true != 0) & (table.predicted != 0)
    places = np.searchsorted(true, table.true[both]), np.searchsorted(predicted, table.predicted[both])
    pairs = np.stack(places, axis=1)
    return Overlaps(true, predicted, true_sizes, predicted_sizes, pairs, table.n_pixels[both])


def _objects(values: NDArray[Any], n_pixels: NDArray[np.int64]) -> tuple[NDArray[Any], NDArray[np.int64]]:
    """Numbers of the objects, ascending, and their pixels."""
    numbers, places = np.unique(values[values != 0], return_inverse=True)
    return numbers, np.bincount(places, n_pixels[values != 0]).astype(np.int64)


def _score(overlaps: Overlaps) -> ObjectScores:
    n_true, n_predicted = len(overlaps.true), len(overlaps.predicted)
    ious = overlaps.iou[overlaps.matches()]
    covered = 2 * overlaps.n_pixels > overlaps.true_sizes[overlaps.pairs[:, 0]]
    n_matched = {iou: int((ious >= iou).sum()) for iou in THRESHOLDS}
    return ObjectScores(
        ap={iou: _share(n, n_true + n_predicted - n) for iou, n in n_matched.items()},
        f1={iou: _share(2 * n, n_true + n_predicted) for iou, n in n_matched.items()},
        n_matched=n_matched,
        n_true=n_true,
        n_predicted=n_predicted,
        mean_matched_iou=float(ious.mean()) if ious.size else None,
        count_error=abs(n_predicted - n_true) / n_true if n_true else None,
        seg=float(overlaps.iou[covered].sum()) / n_true if n_true else None,
    )


def _share(part: int, whole: int) -> float:
    return part / whole if whole else 1.0


def _mean(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return fmean(known) if known else None
