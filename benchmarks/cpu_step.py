"""Measure on the CPU what share of the matrix product's rate a training step reaches, and what its data cost.

Run as ``python benchmarks/cpu_step.py``; takes about a minute on 2 cores.
"""

import torch
from rates import (
    CLASSES,
    disc_examples,
    forward_flops,
    make_batch,
    make_network,
    matrix_product,
    median_seconds,
    training_step,
)

from napari_unet.core.augment import MANY_IMAGES, ONE_STACK, Augmentation
from napari_unet.core.batches import BatchSource
from napari_unet.core.devices import choose_precision, describe_device
from napari_unet.core.targets import TargetOptions, make_target

WIDTH, DEPTH, BATCH_SIZE, PATCH_SHAPE = 32, 4, 4, (256, 256)
CPU = torch.device("cpu")


def batch_source(augmentation: Augmentation) -> BatchSource:
    """Batches as training draws them, from four images."""
    options = TargetOptions("classes", CLASSES)
    targets = [make_target(example, options) for example in disc_examples(4, 512)]
    return BatchSource(targets, len(CLASSES), augmentation, 0, CPU)


def main() -> None:
    """Print the two figures of docs/benchmarks.md."""
    dtype = choose_precision(CPU)
    network = make_network(2, WIDTH, DEPTH, CPU, fast=True)
    step_flops = 3 * forward_flops(network, BATCH_SIZE, PATCH_SHAPE)  # backward costs twice the forward
    product, product_flops = matrix_product(4096, CPU, dtype)
    step = training_step(network, make_batch(BATCH_SIZE, PATCH_SHAPE, CPU), dtype)
    stack, images = (batch_source(augmentation) for augmentation in (ONE_STACK, MANY_IMAGES))
    works = [lambda s=source: s.draw(BATCH_SIZE, PATCH_SHAPE, (0, 0)) for source in (stack, images)]
    product_s, step_s, *draws_s = median_seconds(product, step, *works, repeats=15)

    rate, reached = product_flops / product_s, step_flops / step_s
    print(f"{describe_device(CPU)}, torch {torch.__version__}, {dtype}")
    print(f"matrix product of 4096²: {1e3 * product_s:.0f} ms, {rate / 1e9:.0f} GFLOP/s")
    print(
        f"training step, width {WIDTH} depth {DEPTH}, batch {BATCH_SIZE} of {PATCH_SHAPE}: "
        f"{1e3 * step_s:.0f} ms, {reached / 1e9:.0f} GFLOP/s, "
        f"{reached / rate:.0%} of the matrix product's rate"
    )
    for name, draw_s in zip(("one stack", "many images"), draws_s, strict=True):
        print(f"data preparation, {name}: {1e3 * draw_s:.0f} ms, {draw_s / (draw_s + step_s):.1%} of a step")


if __name__ == "__main__":
    main()
