"""What the benchmarks measure with: medians of seconds, the rate of a matrix product, counted operations."""

from collections.abc import Callable, Sequence
from statistics import median
from time import perf_counter

import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode

from napari_unet.core.batches import Batch
from napari_unet.core.learner import Learner
from napari_unet.core.losses import LOSSES
from napari_unet.core.networks import Network, build_network, network_config
from napari_unet.core.targets import ClassLabel, Example

CLASSES = (ClassLabel(1, 0, "background"), ClassLabel(2, 1, "disc"))
Work = Callable[[], object]


def synchronise() -> None:
    """Wait until a GPU has done what it was asked to."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def median_seconds(*works: Work, repeats: int, warm_ups: int = 2) -> list[float]:
    """Median duration of each work; they take turns, so that all see the same load of the machine."""
    for work in works * warm_ups:
        work()
    seconds: list[list[float]] = [[] for _ in works]
    for _ in range(repeats):
        for work, taken in zip(works, seconds, strict=True):
            synchronise()
            start = perf_counter()
            work()
            synchronise()
            taken.append(perf_counter() - start)
    return [median(taken) for taken in seconds]


def matrix_product(side: int, device: torch.device, dtype: torch.dtype) -> tuple[Work, float]:
    """A product of square matrices, and its floating-point operations."""
    left, right = (torch.randn(side, side, device=device).to(dtype) for _ in range(2))
    return lambda: left @ right, 2.0 * side**3


def make_network(ndim: int, width: int, depth: int, device: torch.device, *, fast: bool) -> Network:
    """A U-Net for one channel and two classes, laid out channels last if `fast`."""
    torch.manual_seed(0)
    config = network_config("unet", ndim=ndim, in_channels=1, n_classes=2, width=width, depth=depth)
    network = build_network("unet", config).to(device)
    if fast and ndim == 2:  # as in training
        network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return network


def forward_flops(network: Network, batch_size: int, shape: Sequence[int]) -> float:
    """Floating-point operations of one prediction, two per multiplication and addition."""
    with torch.device("meta"):
        empty = build_network("unet", network.config).eval()
        image = torch.empty(batch_size, 1, *shape)
    with FlopCounterMode(display=False) as counter:
        empty(image)
    return float(counter.get_total_flops())


def make_batch(batch_size: int, shape: Sequence[int], device: torch.device) -> Batch:
    """Noise with noise as its classes."""
    generator = torch.Generator(device).manual_seed(0)
    images = torch.randn(batch_size, 1, *shape, device=device, generator=generator)
    classes = (images[:, 0] > 0).long()
    return Batch(images, classes, torch.ones_like(images[:, 0]))


def training_step(network: Network, batch: Batch, dtype: torch.dtype) -> Work:
    """One step with the default loss: forward, backward, clipping, AdamW and the averaged weights."""
    learner = Learner(network, LOSSES["ce+dice"], dtype)
    return lambda: learner.learn(batch, 1e-4)


def disc_examples(n_images: int, side: int, seed: int = 0) -> tuple[Example, ...]:
    """Noisy images of discs, every pixel annotated: 1 is background, 2 a disc."""
    rng = np.random.default_rng(seed)
    rows, columns = np.mgrid[:side, :side]
    examples = []
    for index in range(n_images):
        inside = np.zeros((side, side), bool)
        for row, column in rng.uniform(0, side, (max(4, side * side // 2500), 2)):
            inside |= (rows - row) ** 2 + (columns - column) ** 2 < rng.uniform(5, 14) ** 2
        image = inside + rng.normal(0, 0.7, inside.shape)
        examples.append(
            Example(image[None].astype(np.float32), inside.astype(np.int32) + 1, (1.0, 1.0), f"discs {index}")
        )
    return tuple(examples)
