"""Measure training and inference on a CUDA GPU against its bf16 matrix product and against eager fp32.

Run as ``PYTHONPATH=src python benchmarks/gpu.py``; takes a few minutes and makes its own input. Eager fp32 is
PyTorch as it comes: channels first, no autocast, TF32 convolutions. Without a GPU the same code runs once
with tiny sizes on the CPU, so that it does not rot.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from statistics import median
from time import perf_counter

import numpy as np
import torch
from rates import (
    CLASSES,
    Work,
    disc_examples,
    forward_flops,
    make_batch,
    make_network,
    matrix_product,
    median_seconds,
    training_step,
)

from napari_unet import __version__
from napari_unet.core.devices import choose_device, choose_precision, describe_device, is_out_of_memory
from napari_unet.core.draining import drain
from napari_unet.core.inference import Predictor
from napari_unet.core.modelfile import Model
from napari_unet.core.networks import Network
from napari_unet.core.supply import TrainConfig
from napari_unet.core.tiling import read_mirrored
from napari_unet.core.training import TrainUpdate, Wanted, train


@dataclass(frozen=True)
class Sizes:
    """How large the measured work is."""

    product: int = 8192
    width: int = 32
    depth: int = 4
    batch_sizes: tuple[int, ...] = (4, 16)
    patch: int = 256
    image: int = 2048
    volume_patch: int = 64
    volume: int = 160
    repeats: int = 20
    training: TrainConfig = field(default_factory=lambda: TrainConfig(minutes=0.5))


TINY = Sizes(64, 4, 2, (1, 2), 32, 64, 16, 16, 1, TrainConfig(steps=2, patch_size=32, batch_size=1))


class Bench:
    """One device, the rate of its matrix product, and a line for each thing measured on it."""

    def __init__(self, device: torch.device, sizes: Sizes) -> None:
        self.device, self.sizes = device, sizes
        self.dtype = choose_precision(device)
        product, flops = matrix_product(sizes.product, device, self.dtype)
        self.rate = flops / median_seconds(product, repeats=sizes.repeats)[0]

    def training(self, ndim: int, batch_size: int, side: int) -> None:
        """Compare a training step with the same in eager fp32."""
        shape = (side,) * ndim
        batch = make_batch(batch_size, shape, self.device)
        ours, eager = self.network(ndim, fast=True), self.network(ndim, fast=False)
        flops = 3 * forward_flops(ours, batch_size, shape)  # backward costs twice the forward
        steps = (training_step(ours, batch, self.dtype), training_step(eager, batch, torch.float32))
        self.report(f"training step {ndim}D, batch {batch_size} of {side}^{ndim}", flops, steps)

    def inference(self, ndim: int, side: int) -> None:
        """Compare a prediction with the same in eager fp32; images are on the device already."""
        network, shape = self.network(ndim, fast=False).eval(), (side,) * ndim
        images = make_batch(1, shape, self.device).images
        predictor = Predictor(network)

        @torch.inference_mode()
        def eager() -> None:
            torch.softmax(network(images), dim=1)

        works = (lambda: predictor.probabilities(images), eager)
        self.report(f"inference {ndim}D, {side}^{ndim}", forward_flops(network, 1, shape), works)

    def tiles(self, side: int, tile: int | None) -> None:
        """Predict an array in memory as stacks are: tiles with halo, as many at once as fit."""
        predictor = Predictor(self.network(2, fast=False))
        image = np.random.default_rng(0).standard_normal((1, side, side), np.float32)
        grid = predictor.grid(image.shape[1:], tile=tile)
        blocks = [read_mirrored(lambda region: image[:, *region], each.read, grid.shape) for each in grid]
        crops = [each.crop for each in grid]
        n_at_once = min(len(grid), predictor.batch_size(grid.read_shape))

        def work(n_at_once: int, *, classes: bool) -> None:
            for start in range(0, len(grid), n_at_once):
                batch = slice(start, start + n_at_once)
                predictor.predict_tiles(blocks[batch], crops[batch], classes=classes)

        works = (
            partial(work, n_at_once, classes=True),
            partial(work, 1, classes=True),
            partial(work, n_at_once, classes=False),
        )
        labels, one_by_one, probabilities = median_seconds(*works, repeats=self.sizes.repeats)
        rate = self.rate_of(forward_flops(predictor.network, 1, grid.shape), labels)
        print(
            f"tiles of a numpy array of {side}^2 that read {grid.read_shape}, {n_at_once} of {len(grid)} at "
            f"once: classes {side**2 / labels / 1e6:.1f} megapixels a second, {rate}; one tile at once "
            f"{one_by_one / labels:.2f} times as long, probabilities {probabilities / labels:.2f} times"
        )

    def real_training(self) -> None:
        """Train on discs and say how fast it went and what it learnt."""
        model = Model(
            *(self.network(2, fast=False), "unet", "classes", CLASSES, "YX", (1.0, 1.0), "pixel", ("",)),
            *("percentile", {}, __version__),
        )
        examples = disc_examples(4, 2 * self.sizes.patch)
        rates: list[float] = []

        def note(update: TrainUpdate) -> None:
            rates.append(update.steps_per_second)

        start = perf_counter()
        result = drain(train(model, Wanted(examples), self.sizes.training), note)
        score = f"{result.score.mean_dice:.3f}" if result.score else "none"
        print(
            f"train() on 4 images of discs: {result.steps} steps in {perf_counter() - start:.1f} s, "
            f"median {median(rate for rate in rates if rate):.1f} steps a second, validation Dice {score}"
        )

    def network(self, ndim: int, *, fast: bool) -> Network:
        """A fresh U-Net on the device."""
        return make_network(ndim, self.sizes.width, self.sizes.depth, self.device, fast=fast)

    def report(self, name: str, flops: float, works: Sequence[Work]) -> None:
        """Time ours and eager fp32 in turns and print one line."""
        ours, eager = median_seconds(*works, repeats=self.sizes.repeats)
        print(
            f"{name}: {1e3 * ours:.2f} ms, {self.rate_of(flops, ours)}, "
            f"{eager / ours:.2f} times as fast as eager fp32 ({1e3 * eager:.2f} ms)"
        )

    def rate_of(self, flops: float, seconds: float) -> str:
        """Say how fast that was, also as a share of the matrix product's rate."""
        rate = flops / seconds
        return f"{rate / 1e12:.1f} TFLOP/s, {rate / self.rate:.0%} of the matrix product's rate"

    def run(self) -> None:
        """Measure everything."""
        sizes = self.sizes
        print(
            f"{describe_device(self.device)}, torch {torch.__version__}; matrix product of {sizes.product}^2 "
            f"in {self.dtype}: {self.rate / 1e12:.1f} TFLOP/s; U-Net width {sizes.width} depth {sizes.depth}"
        )
        for batch_size in sizes.batch_sizes:
            with surviving_small_memory():
                self.training(2, batch_size, sizes.patch)
        for work, arguments in (
            (self.inference, (2, sizes.image)),
            (self.tiles, (sizes.image, None)),
            (self.tiles, (sizes.image, sizes.patch)),
            (self.training, (3, 2, sizes.volume_patch)),
            (self.inference, (3, sizes.volume)),
            (self.real_training, ()),
        ):
            with surviving_small_memory():
                work(*arguments)  # type: ignore[operator]


@contextmanager
def surviving_small_memory() -> Iterator[None]:
    """Say so where a GPU is too small for one of the sizes, and go on."""
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        print("the next size does not fit into this GPU's memory")
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def main() -> None:
    """Measure on the GPU, or check on the CPU that this script still works."""
    if torch.cuda.is_available():
        Bench(choose_device("cuda"), Sizes()).run()
        return
    print(
        "There is no CUDA GPU here, so these are not measurements: the same code with tiny sizes on the CPU."
    )
    Bench(torch.device("cpu"), TINY).run()


if __name__ == "__main__":
    main()
