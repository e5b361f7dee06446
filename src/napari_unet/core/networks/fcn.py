"""Fully convolutional networks: the first to be trained end to end for every pixel."""

from math import prod

import torch
from torch import Tensor, nn

from napari_unet.core.networks.encoder import EncoderNetwork
from napari_unet.core.networks.regions import Shape
from napari_unet.core.networks.unet import CONV_TRANSPOSE, MAX_POOL, UNetConfig


class FCN(EncoderNetwork):
    """FCN-32s, FCN-16s and FCN-8s of Long et al. [1]_.

    The bottom level is scored by a 1x1 convolution, the score map is enlarged, and each skip adds the
    score map of the pooling above. At depth 5 these are the paper's strides; at another depth the score
    maps are those of the deepest level and of the one or two above it. As in the paper the up-convolutions
    start as bilinear interpolation, kernel twice the stride, and the skips start at 0, so that training
    starts from what FCN-32s says. Unlike in the paper, whose encoder was pretrained, all is trained at
    once, the last up-convolution too, and the bottom level has two 3x3 convolutions.

    Parameters
    ----------
    config : UNetConfig
        With ``padding="same"`` and ``upsample="transpose"``.
    n_skips : {0, 1, 2}
        Score maps above the bottom: 0 is FCN-32s, 1 is FCN-16s, 2 is FCN-8s.

    Raises
    ------
    ValueError
        If the config is not for this network, or its depth is not larger than `n_skips`.

    References
    ----------
    .. [1] Long, Shelhamer, Darrell, Fully Convolutional Networks for Semantic Segmentation, 2015.

    Examples
    --------
    >>> network = FCN(UNetConfig(width=4, depth=3, n_classes=3), n_skips=2)
    >>> network(torch.zeros(1, 1, 50, 31)).shape
    torch.Size([1, 3, 50, 31])
    """

    def __init__(self, config: UNetConfig, n_skips: int) -> None:
        if config.depth <= n_skips:
            raise ValueError(f"depth is {config.depth}: {n_skips} skips need {n_skips + 1} or more")
        self.n_skips = n_skips
        super().__init__(config)
        for score in self.scores[1:]:
            nn.init.zeros_(score.get_parameter("weight"))
        for upsample in self.upsamples:
            bilinear(upsample)

    def build(self) -> None:
        """Make the poolings, the score maps and their up-convolutions, the deepest first."""
        config, depth = self.config, self.config.depth
        self.pools = nn.ModuleList(MAX_POOL[config.ndim](pool) for pool in config.pools)
        skips = range(depth - 2, depth - 2 - self.n_skips, -1)
        self.scores = nn.ModuleList(self.score(config.widths[level]) for level in (depth, *skips))
        self.upsamples = nn.ModuleList(up_convolution(config, factors) for factors in self._factors())

    def logits(self, image: Tensor) -> Tensor:
        """Sum the score maps from the bottom upwards, then enlarge the sum."""
        x, pooled = image, []
        for block, pool in zip(self.encoder, self.pools, strict=False):
            x = pool(block(x))
            pooled.append(x)
        scores: Tensor = self.scores[0](self.dropout(self.encoder[-1](x)))
        for upsample, score, skip in zip(
            self.upsamples[:-1], self.scores[1:], reversed(pooled[-1 - self.n_skips : -1]), strict=True
        ):
            scores = upsample(scores) + score(skip)
        logits: Tensor = self.upsamples[-1](scores)
        return logits

    def lowest(self, axis: int) -> int:
        """Follow every score map back to the image."""
        pixel, found = 0, []
        for index, factors in reversed(list(enumerate(self._factors()))):
            before = up_kernel(factors[axis]) - 1 - up_padding(factors[axis])
            pixel = -((before - pixel) // factors[axis])
            found.append(self.image_pixel(axis, self.config.depth - index, pixel))
        bottom = self.config.depth
        return min(*found, self.image_pixel(axis, bottom, pixel - self.reach(axis, bottom)))

    def _factors(self) -> list[Shape]:
        """How much each up-convolution enlarges, the deepest first."""
        pools = self.config.pools
        last = self.config.depth - self.n_skips
        whole = tuple(prod(factors) for factors in zip(*pools[:last], strict=True))
        return [*reversed(pools[last:]), whole]


def up_kernel(factor: int) -> int:
    """Return the kernel of bilinear interpolation: twice the stride (one less where that is odd)."""
    return 2 * factor - factor % 2


def up_padding(factor: int) -> int:
    """Return the padding with which an up-convolution enlarges by exactly `factor`."""
    return (up_kernel(factor) - factor) // 2


def up_convolution(config: UNetConfig, factors: Shape) -> nn.Module:
    """Return a transposed convolution of the score maps."""
    kernel, padding = tuple(map(up_kernel, factors)), tuple(map(up_padding, factors))
    n_classes = config.n_classes
    return CONV_TRANSPOSE[config.ndim](n_classes, n_classes, kernel, factors, padding, bias=False)


def bilinear(upsample: nn.Module) -> None:
    """Make an up-convolution interpolate each class linearly along every axis."""
    weight = upsample.get_parameter("weight")  # n_classes, n_classes, *kernel
    kernel = torch.ones((), device=weight.device)
    for size in weight.shape[2:]:
        centre, factor = (size - 1) / 2, (size + 1) // 2
        ramp = 1 - (torch.arange(size, device=weight.device) - centre).abs() / factor
        kernel = kernel[..., None] * ramp
    with torch.no_grad():
        weight.zero_()
        weight[range(len(weight)), range(len(weight))] = kernel
