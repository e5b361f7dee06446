"""Networks by name. All share one interface: config, stride, context, margin, input_shape, forward."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from napari_unet.core.networks.deconvnet import DeconvNet
from napari_unet.core.networks.encoder import EncoderNetwork
from napari_unet.core.networks.fcn import FCN
from napari_unet.core.networks.unet import UNet, UNetConfig, pools_for_spacing

Network = UNet | EncoderNetwork
ARCHITECTURES = ("unet", "paper", "fcn32s", "fcn16s", "fcn8s", "deconvnet")
SKIPS = {"fcn32s": 0, "fcn16s": 1, "fcn8s": 2}
# The paper of the U-Net drops out "at the end of the contracting path" without naming the share.
PAPER = {"width": 64, "padding": "valid", "norm": "none", "dropout": 0.5}


def network_config(
    architecture: str,
    *,
    ndim: int,
    in_channels: int,
    n_classes: int,
    width: int | None = None,
    depth: int | None = None,
    spacing: Sequence[float] | None = None,
) -> UNetConfig:
    """Return the configuration of an architecture for an image.

    Parameters
    ----------
    architecture : str
        One of `ARCHITECTURES`.
    ndim : {2, 3}
        Number of spatial axes.
    in_channels, n_classes : int
        Channels of the image and of the logits.
    width, depth : int, optional
        Channels of the first level and number of poolings; by default those of the architecture.
    spacing : sequence of float, optional
        Voxel size along each spatial axis; isotropic by default.

    Returns
    -------
    UNetConfig
        What `build_network` takes.

    Raises
    ------
    ValueError
        If the architecture is unknown or a value is out of its range.

    Examples
    --------
    >>> network_config("paper", ndim=2, in_channels=1, n_classes=2).padding
    'valid'
    >>> network_config("unet", ndim=3, in_channels=1, n_classes=2, depth=2, spacing=(4, 1, 1)).pools
    ((1, 2, 2), (2, 2, 2))
    """
    _check(architecture)
    preset: dict[str, Any] = PAPER if architecture == "paper" else {}
    older = architecture in SKIPS or architecture == "deconvnet"  # VGG has five poolings
    levels = depth if depth is not None else 5 if older else 4
    config = UNetConfig(ndim, in_channels, n_classes, depth=levels, **preset)
    if width is not None:
        config = replace(config, width=width)
    return replace(config, pools=pools_for_spacing(spacing or (1,) * ndim, levels))


def build_network(architecture: str, config: UNetConfig) -> Network:
    """Return a freshly initialised network.

    Parameters
    ----------
    architecture : str
        One of `ARCHITECTURES`.
    config : UNetConfig
        Its configuration, for instance from `network_config`.

    Returns
    -------
    UNet or EncoderNetwork
        Images (B, in_channels, …) in, logits (B, n_classes, …) out.

    Raises
    ------
    ValueError
        If the architecture is unknown or cannot have this configuration.

    Examples
    --------
    >>> build_network("fcn8s", UNetConfig(width=4, depth=3)).stride
    (8, 8)
    """
    _check(architecture)
    if architecture in SKIPS:
        return FCN(config, SKIPS[architecture])
    return DeconvNet(config) if architecture == "deconvnet" else UNet(config)


def _check(architecture: str) -> None:
    if architecture not in ARCHITECTURES:
        raise ValueError(f"architecture is {architecture!r}: choose one of {', '.join(ARCHITECTURES)}")
