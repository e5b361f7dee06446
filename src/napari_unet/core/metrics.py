"""Scores of predicted labels against true ones: Dice, IoU, pixel accuracy; V-Rand and VI for membranes."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import ndimage
from skimage.metrics import adapted_rand_error, variation_of_information
from skimage.segmentation import expand_labels


@dataclass(frozen=True)
class ClassScore:
    """How well one class is found."""

    dice: float
    iou: float


@dataclass(frozen=True)
class Scores:
    """Scores of one plane, or their means over many; None is what could not be measured.

    `v_rand` (1 is best) and `vi` (bits, 0 is best) are measured only where a boundary value is named.
    """

    pixel_accuracy: float | None
    mean_dice: float | None
    mean_iou: float | None
    classes: dict[int, ClassScore]
    v_rand: float | None = None
    vi: float | None = None

    def to_json(self, *, membranes: bool) -> dict[str, Any]:
        """Give what ``json.dumps`` takes; with `membranes` also V-Rand and VI, measured or not."""
        scores: dict[str, Any] = {
            "pixel_accuracy": self.pixel_accuracy,
            "mean_dice": self.mean_dice,
            "mean_iou": self.mean_iou,
            "classes": {str(value): {"dice": s.dice, "iou": s.iou} for value, s in self.classes.items()},
        }
        return scores | ({"v_rand": self.v_rand, "vi": self.vi} if membranes else {})


def score_planes(
    planes: Iterable[tuple[ArrayLike, ArrayLike]], *, ignore: int | None = None, boundary: int | None = None
) -> Scores:
    """Score many planes: every score is the mean of its value over the planes where it has one.

    Parameters
    ----------
    planes : iterable of (prediction, truth)
        See `score_plane`; taken one at a time.
    ignore, boundary : int, optional
        See `score_plane`.

    Raises
    ------
    ValueError
        If there is no plane, or one has a prediction of another shape than its truth.
    TypeError
        If labels are not integers.

    Examples
    --------
    >>> score_planes([([[1, 1]], [[1, 1]]), ([[1, 2]], [[2, 2]])]).classes[1]
    ClassScore(dice=0.5, iou=0.5)
    """
    return mean_scores(
        [score_plane(prediction, truth, ignore=ignore, boundary=boundary) for prediction, truth in planes]
    )


def mean_scores(scores: Sequence[Scores]) -> Scores:
    """Average the scores of planes: every one is the mean of its value over the planes where it has one.

    Raises
    ------
    ValueError
        If there is no plane.

    Examples
    --------
    >>> mean_scores([score_plane([1, 1], [1, 1]), score_plane([1, 2], [2, 2])]).pixel_accuracy
    0.75
    """
    if not scores:
        raise ValueError("there are 0 planes to score: give at least one prediction with its truth")
    return Scores(
        pixel_accuracy=_mean(one.pixel_accuracy for one in scores),
        mean_dice=_mean(one.mean_dice for one in scores),
        mean_iou=_mean(one.mean_iou for one in scores),
        classes=_mean_classes(scores),
        v_rand=_mean(one.v_rand for one in scores),
        vi=_mean(one.vi for one in scores),
    )


def score_plane(
    prediction: ArrayLike, truth: ArrayLike, *, ignore: int | None = None, boundary: int | None = None
) -> Scores:
    """Score one plane (or one volume, as a whole).

    Parameters
    ----------
    prediction, truth : arrays of int or bool, of one shape
        Every value that occurs in either is a class.
    ignore : int, optional
        True value whose pixels count nowhere.
    boundary : int, optional
        Value of the membranes in both arrays: adds V-Rand and VI, see `membrane_scores`.

    Returns
    -------
    Scores
        With one `ClassScore` per class, in ascending order; the means are over these.

    Raises
    ------
    ValueError
        If the shapes differ.
    TypeError
        If labels are not integers.

    Examples
    --------
    >>> scores = score_plane([[1, 1, 2, 2]], [[1, 2, 2, 2]])
    >>> scores.pixel_accuracy, scores.classes[2]
    (0.75, ClassScore(dice=0.8, iou=0.6666666666666666))
    """
    predicted, true = _labels(prediction), _labels(truth)
    if predicted.shape != true.shape:
        raise ValueError(
            f"prediction {predicted.shape} and truth {true.shape} differ: give arrays of one shape"
        )
    counted = slice(None) if ignore is None else true != ignore
    classes, accuracy = _class_scores(predicted[counted].ravel(), true[counted].ravel())
    v_rand, vi = (
        (None, None) if boundary is None else membrane_scores(predicted, true, boundary, ignore=ignore)
    )
    return Scores(
        pixel_accuracy=accuracy,
        mean_dice=_mean(one.dice for one in classes.values()),
        mean_iou=_mean(one.iou for one in classes.values()),
        classes=classes,
        v_rand=v_rand,
        vi=vi,
    )


def membrane_scores(
    prediction: ArrayLike, truth: ArrayLike, boundary: int, *, ignore: int | None = None
) -> tuple[float | None, float | None]:
    """V-Rand and variation of information, as for the membranes of the ISBI 2012 challenge.

    Compared are the face-connected components of what is not boundary. The width of predicted membranes
    does not count: they are thinned to the line halfway between the components. Pixels that are membrane in
    the truth are left out.

    Parameters
    ----------
    prediction, truth : arrays of int, of one shape
    boundary : value of the membranes in both
    ignore : value of true pixels that are left out as well

    Returns
    -------
    v_rand : float or None
        F-score of precision and recall over pairs of pixels; 1 is best.
    vi : float or None
        Sum of both conditional entropies, in bits; 0 is best. Both are None where no two pixels are left.

    References
    ----------
    Arganda-Carreras et al. 2015, "Crowdsourcing the creation of image segmentation algorithms for
    connectomics", doi:10.3389/fnana.2015.00142.

    Examples
    --------
    >>> v_rand, vi = membrane_scores([[0, 0, 0, 0, 0, 0]], [[0, 0, 1, 0, 0, 0]], boundary=1)
    >>> round(v_rand, 3), round(vi, 3)  # both cells in one: 4 of 10 pairs are right
    (0.571, 0.971)
    """
    true, _ = ndimage.label(np.asarray(truth) != boundary)
    predicted, n_predicted = ndimage.label(np.asarray(prediction) != boundary)
    if n_predicted:
        predicted = expand_labels(predicted, distance=np.inf)  # type: ignore[no-untyped-call]
    counted = true != 0 if ignore is None else (true != 0) & (np.asarray(truth) != ignore)
    true, predicted = true[counted], predicted[counted]
    if not _has_pairs(true) or not _has_pairs(predicted):
        return None, None
    error, _, _ = adapted_rand_error(true, predicted, ignore_labels=())  # type: ignore[no-untyped-call]
    entropies = variation_of_information(true, predicted)  # type: ignore[no-untyped-call]
    return 1 - float(error), max(0.0, float(entropies.sum()))


def _has_pairs(components: NDArray[np.integer]) -> bool:
    """Say whether two pixels share a component: without that, no pair can be right or wrong."""
    return bool(np.bincount(components).max(initial=0) > 1)


def _class_scores(
    predicted: NDArray[np.int64], true: NDArray[np.int64]
) -> tuple[dict[int, ClassScore], float | None]:
    """Score each class and all pixels from counts: thousands of values cost no more than two."""
    values, index = np.unique(np.concatenate([predicted, true]), return_inverse=True)
    in_prediction, in_truth = np.split(index, 2)
    right = in_prediction == in_truth
    both = np.bincount(in_prediction[right], minlength=len(values))
    either = np.bincount(index, minlength=len(values))
    scores = {
        value: ClassScore(dice=2 * n_both / n_either, iou=n_both / (n_either - n_both))
        for value, n_both, n_either in zip(values.tolist(), both.tolist(), either.tolist(), strict=True)
    }
    return scores, float(right.mean()) if right.size else None


def _labels(labels: ArrayLike) -> NDArray[np.int64]:
    array = np.asarray(labels)
    if array.dtype.kind not in "biu":
        raise TypeError(f"labels of type {array.dtype} are not integers: give labels, not probabilities")
    if array.dtype.kind == "u" and array.max(initial=0) > np.iinfo(np.int64).max:
        raise ValueError(f"label {array.max()} is above 2**63 - 1: number the labels anew")
    return array.astype(np.int64)  # one type for both: int64 and uint64 would meet as float64


def _mean(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return fmean(known) if known else None


def _mean_classes(scores: Sequence[Scores]) -> dict[int, ClassScore]:
    found: dict[int, list[ClassScore]] = {}
    for one in scores:
        for value, score in one.classes.items():
            found.setdefault(value, []).append(score)
    return {
        value: ClassScore(dice=fmean(s.dice for s in found[value]), iou=fmean(s.iou for s in found[value]))
        for value in sorted(found)
    }
