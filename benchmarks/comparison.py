"""What the accuracy benchmarks train on and are tested on: the splits of the real data, binary nuclei."""

import json
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_unet.core.examples import Dataset, read_examples
from napari_unet.core.io import Image, open_image, open_labels, read_labels
from napari_unet.core.label_values import LabelOptions
from napari_unet.core.metrics import score_planes

ROOT = Path(__file__).resolve().parents[1]
DATA = Path(os.environ.get("NAPARI_UNET_DATA", ROOT / "../shared/data"))
FOREGROUND = 1  # membranes and, once binary, nuclei


@dataclass(frozen=True, eq=False)
class Test:
    """Planes of an image that no training saw, and their true labels (n_planes, Y, X)."""

    image: Image
    planes: tuple[int, ...]
    truth: NDArray[Any]


@dataclass(frozen=True, eq=False)
class Task:
    """One of the tables: what is trained on and what is tested."""

    name: str
    dataset: Dataset
    tests: tuple[Test, ...]


Segmenter = Callable[[Test], NDArray[Any]]  # predicted labels (n_planes, Y, X)


def read_task(name: str) -> Task:
    """Read "membranes" or "nuclei"."""
    split = json.loads((DATA / "splits.json").read_text())[name]
    folder = DATA / split["set"]
    return TASKS[name](name, folder, split)


def score_task(task: Task, segment: Segmenter) -> list[float]:
    """Dice of the foreground in every test plane."""
    return [
        score_planes([(found, true)]).classes[FOREGROUND].dice
        for test in task.tests
        for found, true in zip(segment(test), test.truth, strict=True)
    ]


def _membranes(name: str, folder: Path, split: dict[str, list[int]]) -> Task:
    path = next((folder / "images").iterdir())
    image, labels = open_image(path), open_labels(folder / "labels" / path.name)
    planes = tuple(split["test_slices"])
    dataset = read_examples([(image, labels)], LabelOptions(planes=tuple(split["train_slices"])))
    return Task(name, dataset, (Test(image, planes, read_labels(labels)[list(planes)]),))


def _nuclei(name: str, folder: Path, split: dict[str, list[str]]) -> Task:
    train = list(_binary_pairs(folder, split["train_5"]))
    tests = [
        Test(image, (0,), mask.read()) for image, mask in _binary_pairs(folder, split["test"])
    ]  # its channel axis serves as the one plane
    return Task(name, read_examples(train), tuple(tests))


def _binary_pairs(folder: Path, names: Sequence[str]) -> Iterator[tuple[Image, Image]]:
    for name in names:
        image = open_image(folder / "images" / name)
        mask = (read_labels(open_labels(folder / "labels" / name)) > 0).astype(np.uint8)
        yield image, Image(mask, image.spatial_axes, image.spacing, image.unit, ("",), image.name)


TASKS: dict[str, Callable[..., Task]] = {"membranes": _membranes, "nuclei": _nuclei}
