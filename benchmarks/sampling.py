"""How often an example is drawn: by chance, by its labelled pixels, or by their square root.

``PYTHONPATH=src python benchmarks/sampling.py`` takes a quarter of an hour. One stack or set of images is
annotated unevenly: one plane or image whole, the others by a few dots. Trained for some number of steps, so
that the machine does not matter, and judged on planes and images that are in no test list. Dice, three seeds.
"""

import argparse
import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
import tifffile
import torch
from numpy.typing import NDArray

from napari_unet.core import (
    LabelOptions,
    TrainConfig,
    Wanted,
    drain,
    new_model,
    patches,
    read_examples,
    segment,
    train,
)
from napari_unet.core.io.image import Image, make_image

DATA = Path(os.environ.get("NAPARI_UNET_DATA", "../shared/data"))
N_DOTS, RADIUS = 4, 3
POWERS = {"by chance": 0.0, "square root": 0.5, "labelled pixels": 1.0}
Pair = tuple[NDArray[Any], NDArray[np.uint8]]


def membranes() -> tuple[list[Pair], list[Pair]]:
    """Planes 0, 3, 7 to annotate, and 1, 4, 6, 8 to judge."""
    folder = DATA / "em2d_isbi2012"
    [image], [labels] = (sorted((folder / kind).glob("*.tif")) for kind in ("images", "labels"))
    pixels, truth = tifffile.imread(image), tifffile.imread(labels)
    pairs = [(pixels[z], (truth[z] == 1).astype(np.uint8)) for z in (0, 3, 7, 1, 4, 6, 8)]
    return pairs[:3], pairs[3:]


def nuclei() -> tuple[list[Pair], list[Pair]]:
    """Five images of the training list to annotate, and ten others of it to judge."""
    folder = DATA / "fluo2d_dsb2018"
    names = json.loads((DATA / "splits.json").read_text())["nuclei"]["train_all"]
    pairs = [
        (
            tifffile.imread(folder / "images" / name),
            (tifffile.imread(folder / "labels" / name) > 0).astype(np.uint8),
        )
        for name in names[:15]
    ]
    return pairs[:5], pairs[5:]


def annotated(truth: NDArray[np.uint8], rng: np.random.Generator, *, whole: bool) -> NDArray[np.uint8]:
    """Return 1 for background and 2 for foreground, everywhere or in a few dots of each."""
    if whole:
        return truth + np.uint8(1)
    annotation = np.zeros_like(truth)
    rows, columns = np.indices(truth.shape)
    for value in (0, 1):
        places = np.argwhere(truth == value)
        for y, x in places[rng.permutation(len(places))[:N_DOTS]]:
            near = (rows - y) ** 2 + (columns - x) ** 2 <= RADIUS**2
            annotation[near & (truth == value)] = value + 1
    return annotation


def as_image(pixels: NDArray[Any], name: str) -> Image:
    """Name the axes of a plane."""
    return make_image(pixels, "YX", {}, "pixel", (), name)


def score(task: Callable[[], tuple[list[Pair], list[Pair]]], power: float, seed: int, steps: int) -> float:
    """Train on one whole image and dots in the others, and return the mean Dice of those held."""
    shown, held = task()
    rng = np.random.default_rng(seed)
    pairs = [
        (
            as_image(pixels, f"image {i}"),
            as_image(annotated(truth, rng, whole=i == seed % len(shown)), "labels"),
        )
        for i, (pixels, truth) in enumerate(shown)
    ]
    patches.EXAMPLE_POWER = power
    data = read_examples(pairs, LabelOptions("classes", "ignore"))
    model = new_model(data, seed=seed, device=torch.device("cpu"))
    result = drain(train(model, Wanted(data.examples), TrainConfig(steps=steps, seed=seed)))
    found = [segment(result.model, pixels) == 2 for pixels, _ in held]
    return fmean(2 * (f & (t > 0)).sum() / (f.sum() + t.sum()) for f, (_, t) in zip(found, held, strict=True))


def lines(steps: int) -> Iterator[str]:
    """Yield a row for each way and task."""
    yield "| task | examples are drawn | mean Dice | seeds |"
    yield "|---|---|---|---|"
    for task in (membranes, nuclei):
        for name, power in POWERS.items():
            scores = [score(task, power, seed, steps) for seed in range(3)]
            each = ", ".join(f"{value:.3f}" for value in scores)
            yield f"| {task.__name__} | {name} | {fmean(scores):.3f} | {each} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=120)
    for line in lines(parser.parse_args().steps):
        print(line, flush=True)


if __name__ == "__main__":
    main()
