"""A picture for each row of objects.py: images, true objects, predicted ones, and mistakes by their kind.

``PYTHONPATH=src python benchmarks/object_pictures.py --models models --out pictures`` draws the models there
are. Of a row it shows test images from the worst to the best, each where it has most objects; of a volume one
plane.
"""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from numpy.typing import NDArray
from objects import RECIPES, find_objects, model_path
from skimage.segmentation import find_boundaries

from napari_unet.core import load_model
from napari_unet.core.io import Image
from napari_unet.core.matching import Overlaps, count_overlaps, score_objects

N_IMAGES, WINDOW = 4, 320  # shown of a row, and their side in pixels
KINDS = {
    "right": (0.55, 0.55, 0.55),
    "missed": (0.15, 0.5, 1.0),
    "false": (1.0, 0.55, 0.0),
    "merged": (1.0, 0.1, 0.8),
    "split": (0.2, 0.9, 0.2),
}
MEANINGS = {
    "right": "prediction with a match (IoU of 0.5 or more)",
    "missed": "true object without a match",
    "false": "prediction without a match",
    "merged": "prediction that covers several true objects",
    "split": "predictions that share a true object",
}


@dataclass(frozen=True, eq=False)
class Shown:
    """What a row of a picture shows: one plane of a test image."""

    name: str
    pixels: NDArray[np.float64]  # (Y, X) or (Y, X, RGB), from 0 to 1
    truth: NDArray[Any]
    prediction: NDArray[Any]
    kinds: dict[str, NDArray[np.bool_]]  # pixels of the outlines of each kind
    ap50: float


def find_mistakes(overlaps: Overlaps) -> dict[str, NDArray[Any]]:
    """Numbers of the objects of each kind: true ones of "missed", predicted ones of the others."""
    true, predicted = overlaps.pairs.T
    covered = 2 * overlaps.n_pixels > overlaps.true_sizes[true]  # most of the true one is in the prediction
    inside = 2 * overlaps.n_pixels > overlaps.predicted_sizes[predicted]
    merged = np.bincount(predicted[covered], minlength=len(overlaps.predicted)) > 1
    shared = np.bincount(true[inside], minlength=len(overlaps.true)) > 1
    split = np.zeros(len(overlaps.predicted), bool)
    split[predicted[inside & shared[true]]] = True
    matched = overlaps.matches()
    right, found = np.zeros_like(split), np.zeros_like(shared)
    right[predicted[matched]], found[true[matched]] = True, True
    explained = shared.copy()
    explained[true[covered & merged[predicted]]] = True
    return {
        "right": overlaps.predicted[right & ~merged & ~split],
        "missed": overlaps.true[~found & ~explained],
        "false": overlaps.predicted[~right & ~merged & ~split],
        "merged": overlaps.predicted[merged],
        "split": overlaps.predicted[split & ~merged],
    }


def outline_kinds(prediction: NDArray[Any], truth: NDArray[Any], plane: Any) -> dict[str, NDArray[np.bool_]]:
    """Outlines in a plane, of objects that were matched in the whole image or volume."""
    return {
        kind: outline((truth if kind == "missed" else prediction)[plane], numbers)
        for kind, numbers in find_mistakes(count_overlaps(prediction, truth)).items()
    }


def outline(objects: NDArray[Any], numbers: NDArray[Any]) -> NDArray[np.bool_]:
    """The outer pixels of some objects."""
    chosen = np.where(np.isin(objects, numbers), objects, 0)
    return np.asarray(find_boundaries(chosen, mode="inner"))


def show_image(image: Image, truth: NDArray[Any], prediction: NDArray[Any]) -> Shown:
    """Choose a plane and a window, and say what is wrong there."""
    plane = fullest_plane(truth)
    window = fullest_window(truth[plane])
    pixels = np.moveaxis(image.read()[:, *plane], 0, -1).astype(float)
    low, high = np.percentile(pixels, (1, 99.8))
    shown = np.clip((pixels - low) / (high - low), 0, 1).squeeze()
    kinds = outline_kinds(prediction, truth, plane)
    return Shown(
        image.name,
        shown[window],
        truth[plane][window],
        prediction[plane][window],
        {kind: outlines[window] for kind, outlines in kinds.items()},
        score_objects(prediction, truth).ap[0.5],
    )


def fullest_plane(truth: NDArray[Any]) -> tuple[Any, ...]:
    """The plane of a volume that has most objects; of an image all of it."""
    if truth.ndim == 2:
        return (slice(None), slice(None))
    return (int(np.argmax([len(np.unique(plane)) for plane in truth])), slice(None), slice(None))


def fullest_window(truth: NDArray[Any]) -> tuple[slice, slice]:
    """The window that has most objects, among some."""
    corners = [
        (y, x)
        for y in range(0, max(1, truth.shape[0] - WINDOW + 1), WINDOW // 4)
        for x in range(0, max(1, truth.shape[1] - WINDOW + 1), WINDOW // 4)
    ]
    windows = [(slice(y, y + WINDOW), slice(x, x + WINDOW)) for y, x in corners]
    return max(windows, key=lambda window: len(np.unique(truth[window])))


def draw_picture(images: Sequence[Shown], title: str, path: Path) -> None:
    """A line for each image: itself, the truth, the prediction, the mistakes."""
    figure = Figure(figsize=(13, 3.4 * len(images) + 0.8), layout="constrained")
    for line, shown in zip(figure.subplots(len(images), 4, squeeze=False), images, strict=True):
        panels = (shown.pixels, colour(shown.truth), colour(shown.prediction), mark(shown))
        titles = (shown.name, "truth", "prediction", f"AP 0.5 of the image: {shown.ap50:.2f}")
        for panel, pixels, text in zip(line, panels, titles, strict=True):
            draw_panel(panel, pixels, text)
    patches = [Patch(color=rgb, label=f"{kind}: {MEANINGS[kind]}") for kind, rgb in KINDS.items()]
    figure.legend(handles=patches, loc="outside lower center", ncols=3, fontsize=9)
    figure.suptitle(title)
    figure.savefig(path, dpi=100)


def draw_panel(panel: Axes, pixels: NDArray[np.float64], title: str) -> None:
    panel.imshow(pixels, cmap="gray", vmin=0, vmax=1, interpolation="nearest")
    panel.set_title(title, fontsize=9)
    panel.set(xticks=[], yticks=[])


def colour(objects: NDArray[Any]) -> NDArray[np.float64]:
    """Every object in a colour of its own (Y, X, RGB)."""
    colours = np.random.default_rng(0).uniform(0.25, 1, (1009, 3))  # a prime: neighbours differ
    return np.where(objects[..., None] > 0, colours[objects.astype(np.int64) % len(colours)], 0)


def mark(shown: Shown) -> NDArray[np.float64]:
    """The image, dimmed, with an outline for each object in the colour of its kind (Y, X, RGB)."""
    grey = shown.pixels if shown.pixels.ndim == 2 else shown.pixels.mean(axis=-1)
    marked = np.repeat(0.6 * grey[..., None], 3, axis=-1)
    for kind, rgb in KINDS.items():
        marked[shown.kinds[kind]] = rgb
    return marked


def draw_row(name: str, models: Path, out: Path, seed: int) -> Path | None:
    """Draw a row of which there are models; of many images those from the worst to the best."""
    images = []
    for number, part in enumerate(RECIPES[name].read(seed)):
        path = model_path(models, name, seed, number)
        if not path.exists():
            return None
        model = load_model(path)
        images += [show_image(image, truth, find_objects(model, image)) for image, truth in part.tests]
    images.sort(key=lambda shown: shown.ap50)
    places = np.linspace(0, len(images) - 1, min(N_IMAGES, len(images))).round().astype(int)
    picture = out / f"{name}.png"
    draw_picture([images[place] for place in places], f"{name}, seed {seed}", picture)
    return picture


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", type=Path, required=True, help="what objects.py --models has kept")
    parser.add_argument("--out", type=Path, required=True, help="folder for the pictures")
    parser.add_argument("--rows", nargs="+", choices=RECIPES, default=list(RECIPES))
    parser.add_argument("--seed", type=int, default=0)
    wanted = parser.parse_args()
    wanted.out.mkdir(parents=True, exist_ok=True)
    for name in wanted.rows:
        print(draw_row(name, wanted.models, wanted.out, wanted.seed) or f"{name}: no model", flush=True)


if __name__ == "__main__":
    main()
