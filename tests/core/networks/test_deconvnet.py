"""Unpooling, and the mirrored levels around it."""

import pytest
import torch
from torch import nn

from napari_unet.core.networks.deconvnet import POOL, DeconvNet, unpool
from napari_unet.core.networks.unet import UNetConfig


@pytest.mark.parametrize(("ndim", "factors"), [(2, (2, 2)), (2, (1, 2)), (3, (1, 2, 2)), (3, (2, 2, 2))])
def test_every_maximum_returns_to_its_place(ndim: int, factors: tuple[int, ...]) -> None:
    image = torch.rand(2, 3, *(8,) * ndim).add(1).requires_grad_()
    pooled, indices = POOL[ndim](image, factors)
    full = unpool(pooled, indices, image.shape)
    kept = full > 0
    assert kept.sum() == pooled.numel()
    assert torch.equal(full[kept], image[kept])
    full.sum().backward()
    assert torch.equal(image.grad, kept.float())


def test_unpooling_agrees_with_torch() -> None:
    pooled, indices = POOL[2](torch.rand(1, 2, 6, 8), (2, 2))
    assert torch.equal(
        unpool(pooled, indices, torch.Size((1, 2, 6, 8))), nn.functional.max_unpool2d(pooled, indices, 2)
    )


def test_the_decoder_mirrors_the_encoder() -> None:
    network = DeconvNet(UNetConfig(width=4, depth=3))
    down = [block[0].out_channels for block in network.encoder]
    up = [(block[0].in_channels, block[0].out_channels) for block in network.decoder]
    assert down == [4, 8, 16, 32]
    assert up == [(4, 4), (8, 4), (16, 8)]
