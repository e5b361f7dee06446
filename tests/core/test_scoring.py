"""Scores on what is held out, in windows that are quickly predicted."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_unet.core import scoring
from napari_unet.core.draining import drain
from napari_unet.core.scoring import CONTEXT, ValidationScore, score, scored_windows
from napari_unet.core.targets import UNLABELLED, Target


def target(classes):
    """A target whose image numbers its pixels, so that windows can be found again."""
    classes = np.asarray(classes, np.uint8)
    numbers = np.arange(classes.size, dtype=np.float32).reshape(1, *classes.shape)
    return Target(numbers, classes, np.zeros(classes.shape, np.float32))


def predicting(classes, n_classes):
    return saying(np.moveaxis(np.eye(n_classes, dtype=np.float32)[classes], -1, 0))


def saying(probabilities):
    def predict(image):
        yield
        return probabilities

    return predict


def test_scores_by_hand():
    truth = [[0, 0, 1, UNLABELLED], [1, 1, 0, 0]]
    found = drain(score([target(truth)], predicting(np.array([[0, 1, 1, 2], [1, 0, 0, 0]]), 3), 3))
    # class 0: 3 of 4 true and 4 found; class 1: 2 of 3 and 3; the 2 is not labelled
    assert found.dice == pytest.approx((2 * 3 / 8, 2 * 2 / 6, None))
    assert found.iou == pytest.approx((3 / 5, 2 / 4, None))
    assert found.pixel_accuracy == pytest.approx(5 / 7)
    assert found.mean_dice == pytest.approx((3 / 4 + 2 / 3) / 2)


def test_a_pixel_of_an_object_is_foreground_first_and_then_rim_or_core():
    classes = np.array([[0, 1, 2, 2]], np.uint8)
    target = Target(np.zeros((1, 1, 4), np.float32), classes, np.zeros((1, 4), np.float32))
    said = np.array([[0.6, 0.4, 0.4, 0.4], [0.3, 0.35, 0.25, 0.3], [0.1, 0.25, 0.35, 0.3]], np.float32)
    of_objects = replace(target, objects=np.array([[1, 2, 2, 2]]))
    assert drain(score([of_objects], saying(said[:, None]), 3)).dice == pytest.approx((1, 2 / 3, 2 / 3))
    assert drain(score([target], saying(said[:, None]), 3)).dice == pytest.approx((0.4, 0, 0))


def test_nothing_to_score_is_no_score_rather_than_an_error():
    found = drain(score([], predicting(np.zeros((1, 1), int), 2), 2))
    assert found == ValidationScore((None, None), (None, None), 0.0) and found.mean_dice == 0


@st.composite
def held_out(draw):
    """One to three planes or volumes with two classes, labelled here and there."""
    ndim = draw(st.integers(2, 3))
    rng = np.random.default_rng(draw(st.integers(0, 99)))
    shapes = [tuple(draw(st.integers(1, 300 if ndim == 2 else 90)) for _ in range(ndim)) for _ in range(3)]
    share = draw(st.sampled_from([1.0, 0.01]))
    return [
        target(np.where(rng.random(shape) < share, rng.integers(0, 2, shape), UNLABELLED))
        for shape in shapes[: draw(st.integers(1, 3))]
    ]


@settings(max_examples=25, deadline=None)
@given(targets=held_out(), seed=st.integers(0, 9), most=st.integers(1, 200_000))
def test_windows_are_small_few_and_hold_every_class_with_its_context(targets, seed, most):
    largest, fewest = {2: 128**2, 3: 70**3}, {2: most, 3: most}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(scoring, "MAX_WINDOW", largest)
        patch.setattr(scoring, "MAX_SCORED", fewest)
        windows = scored_windows(targets, seed)
        again = scored_windows(targets, seed)
    ndim = targets[0].classes.ndim
    classes = {int(value) for each in targets for value in np.unique(each.classes)} - {UNLABELLED}
    found = {int(value) for each in windows for value in np.unique(each.classes)} - {UNLABELLED}
    assert found == classes
    assert all(one.classes.size <= largest[ndim] for one in windows)
    # beyond the budget there is at most one window for each class
    assert sum(one.classes.size for one in windows) <= most + len(classes) * largest[ndim]
    assert [one.image.tobytes() for one in windows] == [one.image.tobytes() for one in again]
    for window in windows:
        values, numbers = window.classes, window.image[0].astype(int)
        labelled = values != UNLABELLED
        owner = next(t for t in targets if t.classes.size > numbers.max() and _is_part(t, window))
        assert (owner.classes.flat[numbers[labelled]] == values[labelled]).all()


def _is_part(whole, window):
    places = np.unravel_index(window.image[0].astype(int), whole.classes.shape)
    return all(np.ptp(at) + 1 == size for at, size in zip(places, window.classes.shape, strict=True))


def test_a_window_has_context_wherever_the_target_goes_on():
    [first, *_] = scored_windows([target(np.zeros((2000, 400)))], 0)
    labelled = (first.classes != UNLABELLED).any(1)
    assert labelled[0] and not labelled[-CONTEXT:].any() and labelled[:-CONTEXT].all()


def test_what_is_small_is_scored_as_it_is():
    targets = [target(np.zeros((300, 200))), target(np.ones((20, 20)))]
    assert [one is other for one, other in zip(scored_windows(targets, 0), targets, strict=True)] == [
        True
    ] * 2
    assert scored_windows([], 0) == ()
