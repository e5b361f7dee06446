"""The U-Net, in two and three dimensions, from one class."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from math import prod
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from napari_unet.core.networks.regions import (
    Region,
    Shape,
    crop_centre,
    decoded_regions,
    pad_to,
    pooled,
    relative,
)

CONV: dict[int, type[nn.Module]] = {2: nn.Conv2d, 3: nn.Conv3d}
CONV_TRANSPOSE: dict[int, type[nn.Module]] = {2: nn.ConvTranspose2d, 3: nn.ConvTranspose3d}
NORM: dict[int, type[nn.Module]] = {2: nn.BatchNorm2d, 3: nn.BatchNorm3d}
MAX_POOL: dict[int, type[nn.Module]] = {2: nn.MaxPool2d, 3: nn.MaxPool3d}

NORM_MOMENTUM = 0.3
"""Share of each batch in the running statistics: training of seconds cannot wait for a slow average."""
FIRST_LOGITS = 0.1
"""Factor on the first weights of the head of a network with batch norm: no loud first guess to unlearn."""


@dataclass(frozen=True)
class UNetConfig:
    """What is needed to build a network again.

    Parameters
    ----------
    ndim : {2, 3}
        Number of spatial axes.
    in_channels, n_classes : int
        Channels of the image and of the logits.
    width : int
        Channels of the first level; every level below doubles them.
    depth : int
        Number of poolings.
    padding : {"same", "valid"}
        "same" keeps the image's size; "valid" loses a margin, as in the paper.
    norm : {"batch", "none"}
        Batch normalisation, because it does not depend on the tile; or none.
    upsample : {"transpose", "linear"}
        Transposed convolution, or linear interpolation and a 1x1 convolution.
    dropout : float
        Share of the bottom level's channels that are dropped in training.
    pools : tuple of tuple of int
        Pooling factor of each level and spatial axis; empty means 2 everywhere.
    checkpointing : bool
        Compute activations twice in training instead of storing them.

    Raises
    ------
    ValueError
        If a value is out of its range.
    """

    ndim: int = 2
    in_channels: int = 1
    n_classes: int = 2
    width: int = 32
    depth: int = 4
    padding: Literal["same", "valid"] = "same"
    norm: Literal["batch", "none"] = "batch"
    upsample: Literal["transpose", "linear"] = "transpose"
    dropout: float = 0.0
    pools: tuple[Shape, ...] = ()
    checkpointing: bool = False

    def __post_init__(self) -> None:
        if self.ndim not in (2, 3):
            raise ValueError(f"ndim is {self.ndim}: a network has 2 or 3 spatial axes")
        ranges = {"in_channels": (1, 512), "n_classes": (2, 512), "width": (1, 1024), "depth": (1, 8)}
        for name, (low, high) in ranges.items():
            if not low <= getattr(self, name) <= high:
                raise ValueError(f"{name} is {getattr(self, name)}: choose a value from {low} to {high}")
        if not 0 <= self.dropout < 1:
            raise ValueError(f"dropout is {self.dropout}: choose a share from 0 to below 1")
        if not self.pools:
            object.__setattr__(self, "pools", ((2,) * self.ndim,) * self.depth)
        if len(self.pools) != self.depth or any(len(pool) != self.ndim for pool in self.pools):
            raise ValueError(f"pools is {self.pools}: give {self.depth} levels of {self.ndim} factors")
        if not all(1 <= factor <= 4 for pool in self.pools for factor in pool):
            raise ValueError(f"pools is {self.pools}: choose factors from 1 to 4")

    @property
    def kernels(self) -> tuple[Shape, ...]:
        """Kernel size of each level, the bottom one last: 1 along an axis that is not pooled there."""
        levels = (tuple(3 if factor > 1 else 1 for factor in pool) for pool in self.pools)
        return (*levels, (3,) * self.ndim)

    @property
    def widths(self) -> tuple[int, ...]:
        """Channels of each level, the bottom one last."""
        return tuple(self.width * 2**level for level in range(self.depth + 1))


def pools_for_spacing(spacing: Sequence[float], depth: int) -> tuple[Shape, ...]:
    """Choose pooling factors that make voxels isotropic first [1]_.

    An axis is not pooled while its voxels are more than twice as long as the shortest.

    Parameters
    ----------
    spacing : sequence of float
        Voxel size along each spatial axis.
    depth : int
        Number of poolings.

    Returns
    -------
    tuple of tuple of int
        For each level the factor along each axis, 1 or 2.

    References
    ----------
    .. [1] Çiçek et al., 3D U-Net: Learning Dense Volumetric Segmentation from Sparse Annotation, 2016.

    Examples
    --------
    >>> pools_for_spacing((50, 4, 4), 3)
    ((1, 2, 2), (1, 2, 2), (1, 2, 2))
    >>> pools_for_spacing((4, 1, 1), 3)
    ((1, 2, 2), (2, 2, 2), (2, 2, 2))
    """
    size, pools = [float(step) for step in spacing], []
    for _ in range(depth):
        pool = tuple(1 if step > 2 * min(size) else 2 for step in size)
        size = [step * factor for step, factor in zip(size, pool, strict=True)]
        pools.append(pool)
    return tuple(pools)


class ConvBlock(nn.Sequential):
    """Two convolutions, each followed by the norm layer and a ReLU."""

    def __init__(self, config: UNetConfig, in_channels: int, out_channels: int, kernel: Shape) -> None:
        padding = tuple(size // 2 for size in kernel) if config.padding == "same" else 0
        layers: list[nn.Module] = []
        for channels in (in_channels, out_channels):
            bias = config.norm == "none"
            layers.append(CONV[config.ndim](channels, out_channels, kernel, padding=padding, bias=bias))
            if config.norm == "batch":
                layers.append(NORM[config.ndim](out_channels, momentum=NORM_MOMENTUM))
            layers.append(nn.ReLU(inplace=True))
        super().__init__(*layers)
        self.checkpointing = config.checkpointing

    def forward(self, input: Tensor) -> Tensor:
        """Apply the layers, storing their activations only if the config says so."""
        run: Callable[[Tensor], Tensor] = super().forward
        if self.checkpointing and self.training and torch.is_grad_enabled():
            again: Tensor = checkpoint(run, input, use_reentrant=False)
            return again
        return run(input)


class LinearUpsample(nn.Sequential):
    """Halve the channels, then interpolate: the same as the other order, and cheaper."""

    def __init__(self, config: UNetConfig, in_channels: int, out_channels: int, pool: Shape) -> None:
        mode = "bilinear" if config.ndim == 2 else "trilinear"
        super().__init__(
            CONV[config.ndim](in_channels, out_channels, 1),
            nn.Upsample(scale_factor=tuple(float(factor) for factor in pool), mode=mode),
        )


class UNet(nn.Module):
    """The network of Ronneberger et al. [1]_ and, in 3D, Çiçek et al. [2]_.

    Parameters
    ----------
    config : UNetConfig
        ``UNetConfig(width=64, padding="valid", norm="none")`` is the paper's network.

    References
    ----------
    .. [1] Ronneberger, Fischer, Brox, U-Net: Convolutional Networks for Biomedical Image Segmentation, 2015.
    .. [2] Çiçek et al., 3D U-Net: Learning Dense Volumetric Segmentation from Sparse Annotation, 2016.

    Examples
    --------
    >>> network = UNet(UNetConfig(width=8, depth=2, n_classes=3))
    >>> network(torch.zeros(1, 1, 50, 31)).shape
    torch.Size([1, 3, 50, 31])
    """

    def __init__(self, config: UNetConfig) -> None:
        super().__init__()
        self.config = config
        widths, kernels, pools = config.widths, config.kernels, config.pools
        inputs = (config.in_channels, *widths)
        up = CONV_TRANSPOSE[config.ndim] if config.upsample == "transpose" else None
        self.encoder = nn.ModuleList(
            ConvBlock(config, inputs[level], widths[level], kernels[level])
            for level in range(config.depth + 1)
        )
        self.pools = nn.ModuleList(MAX_POOL[config.ndim](pool) for pool in pools)
        self.upsamples = nn.ModuleList(
            up(widths[level + 1], widths[level], pools[level], stride=pools[level])
            if up
            else LinearUpsample(config, widths[level + 1], widths[level], pools[level])
            for level in range(config.depth)
        )
        self.decoder = nn.ModuleList(
            ConvBlock(config, 2 * widths[level], widths[level], kernels[level])
            for level in range(config.depth)
        )
        self.dropout = nn.Dropout(config.dropout)
        self.head = CONV[config.ndim](widths[0], config.n_classes, 1)
        self.join: Callable[[list[Tensor]], Any] = partial(torch.cat, dim=1)
        initialise(self)
        if config.norm == "batch":
            with torch.no_grad():
                self.head.get_parameter("weight").mul_(FIRST_LOGITS)

    @property
    def stride(self) -> Shape:
        """Pixels of one bottom pixel along each axis: what tile origins are multiples of."""
        return tuple(prod(factors) for factors in zip(*self.config.pools, strict=True))

    @property
    def context(self) -> Shape:
        """Pixels beyond a stride-aligned cell, on each side, that can influence it."""
        cells = (self._interval(axis, 0, 0, stride - 1) for axis, stride in enumerate(self.stride))
        return tuple(-low for low, _ in cells)

    @property
    def margin(self) -> Shape:
        """Pixels on each side that the logits lack compared with the image."""
        if self.config.padding == "same":
            return (0,) * self.config.ndim
        return tuple(self._input_size(axis, 1)[1] for axis in range(self.config.ndim))

    def input_shape(self, output_shape: Sequence[int]) -> Shape:
        """Return the smallest spatial shape of an image whose logits cover ``output_shape``."""
        if self.config.padding == "same":
            return tuple(
                -(-size // step) * step for size, step in zip(output_shape, self.stride, strict=True)
            )
        return tuple(self._input_size(axis, size)[0] for axis, size in enumerate(output_shape))

    def forward(self, image: Tensor, keep: Region | None = None) -> Tensor:
        """Return logits (B, n_classes, …) of an image (B, in_channels, …), or only those of a part of it.

        They are the same; what they do not depend on is left out where it costs most, in the decoder.
        """
        x = self._fit(image)
        skips = []
        for block, pool in zip(self.encoder, self.pools, strict=False):
            x = block(x)
            skips.append(x)
            x = pool(x)
        x = self.dropout(self.encoder[-1](x))
        if self.config.padding == "valid":
            logits = self._decode_valid(x, skips)
            return logits if keep is None else logits[:, :, *keep]
        return self._decode(x, skips, keep or tuple(slice(0, size) for size in image.shape[2:]))

    def _decode_valid(self, x: Tensor, skips: list[Tensor]) -> Tensor:
        for upsample, block, skip in reversed(list(zip(self.upsamples, self.decoder, skips, strict=True))):
            x = upsample(x)
            x = block(self.join([crop_centre(skip, x.shape[2:]), x]))
        logits: Tensor = self.head(x)
        return logits

    def _decode(self, x: Tensor, skips: list[Tensor], keep: Region) -> Tensor:
        axes, levels = range(self.config.ndim), range(self.config.depth)
        reaches = [tuple(self._reach(axis, level) for axis in axes) for level in levels]
        regions = decoded_regions(keep, [skip.shape[2:] for skip in skips], self.config.pools, reaches)
        covered = tuple(slice(0, size) for size in x.shape[2:])
        for level in reversed(range(self.config.depth)):
            below = pooled(regions[level], self.config.pools[level])
            x = self.upsamples[level](x[:, :, *relative(below, covered)])
            x = self.decoder[level](self.join([skips[level][:, :, *regions[level]], x]))
            covered = regions[level]
        logits: Tensor = self.head(x)
        return logits[:, :, *relative(keep, covered)]

    def _reach(self, axis: int, level: int) -> int:
        """Pixels on each side of what a level decodes that see beyond it: convolutions, and interpolation."""
        factor = self.config.pools[level][axis]
        interpolated = factor if self.config.upsample == "linear" and factor > 1 else 0
        return self._lost(axis, level) // 2 + interpolated

    def _fit(self, image: Tensor) -> Tensor:
        shape = tuple(image.shape[2:])
        if self.config.padding == "same":
            return pad_to(image, self.input_shape(shape))
        inner = tuple(max(1, size - 2 * lost) for size, lost in zip(shape, self.margin, strict=True))
        if self.input_shape(inner) != shape:
            raise ValueError(
                f"an image of shape {shape} does not fit valid padding: use {self.input_shape(inner)}"
            )
        return image

    def _lost(self, axis: int, level: int) -> int:
        return 2 * (self.config.kernels[level][axis] - 1)

    def _input_size(self, axis: int, output_size: int) -> tuple[int, int]:
        """Size of the image for an output of at least this size, and the margin on each side."""
        factors = [pool[axis] for pool in self.config.pools]
        bottom = output_size
        for level, factor in enumerate(factors):
            bottom = -(-(bottom + self._lost(axis, level)) // factor)
        size, output = bottom + self._lost(axis, self.config.depth), bottom
        for level, factor in reversed(list(enumerate(factors))):
            size = size * factor + self._lost(axis, level)
            output = output * factor - self._lost(axis, level)
        return size, (size - output) // 2

    def _interval(self, axis: int, level: int, low: int, high: int) -> tuple[int, int]:
        """Pixels of the level's input that influence the pixels low…high of its output."""
        reach = self._lost(axis, level) // 2
        low, high = low - reach, high + reach
        if level == self.config.depth:
            return low, high
        factor = self.config.pools[level][axis]
        if self.config.upsample == "linear" and factor > 1:  # the two nearest pixels below
            low, high = (2 * low + 1 - factor) // (2 * factor), (2 * high + 1 + factor) // (2 * factor)
        else:
            low, high = low // factor, high // factor
        below = self._interval(axis, level + 1, low, high)
        return below[0] * factor - reach, below[1] * factor + factor - 1 + reach


def initialise(network: nn.Module) -> None:
    """Draw He-normal weights for every convolution; biases start at 0."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.Conv3d | nn.ConvTranspose2d | nn.ConvTranspose3d):
            # a transposed convolution with stride = kernel sums over its input channels only
            transposed = isinstance(module, nn.ConvTranspose2d | nn.ConvTranspose3d)
            fan_in = module.in_channels * (1 if transposed else prod(module.kernel_size))
            nn.init.normal_(module.weight, std=(2 / fan_in) ** 0.5)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
