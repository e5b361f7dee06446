"""What every network promises, whatever its architecture."""

from dataclasses import replace
from itertools import product

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_unet.core.networks import ARCHITECTURES, Network, build_network, network_config
from napari_unet.core.networks.unet import UNetConfig

SAME = [name for name in ARCHITECTURES if name != "paper"]
CASES = list(product(SAME, (2, 3)))


def small(architecture: str, ndim: int = 2, **changes: object) -> UNetConfig:
    config = network_config(architecture, ndim=ndim, in_channels=1, n_classes=2, width=2, depth=3)
    return replace(config, **changes)


def positive(architecture: str, config: UNetConfig) -> Network:
    """A network in which every path counts and nothing cancels: all weights are positive."""
    network = build_network(architecture, config).double().eval()
    for parameter in network.parameters():
        torch.nn.init.constant_(parameter, 0.1)
    return network


@pytest.mark.parametrize(("architecture", "ndim"), CASES)
def test_logits_have_the_size_of_the_image_whatever_it_is(architecture: str, ndim: int) -> None:
    network = build_network(architecture, small(architecture, ndim)).eval()

    @settings(max_examples=8, deadline=None)
    @given(st.lists(st.integers(1, 20), min_size=ndim, max_size=ndim))
    def check(shape: list[int]) -> None:
        with torch.no_grad():
            assert network(torch.zeros(1, 1, *shape)).shape == (1, 2, *shape)

    check()


@pytest.mark.parametrize(("architecture", "ndim"), CASES)
def test_logits_fit_the_batch_the_channels_and_the_classes(architecture: str, ndim: int) -> None:
    network = build_network(architecture, small(architecture, ndim, in_channels=3, n_classes=4)).eval()
    assert network(torch.zeros(2, 3, *(8,) * ndim)).shape == (2, 4, *(8,) * ndim)


@pytest.mark.parametrize("architecture", SAME)
def test_every_weight_is_trained(architecture: str) -> None:
    torch.manual_seed(0)
    network = build_network(architecture, small(architecture, width=4, norm="none"))
    image = torch.rand(2, 1, 32, 32)
    optimiser = torch.optim.SGD(network.parameters(), lr=1e-3)
    for _ in range(2):  # the second step passes through skips that start at 0
        optimiser.zero_grad()
        network(image).square().sum().backward()
        optimiser.step()
    assert all(weight.grad is not None and weight.grad.any() for weight in network.parameters())


POOLS = [((2, 2), (2, 2), (2, 2)), ((1, 2), (2, 2), (2, 2)), ((2, 2, 2), (2, 2, 2)), ((1, 2, 2), (1, 3, 2))]


@pytest.mark.parametrize("pools", POOLS)
@pytest.mark.parametrize(
    ("architecture", "upsample"), [*((name, "transpose") for name in SAME), ("unet", "linear")]
)
def test_nothing_beyond_the_context_has_influence_and_the_context_is_tight(
    architecture: str, upsample: str, pools: tuple[tuple[int, ...], ...]
) -> None:
    if architecture == "fcn8s" and len(pools) < 3:
        pytest.skip("three score maps need three poolings")
    config = small(architecture, len(pools[0]), depth=len(pools), pools=pools, upsample=upsample, norm="none")
    network = positive(architecture, config)
    strides, contexts = network.stride, network.context
    starts = [step * (-(-context // step) + 1) for step, context in zip(strides, contexts, strict=True)]
    shape = [2 * start + step for start, step in zip(starts, strides, strict=True)]
    cell = (..., *(slice(start, start + step) for start, step in zip(starts, strides, strict=True)))
    # brightest in the middle, so that what is unpooled lies as near to the cell as it can
    image = sum(
        torch.meshgrid(
            *(size - torch.arange(size).sub(size / 2 - 0.5).abs() for size in shape), indexing="ij"
        )
    )
    image = image.double()[None, None]

    def logits_if(axis: int, where: slice, value: float) -> torch.Tensor:
        changed = image.clone().movedim(axis + 2, 0)
        changed[where] += value
        with torch.no_grad():
            return network(changed.movedim(0, axis + 2))[cell]

    untouched = logits_if(0, slice(0), 0)
    for axis, (start, context, step) in enumerate(zip(starts, contexts, strides, strict=True)):
        low, high = start - context, start + step + context
        for outside in (slice(None, low), slice(high, None)):
            assert torch.equal(logits_if(axis, outside, float("nan")), untouched)
        for edge in (slice(low, low + step), slice(high - step, high)):
            assert not torch.allclose(logits_if(axis, edge, 1e12), untouched)


@pytest.mark.parametrize(("architecture", "ndim"), CASES)
def test_checkpointing_gives_the_same_gradients(architecture: str, ndim: int) -> None:
    image = torch.rand(2, 1, *(16,) * ndim)
    gradients = []
    for checkpointing in (False, True):
        torch.manual_seed(0)
        network = build_network(architecture, small(architecture, ndim, checkpointing=checkpointing))
        network(image).square().mean().backward()
        gradients.append([weight.grad for weight in network.parameters()])
    for plain, again in zip(*gradients, strict=True):
        torch.testing.assert_close(plain, again)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_dropout_acts_only_in_training(architecture: str) -> None:
    network = build_network(architecture, small(architecture, norm="none", dropout=0.5, width=8))
    image = torch.rand(1, 1, *network.input_shape((8, 8)))
    with torch.no_grad():
        assert not torch.equal(network.train()(image), network(image))
        assert torch.equal(network.eval()(image), network(image))


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_bf16_autocast_and_channels_last_give_nearly_the_same_logits(architecture: str) -> None:
    torch.manual_seed(0)
    network = build_network(architecture, small(architecture, width=8)).eval()
    image = torch.rand(1, 1, *network.input_shape((16, 16)))
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        fast = network.to(memory_format=torch.channels_last)(image.to(memory_format=torch.channels_last))
    with torch.no_grad():
        exact = network(image)
    assert (fast - exact).abs().mean() < 0.1 * exact.abs().mean() + 1e-6


def test_an_unknown_architecture_is_refused_with_the_known_ones() -> None:
    with pytest.raises(ValueError, match=r"'segnet': choose one of unet, paper, fcn32s"):
        network_config("segnet", ndim=2, in_channels=1, n_classes=2)
    with pytest.raises(ValueError, match="segnet"):
        build_network("segnet", UNetConfig())


@pytest.mark.parametrize("architecture", ["fcn32s", "fcn16s", "fcn8s", "deconvnet"])
@pytest.mark.parametrize("change", [{"padding": "valid"}, {"upsample": "linear"}])
def test_what_an_architecture_cannot_do_is_refused(architecture: str, change: dict[str, str]) -> None:
    with pytest.raises(ValueError, match='has only padding="same" and upsample="transpose"'):
        build_network(architecture, small(architecture, **change))


def test_defaults_are_those_of_the_architecture_and_can_be_changed() -> None:
    wanted = {"ndim": 2, "in_channels": 1, "n_classes": 2}
    paper = network_config("paper", **wanted)
    assert paper == UNetConfig(width=64, padding="valid", norm="none", dropout=0.5)
    assert network_config("paper", **wanted, width=8, depth=2).widths == (8, 16, 32)
    assert network_config("unet", **wanted) == UNetConfig()
    assert network_config("fcn8s", **wanted).depth == 5


def test_poolings_follow_the_spacing() -> None:
    config = network_config("unet", ndim=3, in_channels=1, n_classes=2, depth=3, spacing=(4, 1, 1))
    assert config.pools == ((1, 2, 2), (2, 2, 2), (2, 2, 2))
