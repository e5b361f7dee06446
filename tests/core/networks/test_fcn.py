"""Score maps, skips and bilinear up-convolutions."""

import pytest
import torch
from torch import nn

from napari_unet.core.networks.encoder import EncoderNetwork
from napari_unet.core.networks.fcn import FCN, bilinear, up_convolution
from napari_unet.core.networks.unet import UNetConfig


@pytest.mark.parametrize(("n_skips", "strides"), [(0, [32]), (1, [2, 16]), (2, [2, 2, 8])])
def test_depth_5_has_the_strides_of_the_paper(n_skips: int, strides: list[int]) -> None:
    with torch.device("meta"):
        network = FCN(UNetConfig(width=2, depth=5), n_skips)
    assert [layer.stride[0] for layer in network.upsamples] == strides
    assert [layer.kernel_size[0] for layer in network.upsamples] == [2 * stride for stride in strides]
    assert [layer.in_channels for layer in network.scores] == [64, 16, 8][: n_skips + 1]


@pytest.mark.parametrize("factors", [(2, 2), (4, 8), (1, 2), (3, 2), (1, 2, 4)])
def test_an_up_convolution_starts_as_linear_interpolation(factors: tuple[int, ...]) -> None:
    ndim = len(factors)
    layer = up_convolution(UNetConfig(ndim=ndim, n_classes=3), factors)
    bilinear(layer)
    image = torch.rand(1, 3, *(6,) * ndim)
    mode = "bilinear" if ndim == 2 else "trilinear"
    expected = nn.functional.interpolate(image, scale_factor=tuple(map(float, factors)), mode=mode)
    inner = (..., *(slice(factor, -factor) for factor in factors))  # beyond the border it sees 0
    with torch.no_grad():
        enlarged = layer(image)
    assert enlarged.shape == expected.shape
    torch.testing.assert_close(enlarged[inner], expected[inner])


def test_training_starts_from_what_the_network_without_skips_says() -> None:
    config = UNetConfig(width=4, depth=4, norm="none")
    plain, skipping = FCN(config, 0).eval(), FCN(config, 2).eval()
    shared = {name: value for name, value in plain.state_dict().items() if "upsamples" not in name}
    skipping.load_state_dict(shared, strict=False)
    skipping.scores[0].load_state_dict(plain.scores[0].state_dict())
    image = torch.rand(1, 1, 64, 64)
    with torch.no_grad():
        coarse, fine = plain(image)[..., 16:-16, 16:-16], skipping(image)[..., 16:-16, 16:-16]
    # three linear interpolations in a row are smoother than one, but nearly the same
    assert torch.corrcoef(torch.stack([coarse.flatten(), fine.flatten()]))[0, 1] > 0.95


def test_more_skips_than_poolings_are_refused() -> None:
    with pytest.raises(ValueError, match="depth is 2: 2 skips need 3 or more"):
        FCN(UNetConfig(depth=2), 2)


def test_it_is_an_encoder_network() -> None:
    assert isinstance(FCN(UNetConfig(width=2), 0), EncoderNetwork)
