"""A few cells and strokes of background, painted by a script from dense labels as a person would paint them.

``PYTHONPATH=src python benchmarks/painted_cells.py --seed 0 --plot painted.png`` shows it on nuclei.
"""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from comparison import DATA
from matplotlib.figure import Figure
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt

from napari_unet.core.io import open_image, open_labels, read_labels

N_CELLS, N_IMAGES, N_STROKES = 30, 3, 6  # in all, in all, and on each image
WIDTHS, LENGTHS = (6, 10), (40, 120)  # of a stroke, pixels
BESIDE = 4  # pixels between a painted cell and the edge of a stroke that begins there, at most
WIGGLE = 0.25  # radians by which a stroke turns in a pixel, standard deviation
UNLABELLED, BACKGROUND, FIRST_OBJECT = 0, 1, 2


def paint_images(
    names: Sequence[str], truths: Sequence[NDArray[Any]], seed: int
) -> dict[str, NDArray[np.int32]]:
    """Choose images, share the cells out among them and paint; annotations (Y, X) by the images' names."""
    rng = np.random.default_rng(seed)
    chosen = np.sort(rng.choice(len(names), N_IMAGES, replace=False))
    counts = share_cells([len(np.unique(truths[place])) - 1 for place in chosen], N_CELLS)
    return {
        names[place]: paint_image(truths[place], n_cells, rng)
        for place, n_cells in zip(chosen, counts, strict=True)
    }


def share_cells(present: Sequence[int], n_cells: int) -> list[int]:
    """Give each image the same number of cells to paint; what it does not have goes to the others."""
    counts = [0] * len(present)
    for _ in range(min(n_cells, sum(present))):
        free = [place for place, count in enumerate(counts) if count < present[place]]
        counts[min(free, key=lambda place: counts[place])] += 1
    return counts


def paint_image(truth: NDArray[Any], n_cells: int, rng: np.random.Generator) -> NDArray[np.int32]:
    """Fill random cells and draw strokes in the background, every other one beginning beside such a cell."""
    painted = rng.choice(np.setdiff1d(truth, [0]), n_cells, replace=False)
    annotation = np.full(truth.shape, UNLABELLED, np.int32)
    for number, cell in enumerate(painted, FIRST_OBJECT):
        annotation[truth == cell] = number
    room = distance_transform_edt(
        truth == 0
    )  # from each background pixel to the nearest cell, painted or not
    to_painted = distance_transform_edt(annotation < FIRST_OBJECT)
    for stroke in range(N_STROKES):
        radius = rng.uniform(*WIDTHS) / 2
        near = to_painted <= radius + BESIDE if stroke % 2 == 0 else np.ones_like(truth, bool)
        draw_stroke(annotation, room, near & (room > radius), radius, rng)
    return annotation


def draw_stroke(
    annotation: NDArray[np.int32],
    room: NDArray[np.float64],
    starts: NDArray[np.bool_],
    radius: float,
    rng: np.random.Generator,
) -> None:
    """Draw one stroke of background that touches no cell; nothing where there is no place to begin."""
    places = np.argwhere(starts)
    if not len(places):
        return
    path = np.zeros(annotation.shape, bool)
    place, direction = places[rng.integers(len(places))].astype(float), rng.uniform(0, 2 * np.pi)
    for _ in range(rng.integers(*LENGTHS)):
        path[tuple(place.round().astype(int))] = True
        step = find_step(place, direction, room, radius, rng)
        if step is None:
            break
        place, direction = step
    annotation[distance_transform_edt(~path) < radius] = BACKGROUND


def find_step(
    place: NDArray[np.float64],
    direction: float,
    room: NDArray[np.float64],
    radius: float,
    rng: np.random.Generator,
) -> tuple[NDArray[np.float64], float] | None:
    """Go on by a pixel, turning as little as the cells and the image's border allow; None in a dead end."""
    direction += rng.normal(0, WIGGLE)
    for turn in np.linspace(0, np.pi / 2, 7):
        for side in (turn, -turn):
            following = place + np.array([np.sin(direction + side), np.cos(direction + side)])
            pixel = tuple(following.round().astype(int))
            inside = all(0 <= at < size for at, size in zip(pixel, room.shape, strict=True))
            if inside and room[pixel] > radius:
                return following, direction + side
    return None


def read_nuclei(seed: int) -> dict[str, NDArray[np.int32]]:
    """Paint on images of `train_5`."""
    split = json.loads((DATA / "splits.json").read_text())["nuclei"]
    folder = DATA / split["set"] / "labels"
    truths = [read_labels(open_labels(folder / name)) for name in split["train_5"]]
    return paint_images(split["train_5"], truths, seed)


def draw_plot(annotations: dict[str, NDArray[np.int32]], path: Path) -> None:
    """Images with what is painted: cells in colours, background in dark red."""
    folder = DATA / json.loads((DATA / "splits.json").read_text())["nuclei"]["set"] / "images"
    figure = Figure(figsize=(6 * len(annotations), 6), layout="constrained")
    panels = figure.subplots(1, len(annotations), squeeze=False)[0]
    for panel, (name, annotation) in zip(panels, annotations.items(), strict=True):
        pixels = open_image(folder / name).read()[0]
        panel.imshow(pixels, cmap="gray", vmax=np.percentile(pixels, 99.5))
        shown = np.ma.masked_equal(annotation, UNLABELLED)
        panel.imshow(shown, cmap="prism", alpha=0.6, interpolation="nearest")
        panel.set(xticks=[], yticks=[], title=f"{name}: {len(np.unique(annotation)) - 2} cells")
    figure.savefig(path, dpi=80)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--plot", type=Path, default=Path("painted.png"), help="where to draw the picture")
    wanted = parser.parse_args()
    annotations = read_nuclei(wanted.seed)
    for name, annotation in annotations.items():
        counts = np.bincount(annotation.ravel())
        share = counts[BACKGROUND] / annotation.size
        print(f"{name}: {len(counts) - 2} cells, {share:.1%} of the pixels are background strokes")
    draw_plot(annotations, wanted.plot)


if __name__ == "__main__":
    main()
