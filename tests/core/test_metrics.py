import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from napari_unet.core.metrics import ClassScore, membrane_scores, score_plane, score_planes

label_pairs = hnp.array_shapes(min_dims=1, max_dims=3, max_side=6).flatmap(
    lambda shape: st.tuples(*[hnp.arrays(np.int16, shape, elements=st.integers(-2, 4))] * 2)
)


@given(label_pairs)
def test_dice_follows_from_iou_and_both_match_the_masks(pair):
    prediction, truth = pair
    scores = score_plane(prediction, truth)
    assert list(scores.classes) == np.union1d(prediction, truth).tolist()
    for value, score in scores.classes.items():
        overlap, union = (prediction == value) & (truth == value), (prediction == value) | (truth == value)
        assert score.iou == pytest.approx(overlap.sum() / union.sum())
        assert score.dice == pytest.approx(2 * score.iou / (1 + score.iou))
    assert scores.pixel_accuracy == pytest.approx((prediction == truth).mean())
    assert scores.mean_iou == pytest.approx(np.mean([score.iou for score in scores.classes.values()]))


@given(label_pairs)
def test_a_perfect_prediction_scores_one(pair):
    scores = score_plane(pair[0], pair[0])
    assert (scores.pixel_accuracy, scores.mean_dice, scores.mean_iou) == (1, 1, 1)


@given(label_pairs)
def test_scores_do_not_depend_on_which_is_the_truth(pair):
    assert score_plane(*pair) == score_plane(*pair[::-1])


def test_hand_computed_classes():
    truth = [[1, 1, 1, 1], [2, 2, 3, 3]]
    prediction = [[1, 1, 2, 2], [2, 2, 2, 9]]
    scores = score_plane(prediction, truth)
    assert scores.pixel_accuracy == 4 / 8
    assert scores.classes == {
        1: ClassScore(dice=2 * 2 / 6, iou=2 / 4),
        2: ClassScore(dice=2 * 2 / 7, iou=2 / 5),
        3: ClassScore(dice=0, iou=0),
        9: ClassScore(dice=0, iou=0),
    }
    assert scores.mean_dice == pytest.approx((4 / 6 + 4 / 7) / 4)


def test_ignored_pixels_count_nowhere_but_no_value_is_ignored_by_default():
    prediction, truth = [[1, 1, 2, 2]], [[1, 0, 0, 2]]
    assert score_plane(prediction, truth).classes[0] == ClassScore(0, 0)
    scores = score_plane(prediction, truth, ignore=0)
    assert scores.pixel_accuracy == 1 and list(scores.classes) == [1, 2]


def test_a_plane_where_everything_is_ignored_is_skipped_in_the_means():
    empty = ([[1, 2]], [[0, 0]])
    assert score_plane(*empty, ignore=0).mean_dice is None
    scores = score_planes([empty, ([[1, 1]], [[1, 2]])], ignore=0)
    assert scores.pixel_accuracy == 0.5 and scores.mean_iou == 0.25


def test_a_class_is_averaged_over_the_planes_that_have_it_in_either():
    planes = [([[1, 1]], [[1, 1]]), ([[1, 2]], [[1, 1]]), ([[2, 2]], [[2, 2]])]
    scores = score_planes(iter(planes))
    assert scores.classes[1].dice == pytest.approx((1 + 2 / 3) / 2)
    assert scores.classes[2].iou == pytest.approx((0 + 1) / 2)
    assert scores.mean_dice == pytest.approx((1 + (2 / 3 + 0) / 2 + 1) / 3)


def test_types_and_byte_orders_mix():
    truth = np.array([[1, 2, 3]], np.uint64)
    assert score_plane(truth.astype(">i2"), truth).mean_dice == 1
    assert score_plane(truth > 1, truth > 2).pixel_accuracy == pytest.approx(2 / 3)


def test_thousands_of_classes_are_scored_from_counts():
    truth = np.arange(250_000).reshape(500, 500)
    scores = score_plane(np.where(truth < 1000, truth, truth + 1), truth)
    assert len(scores.classes) == 250_001 and scores.classes[999].dice == 1 and scores.classes[1000].dice == 0


def two_cells(wall):
    """Eleven by ten pixels, 0 inside and 1 on the wall, the rows of the wall given."""
    plane = np.zeros((11, 10), np.uint8)
    plane[wall] = 1
    return plane


def test_membranes_may_be_thicker_than_the_truth_at_no_cost():
    assert membrane_scores(two_cells(slice(3, 8)), two_cells(5), 1) == (1, 0)


def test_a_merge_has_the_hand_computed_v_rand_and_vi():
    v_rand, vi = membrane_scores(two_cells(slice(0)), two_cells(5), 1)
    right, in_prediction = 2 * (50 * 49), 100 * 99
    assert v_rand == pytest.approx(2 * right / (right + in_prediction))
    assert vi == pytest.approx(1)  # which of two equal cells a pixel is in: one bit lost


def test_a_split_has_the_hand_computed_v_rand_and_vi():
    prediction = two_cells(5)
    prediction[:5, 4] = prediction[:5, 5] = 1  # the upper cell in two halves of 25 pixels
    v_rand, vi = membrane_scores(prediction, two_cells(5), 1)
    right, in_truth = 2 * (25 * 24) + 50 * 49, 2 * (50 * 49)
    assert v_rand == pytest.approx(2 * right / (right + in_truth))
    assert vi == pytest.approx(0.5)


def test_a_gap_of_one_pixel_merges():
    prediction = two_cells(5)
    prediction[5, 7] = 0
    assert membrane_scores(prediction, two_cells(5), 1) == membrane_scores(
        two_cells(slice(0)), two_cells(5), 1
    )


def test_a_prediction_that_is_all_membrane_counts_as_one_cell():
    assert membrane_scores(np.ones((11, 10), int), two_cells(5), 1)[1] == pytest.approx(1)


def test_what_is_ignored_does_not_count_for_membranes():
    truth = two_cells(5)
    truth[6:] = 7
    assert membrane_scores(two_cells(slice(0)), truth, 1, ignore=7) == (1, 0)


@pytest.mark.parametrize("truth", [np.ones((4, 4), int), np.pad([[0]], 2, constant_values=1)])
def test_without_two_pixels_to_compare_there_is_no_membrane_score(truth):
    assert membrane_scores(np.zeros(truth.shape, int), truth, 1) == (None, None)
    assert score_planes([(truth, truth)], boundary=1).v_rand is None


def test_json_holds_the_membrane_scores_where_they_are_asked_for_measured_or_not():
    plane = two_cells(5)
    without, named = score_plane(plane, plane), score_planes([(plane, plane)], boundary=1)
    assert json.loads(json.dumps(without.to_json(membranes=False))) == {
        "pixel_accuracy": 1.0,
        "mean_dice": 1.0,
        "mean_iou": 1.0,
        "classes": {"0": {"dice": 1.0, "iou": 1.0}, "1": {"dice": 1.0, "iou": 1.0}},
    }
    assert named.to_json(membranes=True) == named.to_json(membranes=False) | {"v_rand": 1.0, "vi": 0.0}
    assert without.to_json(membranes=True) == without.to_json(membranes=False) | {"v_rand": None, "vi": None}


@pytest.mark.parametrize(
    ("pair", "error", "message"),
    [
        (([[1]], [[1, 2]]), ValueError, r"\(1, 1\) and truth \(1, 2\)"),
        (([[0.5]], [[1]]), TypeError, "float64"),
        (([[2**63]], [[1]]), ValueError, "9223372036854775808"),
    ],
)
def test_what_cannot_be_scored_is_refused_by_name(pair, error, message):
    with pytest.raises(error, match=message):
        score_plane(*pair)


def test_no_plane_at_all_is_an_error():
    with pytest.raises(ValueError, match="0 planes"):
        score_planes([])
