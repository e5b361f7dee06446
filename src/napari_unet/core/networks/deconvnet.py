"""The deconvolution network: unpooling puts every value back where it came from."""

import torch
from torch import Tensor, nn

from napari_unet.core.networks.encoder import EncoderNetwork
from napari_unet.core.networks.unet import ConvBlock

POOL = {2: nn.functional.max_pool2d_with_indices, 3: nn.functional.max_pool3d_with_indices}


class DeconvNet(EncoderNetwork):
    """The network of Noh et al. [1]_: an encoder, and its mirror image with max-unpooling.

    Each pooling remembers where its maxima were; the mirrored level writes its values back there and
    fills in between with two convolutions. (A transposed convolution of stride 1 is a convolution.) The
    fully connected bottom is a block of convolutions of 3 pixels, since the image may have any size; the
    paper's saw the whole 7x7 map of its crop.

    Parameters
    ----------
    config : UNetConfig
        With ``padding="same"`` and ``upsample="transpose"``.

    Raises
    ------
    ValueError
        If the config is not for this network.

    References
    ----------
    .. [1] Noh, Hong, Han, Learning Deconvolution Network for Semantic Segmentation, 2015.

    Examples
    --------
    >>> from napari_unet.core.networks.unet import UNetConfig
    >>> network = DeconvNet(UNetConfig(width=4, depth=2, n_classes=3))
    >>> network(torch.zeros(1, 1, 50, 31)).shape
    torch.Size([1, 3, 50, 31])
    """

    def build(self) -> None:
        """Make the mirrored levels, the top one first."""
        config = self.config
        # what level n hands up is unpooled by level n-1, so it has that level's channels
        outputs = (config.widths[0], *config.widths)
        self.narrow = ConvBlock(config, config.widths[-1], config.widths[-2], (1,) * config.ndim)
        self.decoder = nn.ModuleList(
            ConvBlock(config, config.widths[level], outputs[level], config.kernels[level])
            for level in range(config.depth)
        )
        self.head = self.score(config.widths[0])

    def logits(self, image: Tensor) -> Tensor:
        """Pool down to the bottom and unpool back up."""
        x, places = image, []
        for block, factors in zip(self.encoder, self.config.pools, strict=False):
            full = block(x)
            x, indices = POOL[self.config.ndim](full, factors)
            places.append((indices, full.shape))
        x = self.narrow(self.dropout(self.encoder[-1](x)))
        for block, (indices, shape) in reversed(list(zip(self.decoder, places, strict=True))):
            x = block(unpool(x, indices, shape))
        logits: Tensor = self.head(x)
        return logits

    def lowest(self, axis: int) -> int:
        """Follow the decoder down to the bottom and the encoder back up."""
        pixel, bottom = 0, self.config.depth
        for level, factors in enumerate(self.config.pools):
            pixel = (pixel - self.reach(axis, level)) // factors[axis]
        return self.image_pixel(axis, bottom, pixel - self.reach(axis, bottom))


def unpool(x: Tensor, indices: Tensor, shape: torch.Size) -> Tensor:
    """Write each value where its maximum was, and 0 elsewhere; for any device, type and number of axes."""
    full = x.new_zeros(shape).flatten(2)
    return full.scatter(2, indices.flatten(2), x.flatten(2)).view(shape)
