"""The demo's picture: what was annotated, what it weighs, which nuclei were found, missed and invented."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Picture
from PIL import ImageColor, ImageDraw
from skimage.color import label2rgb
from skimage.segmentation import find_boundaries

from napari_unet.core.examples import Dataset
from napari_unet.core.matching import count_overlaps
from napari_unet.core.targets import TargetOptions, make_target
from napari_unet.samples import Sample

HEADER = 28
GAP = 4
FONT_SIZE = 18
TITLES = ("trained on", "annotation", "weight map", "never seen", "prediction", "truth")
FOUND, INVENTED, MISSED = "#56b4e9", "#d55e00", "#f0e442"
"""Of Okabe and Ito: people with colour blindness tell them apart."""
LEGEND = {
    FOUND: "found: prediction and truth have an IoU of at least 0.5",
    INVENTED: "invented: no true nucleus matches",
    MISSED: "missed: no prediction matches",
}


def draw_demo(
    path: Path,
    dataset: Dataset,
    train: Sequence[Sample],
    test: Sequence[Sample],
    predictions: Sequence[NDArray[Any]],
) -> None:
    """Write a row for each test image, with a training image beside it."""
    weights = weight_maps(dataset)
    rows = [
        [grey(a.image), coloured(a.objects), heat(weight), grey(b.image), *judged(found, b.objects)]
        for a, weight, b, found in zip(train, weights, test, predictions, strict=False)
    ]
    canvas = np.vstack([join(row) for row in rows])
    canvas = np.pad(canvas, ((HEADER, HEADER), (0, 0), (0, 0)), constant_values=255)
    picture = Picture.fromarray(canvas)
    draw = ImageDraw.Draw(picture)
    width = picture.width // len(TITLES)
    for column, title in enumerate(TITLES):
        draw.text((column * width + GAP, GAP), title, fill=0, font_size=FONT_SIZE)
    draw_legend(draw, picture.width, picture.height - HEADER)
    picture.save(path)


def draw_legend(draw: ImageDraw.ImageDraw, right: int, top: int) -> None:
    """Write what the colours of prediction and truth mean, below these, flush right."""
    left = right
    for colour, meaning in reversed(LEGEND.items()):
        left -= int(draw.textlength(meaning, font_size=FONT_SIZE)) + FONT_SIZE + 4 * GAP
        box = (left, top + GAP, left + FONT_SIZE, top + GAP + FONT_SIZE)
        draw.rectangle(box, fill=colour, outline="black")
        draw.text((left + FONT_SIZE + GAP, top + GAP), meaning, fill=0, font_size=FONT_SIZE)


def judged(prediction: NDArray[Any], truth: NDArray[Any]) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Colour predicted nuclei by whether they are found or invented, true ones by found or missed."""
    overlaps = count_overlaps(prediction, truth)
    true, predicted = overlaps.pairs[overlaps.matches()].T
    return (
        marked(prediction, overlaps.predicted[predicted], INVENTED),
        marked(truth, overlaps.true[true], MISSED),
    )


def marked(objects: NDArray[Any], found: NDArray[Any], other: str) -> NDArray[np.uint8]:
    """Colour the found objects and the others on black, with a black line between those that touch."""
    colours = np.zeros((*objects.shape, 3), np.uint8)
    colours[objects > 0] = ImageColor.getrgb(other)
    colours[np.isin(objects, found)] = ImageColor.getrgb(FOUND)
    inside = [find_boundaries(each, mode="inner") for each in (objects, objects > 0)]  # type: ignore[no-untyped-call]
    colours[inside[0] & ~inside[1]] = 0
    return colours


def weight_maps(dataset: Dataset) -> list[NDArray[np.float32]]:
    """Loss weight of every pixel of every example: 1 and its separation."""
    options = TargetOptions(dataset.task, dataset.classes)
    return [1 + make_target(example, options).separation for example in dataset.examples]


def grey(image: NDArray[Any]) -> NDArray[np.uint8]:
    """Stretch intensities to grey levels, dim ones lifted."""
    low, high = np.percentile(image, (1, 99.8))
    level = np.clip((image - low) / max(high - low, 1e-6), 0, 1) ** 0.6
    return np.repeat((255 * level).astype(np.uint8)[..., None], 3, axis=2)


def coloured(objects: NDArray[Any]) -> NDArray[np.uint8]:
    """Give neighbouring object numbers different colours on black."""
    colours: NDArray[np.float64] = label2rgb(objects, bg_label=0, bg_color=(0, 0, 0))  # type: ignore[no-untyped-call]
    return (255 * colours).astype(np.uint8)


def heat(weights: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Colour weights from black over red and yellow to white."""
    level = 3 * np.clip(weights / 12, 0, 1)
    return (255 * np.clip(np.stack([level, level - 1, level - 2], axis=-1), 0, 1)).astype(np.uint8)


def join(tiles: Sequence[NDArray[np.uint8]]) -> NDArray[np.uint8]:
    """Put pictures of one height side by side with white gaps."""
    padded = [np.pad(tile, ((0, GAP), (0, GAP), (0, 0)), constant_values=255) for tile in tiles]
    return np.hstack(padded)
