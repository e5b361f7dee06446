"""What may take a share of the time takes no more in the long run."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_unet.core.time_budget import TimeBudget


@given(
    share=st.floats(0.01, 0.5),
    costs=st.lists(st.floats(0.001, 2.0), min_size=5, max_size=60),
    step=st.floats(0.01, 0.5),
)
def test_work_that_waits_until_it_is_allowed_takes_its_share(share, costs, step):
    budget, now, spent, last = TimeBudget(share, longest_wait=1e9), 0.0, 0.0, 0.0
    for cost in costs:
        while not budget.allows(now):
            now += step
        budget.spend(now, cost)
        now, spent, last = now + cost, spent + cost, cost
    assert spent - last <= share * now * (1 + 1e-9)


def test_work_that_does_not_ask_is_paid_back_for_a_while_only():
    budget = TimeBudget(0.1, longest_wait=20)
    for second in range(60):
        budget.spend(second, 0.9)
    assert not budget.allows(59.9 + 19) and budget.allows(59.9 + 21)


def test_nothing_is_owed_at_the_start():
    assert TimeBudget(0.1).allows(0.0)


@pytest.mark.parametrize("share", [0.05, 0.5])
def test_time_that_was_not_used_is_not_saved_up(share):
    budget = TimeBudget(share)
    budget.spend(100.0, 1.0)
    assert not budget.allows(100.0 + 0.99 / share)
