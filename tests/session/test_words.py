from dataclasses import dataclass, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_unet.core.scoring import ValidationScore
from napari_unet.core.targets import ClassLabel
from napari_unet.core.validation import HoldoutSummary
from napari_unet.session.words import differences, scored_on, verdict

PAINTED = {"background": 100, "nucleus": 20}


def scores(*dice):
    """A history in which each score has these values of Dice, one per class."""
    return [(10 * n, ValidationScore(tuple(d), tuple(d), 0.9)) for n, d in enumerate(dice)]


def even(*means):
    return scores(*((mean, mean) for mean in means))


def test_before_training_it_says_what_to_do():
    assert verdict([], PAINTED, "idle") == "not trained yet: press Train"
    two = "paint at least two classes, background being one of them"
    assert verdict([], {"background": 100, "nucleus": 0}, "idle") == f"not trained yet: {two}"
    assert verdict([], {}, "idle") == f"not trained yet: {two}"


def test_strokes_that_were_erased_while_training_are_asked_for():
    assert verdict([], {"background": 9, "nucleus": 0}, "training").startswith("paint at least two classes")


def test_the_first_minutes_read_well():
    assert verdict([], PAINTED, "training") == "starting"
    assert verdict(even(0.2), PAINTED, "training") == "improving"
    assert verdict(even(0.2, 0.4, 0.5, 0.6, 0.65, 0.7), PAINTED, "training") == "improving"


def test_a_score_that_stands_still_is_told_with_a_remedy():
    words = verdict(even(*[0.6] * 12), PAINTED, "training")
    assert words == "hardly improving: paint where the mask is wrong"


def test_a_few_even_scores_at_the_start_are_no_trend():
    assert verdict(even(*[0.6] * 8), PAINTED, "training") == "improving"


def test_a_perfect_score_on_a_few_strokes_sends_the_eye_elsewhere():
    words = verdict(even(*[1.0] * 12), PAINTED, "training")
    assert words == "held-out score is high: check other slices"


def test_the_end_is_announced_and_told():
    good = even(*[0.9] * 6)
    assert verdict(good, PAINTED, "training", is_ending=True) == "settling: nearly done"
    assert verdict(good, PAINTED, "settled") == "settled: it is good enough to segment"


def test_a_low_score_is_never_called_good_enough():
    assert verdict(even(*[0.4] * 6), PAINTED, "settled").startswith("settled at a low score")


def test_a_class_without_strokes_is_named():
    painted = {**PAINTED, "membrane": 0}
    assert verdict([], painted, "training") == "needs strokes of membrane"
    assert verdict(even(0.9), painted, "settled") == "needs strokes of membrane"


def test_a_class_that_stays_low_while_others_are_high_is_named():
    assert verdict(scores(*[(0.9, 0.3)] * 3), PAINTED, "training") == "needs strokes of nucleus"
    assert verdict(scores((0.9, 0.3), (0.9, 0.6), (0.9, 0.3)), PAINTED, "training") == "improving"
    assert verdict(scores(*[(0.9, 0.3)] * 2), PAINTED, "training") == "improving"
    assert verdict(scores(*[(0.4, 0.3)] * 3), PAINTED, "training") == "improving"


def test_a_class_that_cannot_be_scored_is_not_blamed():
    assert verdict(scores(*[(0.9, None)] * 3), PAINTED, "training") == "improving"


def test_scores_of_other_classes_do_not_count():
    painted = {**PAINTED, "membrane": 5}
    assert verdict(scores(*[(0.9, 0.3)] * 3), painted, "training") == "improving"


def held_out(n_places, *planes):
    return HoldoutSummary("in some way", n_places, planes)


def test_a_score_that_is_too_good_to_be_true_says_so():
    assert "measured on training data" in verdict(even(0.9), PAINTED, "settled", holdout=held_out(0))
    assert "optimistic" not in verdict([], PAINTED, "training", holdout=held_out(0))
    assert "optimistic" not in verdict(even(0.9), PAINTED, "settled", holdout=held_out(2))
    assert "may be optimistic: measured in 2 places only" in verdict(
        even(0.99), PAINTED, "settled", holdout=held_out(2)
    )
    assert "optimistic" not in verdict(even(0.99), PAINTED, "settled", holdout=held_out(3))


def test_it_is_said_what_the_score_is_measured_on():
    places = held_out(4, ("a", (3,)), ("b", ()), ("a", (5,)))
    assert scored_on(places, {"a": "cells", "b": "nuclei"}) == (
        "The score is measured in 4 places held out of training: cells (slice 3 · 5); nuclei."
    )
    many = held_out(1, *(("a", (0, z)) for z in range(9)))
    assert "in 1 place held" in scored_on(many, {}) and "0, 5 and 3 more)" in scored_on(many, {})
    assert scored_on(None, {}) == scored_on(held_out(0, ("a", ())), {}) == ""


@pytest.mark.parametrize(("phase", "word"), [("paused", "Resume"), ("stopping", ""), ("preparing", "")])
def test_what_the_user_asked_for_comes_first(phase, word):
    words = verdict(even(0.1), {}, phase)
    assert words.startswith(phase)
    assert word in words


def test_a_stopped_training_can_go_on():
    assert verdict(even(0.8), PAINTED, "idle") == "stopped: press Train to go on"


@dataclass
class AnyScore:
    dice: tuple
    mean_dice: float


@given(
    st.lists(st.builds(AnyScore, st.tuples(st.none() | st.floats(0, 1), st.floats(0, 1)), st.floats(0, 1))),
    st.dictionaries(st.text(min_size=1), st.integers(0, 3), max_size=4),
    st.sampled_from(["idle", "preparing", "training", "paused", "stopping", "settled"]),
    st.booleans(),
)
def test_there_is_always_something_to_say(history, painted, phase, is_ending):
    words = verdict(list(enumerate(history)), painted, phase, is_ending=is_ending)
    assert words and "\n" not in words


def test_a_loaded_model_is_ready_to_segment_and_a_stopped_one_to_go_on():
    loaded = "loaded: segment with it, or paint and train it further"
    assert verdict([], {}, "idle", is_loaded=True) == loaded
    assert verdict([], PAINTED, "idle", n_steps=3, is_loaded=True) == "stopped: press Train to go on"


def test_classes_that_are_not_the_same_are_told():
    ground, cell = ClassLabel(1, 0, "ground"), ClassLabel(2, 2, "cell")
    assert differences([ground, cell], [ground, replace(cell, output_value=255)]) == ""
    assert differences([ground], [ground, cell]) == "; it does not know cell yet: train it further"
    words = "; trained further it will forget cell, which is no class here"
    assert differences([ground, cell], [ground]) == words
    words = "; cell of the model is nucleus here: rename to go on with it, else training starts it anew"
    assert differences([ground, cell], [ground, replace(cell, name="nucleus")]) == words
