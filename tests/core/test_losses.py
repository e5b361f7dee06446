"""Losses against hand-computed values and torch's own; unlabelled pixels have no gradient."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional as F

from napari_unet.core.losses import (
    LOSSES,
    SHARE_WEIGHT,
    cross_entropy,
    dice,
    focal,
    object_loss,
    weighted_cross_entropy,
)

every_loss = pytest.mark.parametrize("loss", LOSSES.values(), ids=list(LOSSES))


def of_objects(foreground_loss):
    """The loss of objects with shares that follow from the classes."""

    def loss(logits, classes, weight):
        return object_loss(
            logits, classes, weight, torch.tensor([0.8, 0.0, 1.0])[classes % 3], foreground_loss
        )

    return loss


with_objects = pytest.mark.parametrize(
    "loss",
    [*LOSSES.values(), *map(of_objects, LOSSES.values())],
    ids=[*LOSSES, *(f"objects, {name}" for name in LOSSES)],
)


def random_case(n_classes=3, shape=(2, 5, 6), seed=0):
    """Logits, classes and weights of which a third are 0."""
    generator = torch.Generator().manual_seed(seed)
    logits = 3 * torch.randn(shape[0], n_classes, *shape[1:], generator=generator)
    classes = torch.randint(max(2, n_classes), shape, generator=generator)
    weight = torch.rand(shape, generator=generator) * (torch.rand(shape, generator=generator) > 0.33)
    return logits.requires_grad_(), classes, weight


def logits_of(*probabilities):
    """Logits (1, 2, 1, n) with these probabilities of class 1."""
    second = torch.tensor(probabilities).reshape(1, 1, 1, -1)
    return torch.log(torch.cat([1 - second, second], 1))


@every_loss
@given(n_classes=st.integers(1, 4), ndim=st.integers(2, 3), seed=st.integers(0, 9))
def test_unlabelled_pixels_have_exactly_zero_gradient(loss, n_classes, ndim, seed):
    logits, classes, weight = random_case(n_classes, (2, 5, 6, 3)[: ndim + 1], seed)
    loss(logits, torch.where(weight == 0, 255, classes), weight).backward()
    unlabelled = (weight == 0).unsqueeze(1).expand_as(logits)
    assert (logits.grad[unlabelled] == 0).all()
    assert logits.grad[~unlabelled].abs().sum() > 0


@with_objects
def test_unlabelled_pixels_change_nothing_even_where_the_network_says_nonsense(loss):
    logits, classes, weight = random_case()
    expected = loss(logits, classes, weight)
    wild = logits.detach().clone()
    wild.movedim(1, -1)[weight == 0] = torch.tensor([float("nan"), float("inf"), -float("inf")])
    wild.requires_grad_()
    found = loss(wild, torch.where(weight == 0, 255, classes), weight)
    found.backward()
    torch.testing.assert_close(found, expected)
    assert torch.isfinite(wild.grad).all() and wild.grad.any()
    assert (wild.grad.movedim(1, -1)[weight == 0] == 0).all()


@with_objects
def test_nothing_labelled_is_zero_with_a_zero_gradient(loss):
    logits, classes, weight = random_case()
    value = loss(logits, classes, torch.zeros_like(weight))
    value.backward()
    assert value == 0 and not logits.grad.any()


@every_loss
def test_one_logit_is_two_classes_whose_background_stays_at_0(loss):
    logits, classes, weight = random_case(1)
    two = torch.cat([torch.zeros_like(logits), logits], 1)
    torch.testing.assert_close(loss(logits, classes, weight), loss(two, classes, weight))


@every_loss
def test_the_loss_falls_where_the_right_class_gains(loss):
    _, classes, weight = random_case()
    right = F.one_hot(classes, 3).movedim(-1, 1).float()
    values = [float(loss(strength * right, classes, weight)) for strength in (-2, 0, 2, 20)]
    assert values == sorted(values, reverse=True)
    assert values[-1] < 0.01


@with_objects
def test_the_loss_is_finite_for_the_largest_logits(loss):
    _, classes, weight = random_case()
    logits = torch.full((2, 3, 5, 6), -1e30)
    logits[:, 0] = 1e30
    assert torch.isfinite(loss(logits.requires_grad_(), classes, weight))


def test_cross_entropy_is_torchs_own_over_the_labelled_pixels():
    logits, classes, weight = random_case()
    ignored = torch.where(weight > 0, classes, -100)
    torch.testing.assert_close(cross_entropy(logits, classes, weight), F.cross_entropy(logits, ignored))


def test_the_binary_form_is_torchs_own():
    logits, classes, weight = random_case(1)
    expected = F.binary_cross_entropy_with_logits(logits[:, 0], classes.float(), weight, reduction="sum")
    torch.testing.assert_close(weighted_cross_entropy(logits, classes, weight), expected / weight.sum())


def test_weights_weigh_by_hand():
    logits, classes = logits_of(0.5, 0.75), torch.tensor([[[1, 1]]])
    found = weighted_cross_entropy(logits, classes, torch.tensor([[[1.0, 3.0]]]))
    assert found.item() == pytest.approx((math.log(2) + 3 * math.log(4 / 3)) / 4)


def test_focal_by_hand_and_without_focus_it_is_cross_entropy():
    logits, classes, weight = logits_of(0.5, 0.9), torch.tensor([[[1, 1]]]), torch.ones(1, 1, 2)
    by_hand = (0.5**2 * math.log(2) + 0.1**2 * math.log(1 / 0.9)) / 2
    assert focal(logits, classes, weight).item() == pytest.approx(by_hand, rel=1e-5)
    case = random_case()
    torch.testing.assert_close(focal(*case, gamma=0), weighted_cross_entropy(*case))


def test_dice_by_hand():
    # class 1: overlap 0.75 + 0.5, sizes 0.75 + 0.5 + 0.25 and 2; class 0: overlap 0.75, sizes 1.5 and 1
    logits, classes = logits_of(0.75, 0.5, 0.25), torch.tensor([[[1, 1, 0]]])
    expected = 1 - ((2 * 1.25 + 1) / (3.5 + 1) + (2 * 0.75 + 1) / (2.5 + 1)) / 2
    assert dice(logits, classes, torch.ones(1, 1, 3)).item() == pytest.approx(expected)


def test_a_class_that_does_not_occur_does_not_count_in_dice():
    logits, classes = torch.randn(1, 3, 4, 4), torch.zeros(1, 4, 4, dtype=torch.int64)
    ones = torch.ones(1, 4, 4)
    probability = torch.softmax(logits, 1)[:, 0].sum()
    expected = 1 - (2 * probability + 1) / (probability + 16 + 1)
    torch.testing.assert_close(dice(logits, classes, ones), expected)


def test_the_sum_of_both_is_the_sum():
    case = random_case()
    torch.testing.assert_close(LOSSES["ce+dice"](*case), weighted_cross_entropy(*case) + dice(*case))


@with_objects
def test_losses_of_bf16_logits_are_computed_in_float32(loss):
    logits, classes, weight = random_case()
    assert loss(logits.bfloat16(), classes, weight).dtype == torch.float32


def test_the_loss_of_objects_by_hand():
    odds = torch.tensor([1.0, 1.0, 2.0])  # background, rim, core
    logits = torch.log(odds).reshape(1, 3, 1, 1).expand(1, 3, 1, 3)
    classes, core_share = torch.tensor([[[0, 1, 2]]]), torch.tensor([[[0.8, 0.25, 1.0]]])
    weight = torch.tensor([[[1.0, 1.0, 2.0]]])
    foreground = (math.log(4) + 3 * math.log(4 / 3)) / 4
    # weights between touching objects count for the foreground only
    share = (0.75 * math.log(3) + 0.25 * math.log(1.5) + math.log(1.5)) / 2
    found = object_loss(logits, classes, weight, core_share, weighted_cross_entropy)
    assert found.item() == pytest.approx(foreground + SHARE_WEIGHT * share)


@pytest.mark.parametrize("core_share", [0.0, 0.3, 0.7, 1.0])
def test_what_is_learnt_of_an_object_is_its_foreground_and_how_much_of_that_is_core(core_share):
    logits = torch.zeros(1, 3, 1, 1, requires_grad=True)
    rim, ones = torch.ones(1, 1, 1, dtype=torch.int64), torch.ones(1, 1, 1)
    optimiser = torch.optim.Adam([logits], lr=0.1)
    for _ in range(500):
        optimiser.zero_grad()
        object_loss(logits, rim, ones, core_share * ones, cross_entropy).backward()
        optimiser.step()
    background, _, core = torch.softmax(logits.detach(), 1).flatten().tolist()
    assert background == pytest.approx(0, abs=0.02)
    assert core == pytest.approx(core_share, abs=0.02)
