import json
import os
from pathlib import Path

import numpy as np
import pytest
import tifffile
from hypothesis import example, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import ndimage
from scipy.optimize import linear_sum_assignment
from skimage.segmentation import expand_labels

from napari_unet.core.matching import (
    THRESHOLDS,
    count_overlaps,
    score_object_images,
    score_objects,
    score_overlaps,
    sum_overlaps,
)

DATA = Path(os.environ.get("NAPARI_UNET_DATA", Path(__file__).parents[2] / "../shared/data")).resolve()
REAL = ("256x256_003cee89357d", "256x256_0280fa8f60f6", "256x256_e856511ac1c3")

label_pairs = hnp.array_shapes(min_dims=1, max_dims=3, max_side=5).flatmap(
    lambda shape: st.tuples(*[hnp.arrays(np.int16, shape, elements=st.integers(0, 4))] * 2)
)


def by_definition(prediction, truth):
    """Sets of pixels, a dense matrix of all pairs, an optimal assignment at every threshold."""
    true, predicted = (
        [set(np.flatnonzero(labels == n)) for n in np.unique(labels) if n] for labels in (truth, prediction)
    )
    iou = np.array([[len(a & b) / len(a | b) for b in predicted] for a in true])
    iou = iou.reshape(len(true), len(predicted))
    covered = np.array([[2 * len(a & b) > len(a) for b in predicted] for a in true], bool).reshape(iou.shape)
    matched = {}
    for least in THRESHOLDS:
        pairs = linear_sum_assignment(np.where(iou >= least, 1 + iou / 1000, 0), maximize=True)
        matched[least] = iou[pairs][iou[pairs] >= least]
    return matched, np.where(covered, iou, 0).sum() / max(len(true), 1), len(true), len(predicted)


def assert_agrees(prediction, truth):
    scores = score_objects(prediction, truth)
    matched, seg, n_true, n_predicted = by_definition(prediction, truth)
    assert (scores.n_true, scores.n_predicted) == (n_true, n_predicted)
    assert scores.n_matched == {iou: len(found) for iou, found in matched.items()}
    assert scores.mean_matched_iou == (
        pytest.approx(matched[0.5].mean(), rel=1e-12) if len(matched[0.5]) else None
    )
    assert scores.seg == (pytest.approx(seg, rel=1e-12) if n_true else None)
    for iou, found in matched.items():
        tp, fp, fn = len(found), n_predicted - len(found), n_true - len(found)
        assert scores.ap[iou] == (tp / (tp + fp + fn) if tp + fp + fn else 1)
        assert scores.f1[iou] == (2 * tp / (2 * tp + fp + fn) if tp + fp + fn else 1)


@given(label_pairs)
@example((np.array([1, 1, 2, 2]), np.array([1, 1, 1, 1])))
@example((np.array([1, 1, 1, 1, 0]), np.array([1, 1, 2, 2, 2])))
def test_random_labels_score_as_by_definition(pair):
    assert_agrees(*pair)


def merged(labels):
    return np.where((labels > 0) & (labels % 2 == 0), labels - 1, labels)


def halved(labels):
    return labels + np.where((labels > 0) & (np.indices(labels.shape)[1] % 16 < 8), 1000, 0)


PERTURBED = {
    "merged": merged,
    "halved": halved,
    "dilated": lambda labels: expand_labels(labels, 3),
    "eroded": lambda labels: np.where(ndimage.minimum_filter(labels, 3) == labels, labels, 0),
    "shifted": lambda labels: np.roll(labels, (2, 3), (0, 1)),
    "dropped": lambda labels: np.where(labels % 3 == 0, 0, labels),
}


@pytest.mark.parametrize("kind", PERTURBED)
@pytest.mark.parametrize("name", REAL)
def test_real_nuclei_score_as_by_definition(name, kind):
    path = DATA / "fluo2d_dsb2018" / "labels" / f"{name}.tif"
    if not path.exists():
        pytest.skip(f"no real data at {path}: set NAPARI_UNET_DATA to the folder that has it")
    truth = tifffile.imread(path).astype(np.int32)
    assert_agrees(PERTURBED[kind](truth), truth)


@given(label_pairs)
def test_a_perfect_prediction_scores_one_and_sides_may_be_swapped(pair):
    prediction, truth = pair
    assert set(score_objects(truth, truth).ap.values()) == {1}
    there, back = score_objects(prediction, truth), score_objects(truth, prediction)
    assert (there.ap, there.f1, there.mean_matched_iou) == (back.ap, back.f1, back.mean_matched_iou)


@given(label_pairs, st.sampled_from([np.uint64, np.int64, ">i8", np.uint32]))
def test_numbers_and_types_do_not_count(pair, dtype):
    prediction, truth = pair
    top = np.iinfo(dtype).max
    numbers = np.array([0, top, 7, top // 3, top - 1], dtype)
    assert score_objects(numbers[prediction], truth) == score_objects(prediction, truth)
    assert score_objects(prediction, numbers[truth], ignore=7) == score_objects(prediction, truth, ignore=2)


@given(label_pairs, st.integers(1, 4), st.sampled_from([None, 0, 3]))
def test_pieces_add_up_to_the_whole(pair, size, ignore):
    prediction, truth = pair
    cuts = [slice(start, start + size) for start in range(0, len(truth), size)]
    pieces = sum_overlaps(((prediction[cut], truth[cut]) for cut in cuts), ignore=ignore)
    whole = count_overlaps(prediction, truth, ignore=ignore)
    for name, column in vars(whole).items():
        np.testing.assert_array_equal(getattr(pieces, name), column)


def test_hand_computed_overlaps():
    truth = [[4, 4, 4, 0, 9, 9]]
    prediction = [[0, 2, 2, 2, 2, 0]]
    overlaps = count_overlaps(prediction, truth)
    assert overlaps.true.tolist() == [4, 9] and overlaps.true_sizes.tolist() == [3, 2]
    assert overlaps.predicted.tolist() == [2] and overlaps.predicted_sizes.tolist() == [4]
    assert overlaps.pairs.tolist() == [[0, 0], [1, 0]] and overlaps.n_pixels.tolist() == [2, 1]
    assert overlaps.iou.tolist() == [2 / 5, 1 / 5]


def test_of_two_halves_one_matches():
    overlaps = count_overlaps([7, 7, 8, 8, 0, 3], [1, 1, 1, 1, 2, 2])
    assert overlaps.iou.tolist() == [0.5, 0.5, 0.5]
    assert overlaps.pairs[overlaps.matches()].tolist() == [[0, 1], [1, 0]]
    assert len(overlaps.matches(0.51)) == 0


@pytest.mark.parametrize("iou", THRESHOLDS)
def test_what_has_exactly_the_iou_matches(iou):
    truth = np.ones(20, int)
    prediction = np.arange(20) < round(20 * iou)
    assert score_objects(prediction, truth).n_matched[iou] == 1


def test_seg_counts_only_what_covers_more_than_half():
    truth = np.repeat([1, 2, 3], 4)
    prediction = [1, 1, 0, 0, 2, 2, 2, 0, 2, 2, 2, 2]  # object 2 covers two true ones, object 1 just half
    assert score_objects(prediction, truth).seg == pytest.approx((0 + 3 / 8 + 4 / 7) / 3)


def test_objects_go_through_the_planes_of_a_volume():
    truth = np.ones((3, 4, 4), int)
    prediction = truth * np.arange(1, 4)[:, None, None]
    assert score_objects(prediction, truth).n_true == 1
    assert score_objects(prediction, truth).ap[0.5] == 0
    assert score_object_images(zip(prediction, truth, strict=True)).ap[0.95] == 1


def test_ignored_pixels_count_nowhere():
    scores = score_objects([1, 1, 1, 2, 2], [1, 1, 9, 9, 3], ignore=9)
    assert scores.n_true == 2 and scores.ap[0.95] == 1


def test_a_predicted_object_that_is_mostly_ignored_is_not_false_but_may_be_right():
    truth = [0, 9, 9, 0, 0, 9, 1, 1, 9, 9]
    assert score_objects([5, 5, 5, 0, 0, 0, 0, 0, 0, 0], truth, ignore=9).n_predicted == 0
    assert score_objects([5, 5, 0, 0, 0, 0, 0, 0, 0, 0], truth, ignore=9).n_predicted == 1  # just half
    assert score_objects([0, 0, 0, 0, 0, 5, 5, 5, 5, 5], truth, ignore=9).ap[0.95] == 1
    assert score_objects([0, 0, 0, 0, 0, 0, 0, 5, 5, 5], truth, ignore=9).ap[0.5] == 1


@pytest.mark.parametrize("shape", [(0, 3), (2, 3)])
def test_finding_nothing_where_there_is_nothing_is_perfect(shape):
    scores = score_objects(np.zeros(shape, int), np.zeros(shape, int))
    assert scores.ap[0.5] == scores.f1[0.5] == scores.pooled_ap[0.5] == 1
    assert (scores.mean_matched_iou, scores.count_error, scores.seg) == (None, None, None)


def test_objects_on_one_side_only_score_zero():
    missed, invented = score_objects([0, 0], [1, 2]), score_objects([1, 2], [0, 0])
    assert missed.ap[0.5] == missed.f1[0.5] == missed.seg == 0 and missed.count_error == 1
    assert invented.ap[0.5] == invented.f1[0.5] == 0 and invented.count_error is invented.seg is None


def test_images_weigh_alike_but_not_when_pooled():
    images = [([1, 0, 0, 0], [1, 0, 0, 0]), ([1, 2, 3, 4], [1, 2, 0, 0]), ([0], [0])]
    scores = score_object_images(iter(images))
    assert scores.ap[0.5] == pytest.approx((1 + 2 / 4 + 1) / 3)
    assert scores.f1[0.5] == pytest.approx((1 + 4 / 6 + 1) / 3)
    assert scores.pooled_ap[0.5] == 3 / 5
    assert (scores.n_true, scores.n_predicted, scores.n_matched[0.5]) == (3, 5, 3)
    assert scores.count_error == 0.5 and scores.seg == scores.mean_matched_iou == 1  # two images have them


def test_a_hundred_thousand_objects_need_no_matrix():
    numbers = np.arange(1, 100_001)
    assert score_objects(numbers[::-1], numbers).ap[0.95] == 1


def test_json_names_thresholds_as_they_are_written():
    found = json.loads(json.dumps(score_objects([1, 1, 0], [1, 1, 1]).to_json()))
    assert list(found["ap"]) == ["0.5", "0.55", "0.6", "0.65", "0.7", "0.75", "0.8", "0.85", "0.9", "0.95"]
    assert found["ap"]["0.65"] == found["f1"]["0.65"] == found["pooled_ap"]["0.65"] == 1
    assert found["ap"]["0.7"] == 0 and found["n_matched"]["0.65"] == 1
    assert found["mean_matched_iou"] == found["seg"] == pytest.approx(2 / 3)
    assert (found["n_true"], found["n_predicted"], found["count_error"]) == (1, 1, 0)


@pytest.mark.parametrize(
    ("pair", "error", "message"),
    [
        (([[1]], [[1, 2]]), ValueError, r"\(1, 1\) and truth \(1, 2\)"),
        (([[0.5]], [[1]]), TypeError, "float64"),
        (([[1]], [[0.5]]), TypeError, "float64"),
    ],
)
def test_what_cannot_be_compared_is_refused_by_name(pair, error, message):
    with pytest.raises(error, match=message) as raised:
        score_objects(*pair)
    assert str(raised.value)[0].islower() and not str(raised.value).endswith(".")  # it follows "Error: "


def test_nothing_at_all_is_an_error():
    with pytest.raises(ValueError, match="0 images"):
        score_object_images([])
    with pytest.raises(ValueError, match="0 images"):
        score_overlaps([])
    with pytest.raises(ValueError, match="0 pieces"):
        sum_overlaps([])


@pytest.mark.parametrize("iou", [0.49, 1.01, float("nan")])
def test_an_iou_that_leaves_partners_open_is_refused(iou):
    with pytest.raises(ValueError, match=f"{iou}.*from 0.5 to 1"):
        count_overlaps([1], [1]).matches(iou)
