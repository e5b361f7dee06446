"""A model to start training from: a fresh one, or one that keeps what another has learnt."""

from dataclasses import dataclass, replace
from math import log

import torch
from torch import Tensor

from napari_unet import __version__
from napari_unet.core.devices import choose_device
from napari_unet.core.examples import Dataset
from napari_unet.core.modelfile import Model
from napari_unet.core.networks import SKIPS, build_network, network_config
from napari_unet.core.networks.unet import UNet, UNetConfig

DEFAULT_SIZE = {"cpu": (16, 3), "mps": (32, 4), "cuda": (32, 4)}
"""Width and depth of the U-Net on each kind of device: what learns most in the first minute or two."""
LEAST_CELLS = 4
"""The bottom level sees at least so many pixels along the longest axis of the examples."""


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
        The U-Net by default, as wide and deep as suits the device and the images.
    seed : int
        Of the random weights.
    device : torch.device, optional
        Where the network lives; by default the fastest that there is, as `choose_device` finds it.

    Returns
    -------
    Model

    Raises
    ------
    ValueError
        If there is no such architecture.
    """
    architecture = architecture or Architecture()
    device = device or choose_device()
    width, depth = default_size(dataset, device) if architecture.name == "unet" else (None, None)
    config = network_config(
        architecture.name,
        ndim=len(dataset.axes),
        in_channels=len(dataset.channels),
        n_classes=len(dataset.classes),
        width=width if architecture.width is None else architecture.width,
        depth=depth if architecture.depth is None else architecture.depth,
        spacing=dataset.spacing,
    )
    return _untrained(dataset, architecture.name, config, seed, device)


def _untrained(
    dataset: Dataset, architecture: str, config: UNetConfig, seed: int, device: torch.device
) -> Model:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = build_network(architecture, config)
    if dataset.task == "objects" and isinstance(network, UNet):
        with torch.no_grad():  # rim and core are two classes: at first background is as likely as both
            network.head.get_parameter("bias")[0] += log(len(dataset.classes) - 1)
    return Model(
        network.to(device),
        architecture,
        dataset.task,
        dataset.classes,
        dataset.axes,
        dataset.spacing,
        dataset.unit,
        dataset.channels,
        dataset.normalisation,
        {},
        __version__,
    )


def default_size(dataset: Dataset, device: torch.device) -> tuple[int, int]:
    """Return the width and depth of a U-Net that suits a device, less deep for small images.

    Examples
    --------
    >>> import numpy as np
    >>> from napari_unet.core.targets import Example, annotated_classes
    >>> small = Example(np.zeros((1, 20, 20), np.float32), np.ones((20, 20), int), (1.0, 1.0))
    >>> classes = annotated_classes([1, 2], dense=False)
    >>> dataset = Dataset((small,), "classes", classes, "YX", (1, 1), "pixel", ("",), "percentile", ())
    >>> default_size(dataset, torch.device("cpu"))
    (16, 2)
    """
    width, depth = DEFAULT_SIZE[device.type]
    longest = max(max(example.annotation.shape) for example in dataset.examples)
    while depth > 1 and longest < LEAST_CELLS * 2**depth:
        depth -= 1
    return width, depth


def fine_tune(dataset: Dataset, start: Model, *, seed: int = 0) -> tuple[Model, tuple[str, ...]]:
    """Build a model for a dataset that keeps every layer of another that fits.

    Classes that both know, with the same values and name, keep their weights; where all are the same, so are
    the rules of objects.

    Parameters
    ----------
    dataset : Dataset
    start : Model
        Its architecture is taken, with width, depth and poolings; its network stays as it is.
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
        If one is for planes and the other for volumes, or their intensities are normalised in two ways.
    """
    if start.normalisation != dataset.normalisation:
        raise ValueError(
            f"the examples are normalised by {dataset.normalisation!r} and the model to start from by "
            f"{start.normalisation!r}: read them with normalisation={start.normalisation!r}"
        )
    if start.axes != dataset.axes:
        raise ValueError(f"the model to start from is for {start.axes} images: use --ndim {len(start.axes)}")
    config = replace(start.network.config, in_channels=len(dataset.channels), n_classes=len(dataset.classes))
    device = next(start.network.parameters()).device
    model = _untrained(dataset, start.architecture, config, seed, device)
    known = [label for label in model.classes if label in start.classes]
    new_rows, old_rows = (
        torch.tensor([classes.index(label) for label in known], dtype=torch.int64, device=device)
        for classes in (model.classes, start.classes)
    )
    kept, anew = start.network.state_dict(), []
    for name, fresh in model.network.state_dict().items():
        n_axes = _class_axes(start.architecture, name)
        if n_axes and known:
            fresh[_among(new_rows, n_axes)] = kept[name][_among(old_rows, n_axes)]
        elif not n_axes and fresh.shape == kept[name].shape:
            fresh.copy_(kept[name])
        else:
            anew.append(name)
    rules = start.objects if model.classes == start.classes else None
    return replace(model, objects=rules), tuple(anew)


def _class_axes(architecture: str, name: str) -> int:
    """Tell how many of the first axes of a weight count classes."""
    if architecture in SKIPS and name.startswith("upsamples."):
        return 2  # from the score map of each class to that of each class
    return int(name.startswith(("head.", "scores.")))


def _among(rows: Tensor, n_axes: int) -> tuple[Tensor, ...]:
    """Index the given rows along each of the first axes."""
    return (rows,) if n_axes == 1 else (rows[:, None], rows)
