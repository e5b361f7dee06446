"""A learner: steps, the average of the weights, and the way back from what is not finite."""

import subprocess
import sys
from copy import deepcopy
from dataclasses import replace
from math import isfinite

import pytest
import torch
from torch import nn

from napari_unet.core.batches import Batch
from napari_unet.core.learner import Learner
from napari_unet.core.losses import cross_entropy_dice
from napari_unet.core.networks.unet import UNet, UNetConfig


@pytest.fixture
def learner():
    torch.manual_seed(0)
    return Learner(UNet(UNetConfig(width=2, depth=1)), cross_entropy_dice, torch.float32)


@pytest.fixture
def batch():
    images = torch.randn(2, 1, 16, 16, generator=torch.Generator().manual_seed(0))
    classes = (images[:, 0] > 0).long()
    return Batch(images, classes, torch.ones(2, 16, 16))


def broken(value):
    """A loss of that value, with gradients."""
    return lambda logits, classes, weight: logits.sum() * 0 + value


def weights(network: nn.Module):
    return {name: value.clone() for name, value in network.state_dict().items()}


def same(one, other):
    return all(torch.equal(one[name], other[name]) for name in one)


def test_the_loss_falls(learner, batch):
    losses = [learner.learn(batch, 0.02) for _ in range(60)]
    assert losses[-1] < losses[0] / 2


def test_how_much_of_an_object_is_core_is_learnt(batch):
    torch.manual_seed(0)
    learner = Learner(UNet(UNetConfig(width=2, depth=1, n_classes=3)), cross_entropy_dice, torch.float32)
    whole = replace(batch, classes=torch.ones_like(batch.classes), core_share=batch.classes.float())
    for _ in range(150):
        learner.learn(whole, 0.02)
    core = learner.average(batch.images).softmax(1)[:, 2]
    assert core[batch.classes == 1].mean() > core[batch.classes == 0].mean() + 0.5


def test_a_rate_of_nothing_changes_no_weight(learner, batch):
    before = [value.clone() for value in learner.network.parameters()]
    learner.learn(batch, 0.0)
    assert all(torch.equal(old, new) for old, new in zip(before, learner.network.parameters(), strict=True))


def test_the_average_follows_the_network_and_is_its_own(learner, batch):
    for _ in range(30):
        learner.learn(batch, 0.01)
    network, average = dict(learner.network.named_parameters()), dict(learner.average.named_parameters())
    distances = [(network[name] - average[name]).abs().max().item() for name in network]
    assert 0 < max(distances) < 1
    for _ in range(400):
        learner.learn(batch, 0.0)
    for name, value in network.items():
        torch.testing.assert_close(average[name], value, atol=1e-3, rtol=1e-2)
    assert not any(value.requires_grad for value in average.values())


def test_the_average_has_forgotten_the_random_start_after_some_steps(learner, batch):
    """The start is far away: what stays of it would be seen."""
    with torch.no_grad():
        learner.average.head.bias.fill_(1000.0)
    for _ in range(60):
        learner.learn(batch, 0.0)
    assert learner.average.head.bias.abs().max() < 20


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_a_loss_that_is_not_finite_changes_no_weight(value, learner, batch):
    before, average = [p.clone() for p in learner.network.parameters()], weights(learner.average)
    learner._loss = broken(value)
    assert not torch.isfinite(torch.tensor(learner.learn(batch, 0.01)))
    assert all(torch.equal(old, new) for old, new in zip(before, learner.network.parameters(), strict=True))
    assert same(average, learner.average.state_dict())


def test_a_gradient_that_is_not_finite_is_reported_and_changes_no_weight(learner, batch):
    before = [p.clone() for p in learner.network.parameters()]
    # the square root has an infinite slope at 0
    learner._loss = lambda logits, classes, weight: (logits * 0).abs().sqrt().sum()
    assert not torch.isfinite(torch.tensor(learner.learn(batch, 0.01)))
    assert all(torch.equal(old, new) for old, new in zip(before, learner.network.parameters(), strict=True))


def test_going_back_restores_what_was_remembered(learner, batch):
    learner.learn(batch, 0.01)
    learner.remember()
    good = learner.snapshot()
    for _ in range(3):
        learner.learn(batch, 0.01)
    learner.go_back()
    assert same(good, learner.network.state_dict()) and same(good, learner.average.state_dict())


def test_weights_that_are_not_finite_are_never_remembered(learner, batch):
    good = learner.snapshot()
    with torch.no_grad():
        learner.average.head.bias.fill_(float("nan"))
    learner.remember()
    learner.go_back()
    assert same(good, learner.average.state_dict())


def test_a_huge_gradient_is_clipped(learner, batch):
    before = [p.clone() for p in learner.network.parameters()]
    learner._loss = lambda *case: 1e6 * cross_entropy_dice(*case)
    learner.learn(batch, 0.01)
    assert nn.utils.get_total_norm([p.grad for p in learner.network.parameters()]) < 6
    changes = [(new - old).abs().max() for old, new in zip(before, learner.network.parameters(), strict=True)]
    assert max(changes) < 0.02


def test_bf16_activations_train_float32_weights(batch):
    torch.manual_seed(0)
    learner = Learner(UNet(UNetConfig(width=2, depth=1)), cross_entropy_dice, torch.bfloat16)
    first = learner.learn(batch, 0.02)
    assert [learner.learn(batch, 0.02) for _ in range(40)][-1] < first
    assert {value.dtype for value in learner.network.parameters()} == {torch.float32}


@pytest.mark.parametrize("n_planes", [2, 4, 8])
def test_gradients_of_thin_volumes_are_those_of_full_precision(n_planes):
    """The bf16 gradient of a 3D convolution over two planes is undefined on some processors."""
    torch.manual_seed(0)
    network = UNet(UNetConfig(ndim=3, width=16, depth=2))
    images = torch.randn(2, 1, n_planes, 16, 16)
    classes = torch.randint(0, 2, (2, n_planes, 16, 16))
    batch = Batch(images, classes, torch.ones(classes.shape))
    gradients = []
    for precision in (torch.float32, torch.bfloat16):
        learner = Learner(deepcopy(network), cross_entropy_dice, precision)
        assert isfinite(learner.learn(batch, 0.0))
        gradients.append(torch.cat([p.grad.flatten() for p in learner.network.parameters()]))
    difference = (gradients[0] - gradients[1]).norm() / gradients[0].norm()
    assert difference < 0.2


def test_a_copy_is_the_average_and_can_be_trained(learner, batch):
    learner.learn(batch, 0.01)
    copy = learner.copy()
    assert same(weights(copy), weights(learner.average))
    assert all(weight.requires_grad for weight in copy.parameters())
    learner.learn(batch, 0.01)
    assert not same(weights(copy), weights(learner.average))


def test_a_copy_of_what_is_not_finite_is_the_last_good_one(learner, batch):
    learner.learn(batch, 0.01)
    good = learner.remember()
    next(learner.average.parameters()).fill_(float("nan"))
    assert same(weights(learner.copy()), good)


def test_going_on_keeps_the_moments_and_takes_another_loss(learner, batch):
    learner.learn(batch, 0.01)
    moments = [state["exp_avg"].clone() for state in learner._optimiser.state.values()]
    learner.go_on(broken(7.0), torch.float32)
    kept = [state["exp_avg"] for state in learner._optimiser.state.values()]
    assert all(torch.equal(old, new) for old, new in zip(moments, kept, strict=True))
    assert learner.learn(batch, 0.01) == 7.0 and learner.steps == 2


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU")
def test_going_on_follows_the_network_to_another_device(learner, batch):
    learner.learn(batch, 0.01)
    learner.network.to("cuda")
    learner.go_on(cross_entropy_dice, torch.float32)
    on_gpu = Batch(batch.images.cuda(), batch.classes.cuda(), batch.weight.cuda())
    assert isfinite(learner.learn(on_gpu, 0.01))
    assert {weight.device.type for weight in learner.average.parameters()} == {"cuda"}
    assert learner.copy().input_shape((16, 16)) and learner.steps == 2


def test_warming_up_loads_what_an_optimiser_needs():
    script = """
import sys, torch
from napari_unet.core.learner import warm_up
warm_up()
before = len(sys.modules)
torch.optim.AdamW([torch.zeros(2, requires_grad=True)], fused=True)
sys.exit(len(sys.modules) > before)
"""
    assert subprocess.run([sys.executable, "-c", script]).returncode == 0
