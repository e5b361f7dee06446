"""What is learnt from the first strokes on one slice of a stack, step by step: does the mask improve?

``PYTHONPATH=src python benchmarks/first_strokes.py`` takes seven minutes. A few nuclei of a slice of the
shipped stack are painted as a person would with a round brush, not quite up to their edges, and a few strokes
of background; which nuclei, the seed decides. Scores are those of all six slices. Steps are counted, not
seconds, so that the machine does not matter.
"""

import argparse
from collections.abc import Callable, Iterator
from itertools import pairwise, product
from statistics import fmean
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt
from skimage.draw import line

from napari_unet.core import LabelOptions, TrainConfig, Wanted, new_model, read_examples, segment, train
from napari_unet.core.augment import MANY_IMAGES, ONE_STACK
from napari_unet.core.examples import Dataset
from napari_unet.core.io.image import make_image
from napari_unet.core.matching import score_object_images
from napari_unet.core.modelfile import Model
from napari_unet.samples import nuclei_stack

STACK = nuclei_stack()
SLICE = 2
N_NUCLEI = {"objects": 5, "classes": 3}
N_STROKES = 4
STEPS = 15, 30, 60, 100
STRENGTHS = {"mild": ONE_STACK, "strong": MANY_IMAGES, "auto": None}

Pixels = NDArray[Any]
Spot = tuple[int, int]


def paint(task: str, seed: int) -> Pixels:
    """Annotate a slice (Z, Y, X): 1 is background; nuclei are 2, or 2 and more."""
    truth, annotation = STACK.objects[SLICE], np.zeros(STACK.objects.shape, np.uint16)
    chosen = np.random.default_rng(seed).permutation(np.unique(truth)[1:])[: N_NUCLEI[task]]
    for number, nucleus in enumerate(chosen.tolist(), start=2):
        inside = distance_transform_edt(np.pad(truth == nucleus, 1))[1:-1, 1:-1] > 3
        if inside.any():
            fill = list(zigzag(inside)) if task == "objects" else deepest(inside)
            stroke(annotation[SLICE], fill, number if task == "objects" else 2)
    room = truth == 0
    for _ in range(N_STROKES):
        middle = deepest(room)
        stroke(annotation[SLICE], middle, 1)
        room &= distance_transform_edt(annotation[SLICE] != 1) > 20
    return annotation


def zigzag(inside: NDArray[np.bool_]) -> Iterator[Spot]:
    """Corners of a stroke that fills a region, from side to side."""
    for turn, row in enumerate(np.flatnonzero(inside.any(1))[::5].tolist()):
        columns = np.flatnonzero(inside[row])[:: 1 if turn % 2 else -1]
        yield from ((row, int(columns[0])), (row, int(columns[-1])))


def deepest(inside: NDArray[np.bool_]) -> list[Spot]:
    """Ends of a horizontal stroke through the middle of where most room is."""
    depth = distance_transform_edt(np.pad(inside, 1))[1:-1, 1:-1]
    row, column = (int(at) for at in np.unravel_index(depth.argmax(), depth.shape))
    half = max(1, int(depth[row, column] / 2))
    return [(row, column - half), (row, column + half)]


def stroke(plane: Pixels, corners: list[Spot], value: int, radius: float = 4.0) -> None:
    """Draw a line with a round brush."""
    path = np.zeros(plane.shape, bool)
    for start, stop in pairwise(corners):
        path[line(*start, *stop)] = True
    plane[distance_transform_edt(~path) <= radius] = value


def read(task: str, seed: int) -> Dataset:
    """Read what is painted."""
    image, annotation = (
        make_image(pixels, "ZYX", {}, "pixel", (), "stack") for pixels in (STACK.image, paint(task, seed))
    )
    return read_examples([(image, annotation)], LabelOptions(task, "ignore"))


def dice(model: Model) -> float:
    """Mean Dice of the foreground."""
    found = [segment(model, plane, device="cpu") == 2 for plane in STACK.image]
    pairs = [(mask, truth > 0) for mask, truth in zip(found, STACK.objects, strict=True)]
    return fmean(2 * (one & other).sum() / (one.sum() + other.sum()) for one, other in pairs)


def average_precision(model: Model) -> float:
    """Mean AP of the nuclei at an IoU of 0.5."""
    found = [segment(model, plane, kind="objects", device="cpu") for plane in STACK.image]
    return score_object_images(zip(found, STACK.objects, strict=True)).ap[0.5]


SCORES: dict[str, Callable[[Model], float]] = {"classes": dice, "objects": average_precision}


def learn(task: str, strength: str, seed: int) -> list[float]:
    """Train as the dock does, and score the model as it is at some steps."""
    dataset, asked, scores = read(task, seed), [None], []
    steps = iter(STEPS)
    at = next(steps)
    model = new_model(dataset, seed=seed, device=torch.device("cpu"))
    config = TrainConfig(steps=STEPS[-1] + 5, seed=seed, keep="latest", augmentation=STRENGTHS[strength])
    for update in train(model, lambda: Wanted(dataset.examples, snapshot=asked[0]), config):
        if update.model is not None:
            scores.append(SCORES[task](update.model))
            at = next(steps, STEPS[-1] + 6)
        if update.step >= at:
            asked[0] = (asked[0] or 0) + at
    return scores


def main() -> None:
    """Print a line for each task and strength of augmentation."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tasks", nargs="+", choices=SCORES, default=list(SCORES))
    parser.add_argument("--augmentation", nargs="+", choices=STRENGTHS, default=["mild", "strong"])
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    wanted = parser.parse_args()
    print(f"| task | augmentation | score | {' | '.join(f'{step} steps' for step in STEPS)} |")
    print(f"|{'---|' * (3 + len(STEPS))}")
    for task, strength in product(wanted.tasks, wanted.augmentation):
        scores = np.array([learn(task, strength, seed) for seed in wanted.seeds])
        cells = [f"{each.mean():.2f} ({each.min():.2f}–{each.max():.2f})" for each in scores.T]
        print(f"| {task} | {strength} | {SCORES[task].__name__} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
