"""The U-Net: the paper's numbers, its sizes, and what anisotropic voxels change."""

from math import prod

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from napari_unet.core.networks.unet import UNet, UNetConfig, crop_centre, pad_to, pools_for_spacing

PAPER = UNetConfig(width=64, padding="valid", norm="none")


def paper_of_width(width: int, **changes: object) -> UNet:
    return UNet(UNetConfig(width=width, padding="valid", norm="none", **changes)).eval()


def test_the_paper_turns_572_pixels_into_388_with_its_number_of_weights() -> None:
    with torch.device("meta"):
        network = UNet(PAPER)
        assert network(torch.empty(1, 1, 572, 572)).shape == (1, 2, 388, 388)
    assert sum(weight.numel() for weight in network.parameters()) == 31_030_658
    assert network.margin == (92, 92)
    assert network.input_shape((388, 388)) == (572, 572)


def test_the_papers_layers_are_3x3_with_bias_and_2x2_upwards() -> None:
    with torch.device("meta"):
        network = UNet(PAPER)
    convolutions = [layer for layer in network.modules() if isinstance(layer, nn.Conv2d)]
    upwards = [layer for layer in network.modules() if isinstance(layer, nn.ConvTranspose2d)]
    assert [layer.kernel_size for layer in convolutions] == [(3, 3)] * 18 + [(1, 1)]
    assert [(layer.kernel_size, layer.stride) for layer in upwards] == [((2, 2), (2, 2))] * 4
    assert all(layer.in_channels == 2 * layer.out_channels for layer in upwards)
    assert all(layer.bias is not None for layer in (*convolutions, *upwards))


def test_weights_start_with_the_standard_deviation_of_he() -> None:
    torch.manual_seed(0)
    for layer in UNet(UNetConfig(width=16, norm="none")).modules():
        if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d) and layer.weight.numel() > 2000:
            taps = prod(layer.kernel_size) if isinstance(layer, nn.Conv2d) else 1
            expected = (2 / (layer.in_channels * taps)) ** 0.5
            assert layer.weight.std().item() == pytest.approx(expected, rel=0.1)
            assert layer.bias is not None and not layer.bias.any()


@pytest.mark.parametrize("upsample", ["transpose", "linear"])
@settings(max_examples=15, deadline=None)
@given(shape=st.lists(st.integers(1, 40), min_size=2, max_size=2), depth=st.integers(1, 4))
def test_same_padding_takes_any_size(upsample: str, shape: list[int], depth: int) -> None:
    network = UNet(UNetConfig(width=2, depth=depth, upsample=upsample)).eval()  # type: ignore[arg-type]
    with torch.no_grad():
        assert network(torch.zeros(1, 1, *shape)).shape[2:] == tuple(shape)


@settings(max_examples=15, deadline=None)
@given(output=st.lists(st.integers(1, 60), min_size=2, max_size=2), depth=st.integers(1, 3))
def test_valid_padding_covers_the_wanted_output_with_the_smallest_input(
    output: list[int], depth: int
) -> None:
    network = paper_of_width(1, depth=depth)
    shape = network.input_shape(output)
    with torch.no_grad():
        logits = network(torch.zeros(1, 1, *shape))
    for size, wanted, full, lost in zip(logits.shape[2:], output, shape, network.margin, strict=True):
        assert wanted <= size < wanted + network.stride[0]
        assert full - size == 2 * lost


@settings(max_examples=20, deadline=None)
@given(size=st.integers(1, 260))
def test_a_size_that_valid_padding_cannot_take_is_refused_with_one_that_it_can(size: int) -> None:
    network = paper_of_width(1, depth=2)
    good = {network.input_shape((wanted, 1))[0] for wanted in range(1, 260)}
    width = network.input_shape((1, 1))[1]
    with torch.no_grad():
        if size in good:
            network(torch.zeros(1, 1, size, width))
            return
        with pytest.raises(ValueError, match=r"use \(\d+, \d+\)") as refused:
            network(torch.zeros(1, 1, size, width))
        proposed = [int(number) for number in str(refused.value).rsplit("(", 1)[1].rstrip(")").split(",")]
        network(torch.zeros(1, 1, *proposed))


def test_valid_padding_in_3d_loses_the_same_margin_on_every_axis() -> None:
    network = paper_of_width(1, ndim=3, depth=2)
    with torch.no_grad():
        logits = network(torch.zeros(1, 1, *network.input_shape((1, 2, 3))))
    assert logits.shape[2:] == (4, 4, 4)
    assert network.margin == (20, 20, 20)


def test_an_axis_with_long_voxels_is_neither_pooled_nor_convolved_at_first() -> None:
    config = UNetConfig(ndim=3, width=2, depth=3, pools=pools_for_spacing((4, 1, 1), 3))
    network = UNet(config).eval()
    assert config.kernels == ((1, 3, 3), (3, 3, 3), (3, 3, 3), (3, 3, 3))
    assert network.stride == (4, 8, 8)
    with torch.no_grad():
        assert network(torch.zeros(1, 1, 5, 9, 17)).shape[2:] == (5, 9, 17)


@settings(deadline=None)
@given(
    spacing=st.lists(st.floats(0.1, 100), min_size=2, max_size=3),
    depth=st.integers(1, 6),
)
def test_pooling_brings_voxels_within_a_factor_of_two(spacing: list[float], depth: int) -> None:
    size = spacing
    for pool in pools_for_spacing(spacing, depth):
        assert 2 in pool
        before = max(size) / min(size)
        size = [step * factor for step, factor in zip(size, pool, strict=True)]
        assert max(size) / min(size) <= max(before, 2) * (1 + 1e-9)


@pytest.mark.parametrize("spacing", [(1, 1), (0.5, 0.5, 0.5), (1.9, 1, 1)])
def test_nearly_isotropic_voxels_are_pooled_everywhere(spacing: tuple[float, ...]) -> None:
    assert pools_for_spacing(spacing, 1) == ((2,) * len(spacing),)


def test_context_of_the_default_covers_the_papers_margin() -> None:
    with torch.device("meta"):
        context = UNet(UNetConfig()).context
    assert all(margin - 16 <= size <= margin + 16 for size, margin in zip(context, (92, 92), strict=True))


def test_padding_repeats_the_last_pixels_and_cropping_keeps_the_middle() -> None:
    image = torch.arange(4.0).reshape(1, 1, 2, 2)
    assert pad_to(image, (3, 2)).squeeze().tolist() == [[0, 1], [2, 3], [2, 3]]
    assert crop_centre(torch.arange(5.0).reshape(1, 1, 1, 5), (1, 3)).flatten().tolist() == [1, 2, 3]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"ndim": 4}, "ndim is 4"),
        ({"width": 0}, "width is 0: choose a value from 1 to 1024"),
        ({"depth": 9}, "depth is 9: choose a value from 1 to 8"),
        ({"in_channels": 0}, "in_channels is 0"),
        ({"n_classes": 1}, "n_classes is 1"),
        ({"dropout": 1.0}, "dropout is 1.0"),
        ({"pools": ((2, 2),)}, "give 4 levels of 2 factors"),
        ({"pools": ((0, 2),) * 4}, "choose factors from 1 to 4"),
    ],
)
def test_a_value_out_of_range_is_refused_by_name(change: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        UNetConfig(**change)  # type: ignore[arg-type]
