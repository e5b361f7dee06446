"""A network that only predicts: less to compute and to hold, the same result."""

from copy import deepcopy
from itertools import pairwise

from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_weights

from napari_unet.core.networks import Network
from napari_unet.core.networks.unet import UNet


def prepare_for_inference(network: Network) -> Network:
    """Return a copy in evaluation mode, batch norm folded, skips not copied beside what they meet."""
    prepared = deepcopy(network).eval().requires_grad_(False)
    for module in list(prepared.modules()):
        if isinstance(module, nn.Sequential):
            _fold_batch_norm(module)
    if isinstance(prepared, UNet):
        for block in prepared.decoder:
            block[0] = SplitConv(block[0])  # type: ignore[index, operator]
        prepared.join = tuple
    return prepared


def _fold_batch_norm(layers: nn.Sequential) -> None:
    """Fold each batch norm layer, in place, into the convolution that it follows."""
    for index, (conv, norm) in enumerate(pairwise(layers), start=1):
        if isinstance(conv, nn.Conv2d | nn.Conv3d) and isinstance(norm, nn.BatchNorm2d | nn.BatchNorm3d):
            mean, variance = norm.running_mean, norm.running_var
            if mean is None or variance is None:
                continue
            conv.weight, conv.bias = fuse_conv_bn_weights(
                conv.weight, conv.bias, mean, variance, norm.eps, norm.weight, norm.bias
            )
            layers[index] = nn.Identity()


class SplitConv(nn.Module):
    """The convolution of two halves of the channels, added up: they need not be copied side by side."""

    def __init__(self, conv: nn.Conv2d | nn.Conv3d) -> None:
        super().__init__()
        half = conv.in_channels // 2
        self.halves = nn.ModuleList()
        for channels in slice(0, half), slice(half, None):
            part = deepcopy(conv)
            if channels.start:
                part.bias = None
            part.in_channels = half
            part.weight = nn.Parameter(conv.weight.detach()[:, channels].clone(), requires_grad=False)
            self.halves.append(part)

    def forward(self, parts: tuple[Tensor, Tensor]) -> Tensor:
        """Return what the convolution makes of both parts (B, C / 2, …)."""
        first, second = (conv(part) for conv, part in zip(self.halves, parts, strict=True))
        summed: Tensor = first.add_(second)
        return summed
