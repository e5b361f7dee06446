"""The schedule: warm-up, decay, and an end that is given or found."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_unet.core.schedule import LONGEST_SECONDS, SETTLED_SECONDS, WARM_UP_STEPS, Schedule


@given(end=st.floats(0.01, 1e5), share=st.floats(0, 2), steps=st.integers(0, 10_000))
def test_the_rate_stays_between_none_and_full(end, share, steps):
    schedule = Schedule(end)
    assert 0 <= schedule.rate(share * end, steps) <= 1
    assert schedule.is_over(share * end) == (share * end >= end)
    assert 0 <= schedule.progress(share * end) <= 1


def test_the_rate_warms_up_and_then_falls_to_nothing_at_the_end():
    schedule = Schedule(1000)
    warming = [schedule.rate(0, step) for step in range(WARM_UP_STEPS)]
    assert warming[0] > 0 and warming == sorted(warming) and warming[-1] == 1
    falling = [schedule.rate(now, 10_000) for now in range(0, 1001, 100)]
    assert falling == sorted(falling, reverse=True) and falling[-1] == pytest.approx(0, abs=1e-9)


def test_without_an_end_the_rate_stays_and_nothing_is_over():
    schedule = Schedule()
    assert schedule.rate(500, 10_000) == 1
    assert schedule.progress(500) is None and not schedule.is_over(500)


def drive(schedule, score_at, seconds=10_000):
    """Record a score each second until training is over; return when that is."""
    for now in range(seconds):
        if schedule.is_over(now):
            return now
        schedule.record(now, score_at(now))
    return None


def test_a_settled_score_brings_the_end_in_sight_and_the_rate_falls_until_then():
    schedule = Schedule()
    end = drive(schedule, lambda now: min(0.9, now / 100))
    assert 90 + SETTLED_SECONDS < end < 400
    assert schedule.rate(end - 1, 10_000) < 0.1


def test_a_score_that_keeps_rising_goes_on_to_the_longest_time_and_no_longer():
    end = drive(Schedule(), lambda now: now / 10_000)
    assert end == pytest.approx(LONGEST_SECONDS, abs=2)


def test_noise_and_dips_do_not_keep_training_going():
    settled = drive(Schedule(), lambda now: 0.8 + 0.001 * (now % 3) - 0.2 * (now % 7 == 0))
    assert settled < 200


def test_without_any_score_training_goes_on_to_the_longest_time_and_no_longer():
    end = drive(Schedule(), lambda now: None)
    assert end == pytest.approx(LONGEST_SECONDS, abs=2)


def test_a_given_end_is_not_moved_by_scores():
    schedule = Schedule(500)
    assert drive(schedule, lambda now: 0.9) == 500


def test_a_restart_takes_the_end_out_of_sight_and_measures_from_there():
    schedule = Schedule()
    end = drive(schedule, lambda now: 0.9)
    schedule.restart(end - 1)
    assert schedule.end is None and schedule.rate(end - 1, 10_000) == 1
    for now in range(round(end) - 1, 1000):
        schedule.record(now, 0.1)
    assert schedule.end - (end - 1) == pytest.approx(end, abs=2)  # as long as it took from 0
    assert schedule.rate(schedule.end - 1, 10_000) < 0.1


def test_a_restart_does_not_move_a_given_end():
    schedule = Schedule(100)
    schedule.restart(90)
    assert schedule.is_over(100) and schedule.rate(50, 10_000) == 0.5


def test_new_annotations_may_lower_the_score_without_ending_training_at_once():
    schedule = Schedule()
    assert drive(schedule, lambda now: 0.9 if now < 30 else 0.1, 60) is None
