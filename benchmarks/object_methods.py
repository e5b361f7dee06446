"""Five ways to learn objects, each with the default U-Net, equal time and the images of objects.py.

``PYTHONPATH=src python benchmarks/object_methods.py --json methods.json`` takes 35 minutes;
``--from methods.json`` prints its table again. A row is kept as it ends.

components
    Background and object, with a background line between objects that touch and the paper's weight map. The
    connected parts without the small ones, grown back by a pixel; the threshold suits the training images.
border
    Background, a border two pixels wide, and what is inside it, which is grown into the border.
core
    Background, rim, and the inner half of an object, which is grown into the rim.
depth
    The same, but rim turns into core by degrees: the core's share of the foreground is the depth of a pixel
    in its object over the greatest depth, learnt by a term of the loss of its own.
share
    What the package does: the same, twice as steep. There is only rim up to a quarter of the greatest depth,
    only core from three quarters on.

All but the first grow seeds by rules that the package fits at the end of the training.
"""

import argparse
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import groupby, product
from pathlib import Path
from statistics import fmean
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
from numpy.typing import NDArray
from object_rows import Row, add_row, read_rows
from objects import CPU, RECIPES, Part, run_part
from scipy import ndimage
from skimage.segmentation import expand_labels, find_boundaries

from napari_unet.core import rims, segment, supply
from napari_unet.core.devices import describe_device
from napari_unet.core.draining import drain
from napari_unet.core.inference import Predictor
from napari_unet.core.matching import score_object_images, score_objects
from napari_unet.core.modelfile import Model
from napari_unet.core.numbered import connected_objects, fill_holes, number_in_order
from napari_unet.core.predicting import predict_part
from napari_unet.core.rims import separate_touching
from napari_unet.core.targets import (
    OBJECT_CLASSES,
    UNLABELLED,
    ClassLabel,
    Example,
    Target,
    TargetOptions,
    make_target,
)
from napari_unet.core.thresholds import FOUND

TWO_CLASSES = (OBJECT_CLASSES[0], ClassLabel(2, 1, "object"))
BORDER = 2  # pixels
THRESHOLDS = tuple(tenth / 10 for tenth in range(1, 10))

Pixels = NDArray[Any]


def component_target(example: Example, options: TargetOptions) -> Target:
    """Only objects without the line between them are foreground."""
    target = make_target(example, options)
    return with_classes(target, separate_touching(objects_of(target)) > 0)


def border_target(example: Example, options: TargetOptions) -> Target:
    """Give every object a border of the same width."""
    target = make_target(example, options)
    objects = objects_of(target)
    away = ndimage.distance_transform_edt(~find_boundaries(objects, mode="inner"))
    return with_classes(target, np.select([objects == 0, away < BORDER], [0, 1], 2))


def core_target(example: Example, options: TargetOptions) -> Target:
    """Leave out the shares: every pixel is what there is more of."""
    return replace(make_target(example, options), core_share=None)


def depth_target(example: Example, options: TargetOptions) -> Target:
    """Let rim turn into core all the way from the border to the middle."""
    with patch.multiple(rims, RIM_DEPTH=0.0, CORE_DEPTH=1.0):
        return make_target(example, options)


def objects_of(target: Target) -> Pixels:
    """Objects without background (*spatial)."""
    return np.where(target.objects > 1, target.objects, 0)


def with_classes(target: Target, classes: Pixels) -> Target:
    """Replace the classes of what is labelled, and leave out the shares."""
    known = np.where(target.classes == UNLABELLED, UNLABELLED, classes)
    return replace(target, classes=known.astype(np.uint8), core_share=None)


METHODS: dict[str, Callable[[Example, TargetOptions], Target]] = {
    "components": component_target,
    "border": border_target,
    "core": core_target,
    "depth": depth_target,
    "share": make_target,
}


def run_method(name: str, method: str, minutes: float, seed: int) -> Row:
    """Train and test in one of the ways."""
    (part,) = RECIPES[name].read(seed)
    if method == "components":
        part = replace(part, dataset=replace(part.dataset, classes=TWO_CLASSES))
    with patch.object(supply, "make_target", METHODS[method]):
        row, model = run_part(name, part, 0, minutes, seed)
    row = replace(row, method=method)
    return with_component_scores(row, model, part) if method == "components" else row


def with_component_scores(row: Row, model: Model, part: Part) -> Row:
    """Test connected parts instead of what the package makes of two classes."""
    threshold = fit_threshold(model, part)
    pairs = []
    for image, truth in part.tests:
        foreground = segment(model, image, kind="probabilities", device="cpu")[1]
        pairs.append((find_components(foreground, threshold, model), truth))
    ap50 = tuple(score_objects(*pair).ap[0.5] for pair in pairs)
    return replace(row, scores=score_object_images(pairs).to_json(), ap50=ap50)


def fit_threshold(model: Model, part: Part) -> float:
    """Choose by the measure by which the package fits its rules, on the training images."""
    predictor = Predictor(model.network)
    fields = [
        (
            drain(predict_part(predictor, example.image))[1],
            np.where(example.annotation > 1, example.annotation, 0),
        )
        for example in part.dataset.examples
    ]

    def measure(threshold: float) -> float:
        found = ((find_components(foreground, threshold, model), truth) for foreground, truth in fields)
        pooled = score_object_images(found).pooled_ap
        return fmean(pooled[iou] for iou in FOUND)

    return max(THRESHOLDS, key=measure)


def find_components(foreground: Pixels, threshold: float, model: Model) -> Pixels:
    """Find connected parts that are large enough, grow them back by a pixel and fill their holes."""
    parts = connected_objects(foreground > threshold)
    kept = np.bincount(parts.ravel(), minlength=1) >= max(1, model.objects.min_size)
    return fill_holes(expand_labels(number_in_order(parts, kept), 1))


def table(rows: Sequence[Row]) -> str:
    """A Markdown table with a line for each task and method: means over the seeds."""
    lines = ["| task | method | AP 0.5 | mean AP | steps | seconds |", "|---|---|---|---|---|---|"]
    ordered = sorted(rows, key=lambda row: (row.name, [*METHODS].index(row.method)))
    for (name, method), group in groupby(ordered, lambda row: (row.name, row.method)):
        figures = [(*row.figures[:2], row.steps, row.seconds) for row in group]
        ap50, mean_ap, steps, seconds = (fmean(column) for column in zip(*figures, strict=True))
        lines.append(f"| {name} | {method} | {ap50:.3f} | {mean_ap:.3f} | {steps:.0f} | {seconds:.0f} |")
    return "\n".join(lines)


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", nargs="+", choices=("nuclei-8", "phase"), default=["nuclei-8", "phase"])
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=[*METHODS])
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    parser.add_argument("--minutes", type=float, default=3.0, help="of every training")
    parser.add_argument("--json", type=Path, help="where to add the rows")
    parser.add_argument("--from", dest="source", type=Path, help="rows kept before, instead of a run")
    return parser.parse_args()


def main() -> None:
    wanted = parse_arguments()
    if not wanted.source:
        print(f"{describe_device(CPU)}, torch {torch.__version__}", flush=True)
        for name, seed, method in product(wanted.rows, wanted.seeds, wanted.methods):
            add_row(run_method(name, method, wanted.minutes, seed), wanted.json)
    kept = wanted.source or wanted.json
    if kept:
        print(table(read_rows(kept)))


if __name__ == "__main__":
    main()
