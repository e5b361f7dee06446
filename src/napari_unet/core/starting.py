"""A model to start training from: a fresh one, or one that keeps what another has learnt."""

from dataclasses import dataclass

import torch
from torch import Tensor

from napari_unet import __version__
from napari_unet.core.examples import Dataset
from napari_unet.core.modelfile import Model
from napari_unet.core.networks import build_network, network_config
from napari_unet.core.targets import ClassLabel

WIDTHS = {"cpu": 16, "mps": 32, "cuda": 32}
"""Default width of the U-Net on each kind of device: what learns most in the first minute."""


@dataclass(frozen=True)
class Architecture:
    """Which network: its name, and its width and depth where they are not the default."""

    name: str = "unet"
    width: int | None = None
    depth: int | None = None


def new_model(
    dataset: Dataset,
    architecture: Architecture | None = None,
    *,
    seed: int = 0,
    device: torch.device | None = None,
) -> Model:
    """Build an untrained model for a dataset.

    Parameters
    ----------
    dataset : Dataset
        Decides on channels, classes, axes and spacing.
    architecture : Architecture, optional
        The U-Net by default, as wide as suits the device.
    seed : int
        Of the random weights.
    device : torch.device, optional
        Where the network lives; the CPU by default.

    Returns
    -------
    Model

    Raises
    ------
    ValueError
        If there is no such architecture.
    """
    architecture = architecture or Architecture()
    device = device or torch.device("cpu")
    default = WIDTHS[device.type] if architecture.name == "unet" else None
    config = network_config(
        architecture.name,
        ndim=len(dataset.axes),
        in_channels=len(dataset.channels),
        n_classes=len(dataset.classes),
        width=default if architecture.width is None else architecture.width,
        depth=architecture.depth,
        spacing=dataset.spacing,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = build_network(architecture.name, config)
    return Model(
        network.to(device),
        architecture.name,
        dataset.task,
        dataset.classes,
        dataset.axes,
        dataset.spacing,
        dataset.unit,
        dataset.channels,
        "percentile",
        {},
        __version__,
    )


def fine_tune(dataset: Dataset, start: Model, *, seed: int = 0) -> tuple[Model, tuple[str, ...]]:
    """Build a model for a dataset that keeps every layer of another that fits.

    Classes are matched by their output value: those that both know keep their weights.

    Parameters
    ----------
    dataset : Dataset
    start : Model
        Its architecture, width and depth are taken; its network stays as it is.
    seed : int
        Of the random weights of what is new.

    Returns
    -------
    Model
        On the device of ``start``.
    tuple of str
        Names of the layers that start anew.

    Raises
    ------
    ValueError
        If one is for planes and the other for volumes.
    """
    if start.axes != dataset.axes:
        raise ValueError(f"the model to start from is for {start.axes} images: use --ndim {len(start.axes)}")
    config = start.network.config
    device = next(start.network.parameters()).device
    architecture = Architecture(start.architecture, config.width, config.depth)
    model = new_model(dataset, architecture, seed=seed, device=device)
    kept, anew = start.network.state_dict(), []
    weights = model.network.state_dict()
    for name, fresh in weights.items():
        old = kept.get(name)
        if old is None or old.shape[1:] != fresh.shape[1:]:
            anew.append(name)
        elif name.startswith("head."):
            _copy_classes(fresh, old, model.classes, start.classes)
        elif old.shape == fresh.shape:
            fresh.copy_(old)
        else:
            anew.append(name)
    return model, tuple(anew)


def _copy_classes(
    fresh: Tensor, old: Tensor, classes: tuple[ClassLabel, ...], old_classes: tuple[ClassLabel, ...]
) -> None:
    """Copy the output channel (the first axis) of each class that both models know."""
    for index, label in enumerate(classes):
        same = [i for i, other in enumerate(old_classes) if other.output_value == label.output_value]
        if same:
            fresh[index].copy_(old[same[0]])
