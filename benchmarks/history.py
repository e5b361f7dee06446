"""The networks before the U-Net, the paper's and ours, trained equally long on the shipped nuclei.

Run as ``PYTHONPATH=src python benchmarks/history.py --plot docs/images/history.png``; prints the table of
docs/history.md. Takes six times ``--seconds`` and a little more.
"""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from napari_unet.core import (
    Architecture,
    TrainConfig,
    Wanted,
    drain,
    new_model,
    read_examples,
    segment,
    train,
)
from napari_unet.core.examples import Dataset
from napari_unet.core.io import Image
from napari_unet.core.metrics import score_plane, score_planes
from napari_unet.samples import Sample, nuclei

WIDTH = 16  # channels of the first level of every network
TITLES = {
    "fcn32s": "FCN-32s",
    "fcn16s": "FCN-16s",
    "fcn8s": "FCN-8s",
    "deconvnet": "DeconvNet",
    "paper": "U-Net, as in the paper",
    "unet": "U-Net, default",
}
RIGHT, MISSED, WRONG = (1.0, 1.0, 1.0), (0.0, 0.45, 0.9), (0.95, 0.5, 0.0)


@dataclass(frozen=True, eq=False)
class Trained:
    """One network after its training: what it is, and the labels that it gives the test images."""

    title: str
    n_weights: int
    steps: int
    labels: list[NDArray[np.uint8]]


def binary_nuclei(samples: Sequence[Sample]) -> Dataset:
    """Examples of two classes."""
    pairs = [(wrap(s, s.image), wrap(s, np.uint8(s.objects > 0))) for s in samples]
    return read_examples(pairs)


def wrap(sample: Sample, pixels: NDArray[np.uint8]) -> Image:
    """Name the axes of an array."""
    return Image(pixels, "YX", sample.spacing, "pixel", ("",), sample.name)


def train_network(architecture: str, dataset: Dataset, tests: Sequence[Sample], seconds: float) -> Trained:
    """Train from scratch, then segment the test images."""
    model = new_model(dataset, Architecture(architecture, WIDTH))
    result = drain(train(model, Wanted(dataset.examples), TrainConfig(minutes=seconds / 60)))
    n_weights = sum(weights.numel() for weights in model.network.parameters())
    labels = [segment(result.model, sample.image) for sample in tests]
    return Trained(TITLES[architecture], n_weights, result.steps, labels)


def table_row(trained: Trained, tests: Sequence[Sample]) -> str:
    """A line of the Markdown table: means over the test images."""
    planes = [(found, sample.objects > 0) for found, sample in zip(trained.labels, tests, strict=True)]
    nucleus = score_planes(planes).classes[1]
    return (
        f"| {trained.title} | {nucleus.dice:.3f} | {nucleus.iou:.3f} "
        f"| {trained.n_weights:,} | {trained.steps} |"
    )


def draw_picture(networks: Sequence[Trained], tests: Sequence[Sample], path: Path) -> None:
    """A row for each test image: the image, its truth, and what each network makes of it."""
    n_columns = 2 + len(networks)
    figure = Figure(figsize=(1.7 * n_columns, 1.95 * len(tests)), layout="constrained")
    panels = figure.subplots(len(tests), n_columns)
    for index, (row, sample) in enumerate(zip(panels, tests, strict=True)):
        truth = sample.objects > 0
        row[0].imshow(sample.image, cmap="gray", vmax=np.percentile(sample.image, 99.5))
        row[1].imshow(compare(truth, truth))
        for panel, trained in zip(row[2:], networks, strict=True):
            found = trained.labels[index]
            panel.imshow(compare(found > 0, truth))
            panel.set_xlabel(f"Dice {score_plane(found, truth).classes[1].dice:.3f}", fontsize=8)
        for panel in row:
            panel.set(xticks=[], yticks=[])
    titles = ["never seen", "truth", *(trained.title.replace(", ", ",\n") for trained in networks)]
    for panel, title in zip(panels[0], titles, strict=True):
        panel.set_title(title, fontsize=9)
    figure.supxlabel("white: nucleus found; blue: missed; orange: found where there is none", fontsize=9)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=100)


def compare(found: NDArray[np.bool_], truth: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Colour (Y, X, RGB) what is right, missed and wrong."""
    colours = np.zeros((*truth.shape, 3))
    colours[found & truth], colours[truth & ~found], colours[found & ~truth] = RIGHT, MISSED, WRONG
    return colours


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=60, help="how long each network trains")
    parser.add_argument("--plot", type=Path, default=Path("history.png"), help="where to draw the picture")
    wanted = parser.parse_args()
    samples, tests = nuclei()
    dataset = binary_nuclei(samples)
    print("| network | Dice | IoU | weights | steps |\n|---|---|---|---|---|", flush=True)
    networks = []
    for architecture in TITLES:
        networks.append(train_network(architecture, dataset, tests, wanted.seconds))
        print(table_row(networks[-1], tests), flush=True)
    draw_picture(networks, tests, wanted.plot)


if __name__ == "__main__":
    main()
