"""Accuracy of objects: the default U-Net from scratch, trained as ``napari-unet train --task objects`` does.

``PYTHONPATH=src python benchmarks/objects.py --json rows.json --models models`` takes three hours; with
``--rows nuclei-8 painted --seeds 0`` a few minutes. A row is kept as it ends; ``--from rows.json`` prints the
table again.
"""

import argparse
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Any

import torch
from comparison import DATA
from numpy.typing import NDArray
from object_rows import Row, add_row, read_rows, table
from painted_cells import paint_images

from napari_unet.core import LabelOptions, TrainConfig, Wanted, drain, new_model, save_model, segment, train
from napari_unet.core.devices import describe_device
from napari_unet.core.examples import Dataset, read_examples
from napari_unet.core.io import Image, open_image, open_labels, read_labels
from napari_unet.core.io.image import make_image
from napari_unet.core.matching import score_object_images, score_objects
from napari_unet.core.modelfile import Model

UNET = "U-Net"
CPU = torch.device("cpu")
HALVES = slice(0, 48), slice(52, 100)  # planes of the ovule, as splits.json says


@dataclass(frozen=True, eq=False)
class Part:
    """What is trained on, and the images with true objects that are tested."""

    dataset: Dataset
    tests: tuple[tuple[Image, NDArray[Any]], ...]

    @property
    def pairs(self) -> int:
        """Images with labels."""
        return len(self.dataset.examples)


@dataclass(frozen=True)
class Recipe:
    """A row of the table: how long to train on what; a volume is trained on in two parts."""

    minutes: float
    read: Callable[[int], Iterator[Part]]  # given the seed
    ndim: int = 2


def run_part(name: str, part: Part, number: int, minutes: float, seed: int) -> tuple[Row, Model]:
    """Train with the default settings and test."""
    start = perf_counter()
    model = new_model(part.dataset, seed=seed, device=CPU)
    config = TrainConfig(minutes=minutes, seed=seed)
    result = drain(train(model, Wanted(part.dataset.examples), config))
    wall = perf_counter() - start
    pairs = [(find_objects(result.model, image), truth) for image, truth in part.tests]
    row = Row(
        name,
        UNET,
        part.pairs,
        minutes,
        RECIPES[name].ndim,
        seed,
        number,
        result.steps,
        result.seconds,
        wall,
        score_object_images(pairs).to_json(),
        tuple(score_objects(*pair).ap[0.5] for pair in pairs),
    )
    return row, result.model


def find_objects(model: Model, image: Image) -> NDArray[Any]:
    """Objects of a plane or volume, numbered."""
    return segment(model, image, kind="objects", device="cpu")


def read_nuclei(names: str) -> Iterator[Part]:
    """All images of a split, densely labelled."""
    split, folder = read_split("nuclei")
    yield Part(read_dense(folder, split[names]), read_tests(folder, split["test"]))


def read_painted(seed: int) -> Iterator[Part]:
    """Thirty cells and some background in three images of `train_5`; the seed decides which."""
    split, folder = read_split("nuclei")
    names = split["train_5"]
    truths = [truth for _, truth in read_tests(folder, names)]
    pairs = []
    for name, annotation in paint_images(names, truths, seed).items():
        image = open_image(folder / "images" / name)
        pairs.append((image, make_image(annotation, "YX", {}, "pixel", (), name)))
    dataset = read_examples(pairs, LabelOptions("objects", "ignore"))
    yield Part(dataset, read_tests(folder, split["test"]))


def read_planes(name: str) -> Iterator[Part]:
    """Phase contrast or histology, densely labelled."""
    split, folder = read_split(name)
    yield Part(read_dense(folder, split["train"]), read_tests(folder, split["test"]))


def read_ovule() -> Iterator[Part]:
    """Each half of a volume in turn, tested on the other."""
    split, folder = read_split("ovule_nuclei_3d")
    halves = [read_half(folder, split["file"], planes) for planes in HALVES]
    for (image, labels), other in (halves, halves[::-1]):
        dataset = read_examples([(image, labels)], LabelOptions("objects", ndim=3))
        yield Part(dataset, ((other[0], read_labels(other[1])),))


def read_half(folder: Path, name: str, planes: slice) -> tuple[Image, Image]:
    """Planes of a volume and of its labels, as if they were a file of their own."""
    whole = open_image(folder / "images" / name), open_labels(folder / "labels" / name)
    image, labels = (crop(each, planes) for each in whole)
    return image, labels


def crop(image: Image, planes: slice) -> Image:
    """Read some planes."""
    pixels = image.read((planes, *(slice(0, size) for size in image.spatial_shape[1:])))
    sizes = dict(zip(image.spatial_axes, image.spacing, strict=True))
    return make_image(pixels, "CZYX", sizes, image.unit, image.channels, image.name)


def read_split(name: str) -> tuple[dict[str, Any], Path]:
    """Names of training and test files, and the folder they are in."""
    split = json.loads((DATA / "splits.json").read_text())[name]
    return split, DATA / split["set"]


def read_dense(folder: Path, names: Sequence[str]) -> Dataset:
    """Examples of images in which every object is labelled."""
    pairs = [(open_image(folder / "images" / name), open_labels(folder / "labels" / name)) for name in names]
    return read_examples(pairs, LabelOptions("objects"))


def read_tests(folder: Path, names: Sequence[str]) -> tuple[tuple[Image, NDArray[Any]], ...]:
    """Images and their true objects."""
    return tuple(
        (open_image(folder / "images" / name), read_labels(open_labels(folder / "labels" / name)))
        for name in names
    )


RECIPES = {
    "nuclei-8": Recipe(3, lambda seed: read_nuclei("train_8")),
    "nuclei-all": Recipe(15, lambda seed: read_nuclei("train_all")),
    "painted": Recipe(2, read_painted),
    "phase": Recipe(10, lambda seed: read_planes("phase")),
    "histology": Recipe(10, lambda seed: read_planes("histology")),
    "ovule": Recipe(10, lambda seed: read_ovule(), ndim=3),
}


def model_path(folder: Path, name: str, seed: int, part: int) -> Path:
    """Where the model of a training is kept."""
    return folder / f"{name}-seed{seed}-part{part}.safetensors"


def run_rows(wanted: argparse.Namespace) -> None:
    """Run everything that is wanted, one after the other."""
    print(f"{describe_device(CPU)}, torch {torch.__version__}", flush=True)
    for name in wanted.rows:
        minutes = wanted.minutes or RECIPES[name].minutes
        for seed in wanted.seeds:
            for number, part in enumerate(RECIPES[name].read(seed)):
                row, model = run_part(name, part, number, minutes, seed)
                add_row(row, wanted.json)
                if wanted.models:
                    save_model(model, model_path(wanted.models, name, seed, number), overwrite=True)


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", nargs="+", choices=RECIPES, default=list(RECIPES))
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--minutes", type=float, help="of every training, to try the script")
    parser.add_argument("--json", type=Path, help="where to add the rows")
    parser.add_argument("--models", type=Path, help="folder for the models; object_pictures.py reads them")
    parser.add_argument("--from", dest="source", type=Path, help="rows kept before, instead of a run")
    return parser.parse_args()


def main() -> None:
    wanted = parse_arguments()
    if wanted.models:
        wanted.models.mkdir(parents=True, exist_ok=True)
    if not wanted.source:
        run_rows(wanted)
    kept = wanted.source or wanted.json
    if kept:
        print(table(read_rows(kept)))


if __name__ == "__main__":
    main()
