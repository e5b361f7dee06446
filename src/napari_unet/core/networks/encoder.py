"""What the networks before the U-Net share: a VGG-style encoder, and sizes that need no thought."""

from abc import abstractmethod
from collections.abc import Sequence
from math import prod

from torch import Tensor, nn

from napari_unet.core.networks.regions import Region, Shape, pad_to
from napari_unet.core.networks.unet import CONV, ConvBlock, UNetConfig, initialise


class EncoderNetwork(nn.Module):
    """An encoder and whatever turns its bottom level into logits of the image's size."""

    def __init__(self, config: UNetConfig) -> None:
        if (config.padding, config.upsample) != ("same", "transpose"):
            raise ValueError(
                f"padding is {config.padding!r} and upsample is {config.upsample!r}: "
                f'{type(self).__name__} has only padding="same" and upsample="transpose"'
            )
        super().__init__()
        self.config = config
        inputs = (config.in_channels, *config.widths)
        self.encoder = nn.ModuleList(
            ConvBlock(config, inputs[level], config.widths[level], config.kernels[level])
            for level in range(config.depth + 1)
        )
        self.dropout = nn.Dropout(config.dropout)
        self.build()
        initialise(self)

    @property
    def stride(self) -> Shape:
        """Pixels of one bottom pixel along each axis: what tile origins are multiples of."""
        return tuple(prod(factors) for factors in zip(*self.config.pools, strict=True))

    @property
    def context(self) -> Shape:
        """Pixels beyond a stride-aligned cell, on each side, that can influence it."""
        return tuple(-self.lowest(axis) for axis in range(self.config.ndim))

    @property
    def margin(self) -> Shape:
        """Pixels on each side that the logits lack compared with the image: none."""
        return (0,) * self.config.ndim

    def input_shape(self, output_shape: Sequence[int]) -> Shape:
        """Return the smallest spatial shape of an image whose logits cover ``output_shape``."""
        return tuple(-(-size // step) * step for size, step in zip(output_shape, self.stride, strict=True))

    def forward(self, image: Tensor, keep: Region | None = None) -> Tensor:
        """Return logits (B, n_classes, …) of an image (B, in_channels, …) of any size, or of a part of it."""
        shape = image.shape[2:]
        logits = self.logits(pad_to(image, self.input_shape(shape)))
        return logits[:, :, *(keep or (slice(size) for size in shape))]

    def reach(self, axis: int, level: int) -> int:
        """Pixels on each side that the two convolutions of a level look at."""
        return 2 * (self.config.kernels[level][axis] // 2)

    def image_pixel(self, axis: int, level: int, pixel: int) -> int:
        """Return the lowest image pixel that influences this pixel of the input of a level."""
        for above in reversed(range(level)):
            pixel = pixel * self.config.pools[above][axis] - self.reach(axis, above)
        return pixel

    def score(self, channels: int) -> nn.Module:
        """Return the 1x1 convolution that turns features into one map per class."""
        return CONV[self.config.ndim](channels, self.config.n_classes, 1)

    @abstractmethod
    def build(self) -> None:
        """Make the layers behind the encoder."""

    @abstractmethod
    def logits(self, image: Tensor) -> Tensor:
        """Return logits of an image whose shape is a multiple of the stride."""

    @abstractmethod
    def lowest(self, axis: int) -> int:
        """Return the lowest pixel that influences the cell that starts at 0."""
