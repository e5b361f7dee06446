"""Draw docs/images/augmentation.png: a shipped image, its annotation and a grid, changed as in training.

Run as ``PYTHONPATH=src python tools/draw_augmentation.py``.
"""

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw

from napari_unet.cli.picture import GAP, HEADER, coloured, join
from napari_unet.core.augment import MANY_IMAGES, ONE_STACK, augment
from napari_unet.samples import nuclei

OUT = Path(__file__).parent.parent / "docs/images/augmentation.png"
SIDE, CELL = 256, 32
COLUMNS = {
    "as recorded": None,
    "one stack": ONE_STACK,
    "many images": MANY_IMAGES,
    "many images again": MANY_IMAGES,
    "elastic, three times as strong": replace(MANY_IMAGES, elastic=3 * MANY_IMAGES.elastic),
}


def main() -> None:
    """Change image and annotation through one grid, a column for each strength."""
    sample = nuclei()[0][4]
    image = sample.image / np.percentile(sample.image, 99.8) * 2 - 1
    image[::CELL], image[:, ::CELL] = 1.2, 1.2
    objects = sample.objects.astype(np.float64)
    objects[::CELL], objects[:, ::CELL] = 0, 0
    generator = torch.Generator().manual_seed(1)
    columns = []
    for augmentation in COLUMNS.values():
        pixels, labels = image, objects
        if augmentation is not None:
            margin = (augmentation.window_shape((SIDE, SIDE))[0] - SIDE) // 2
            windows = [np.pad(array, margin, mode="reflect") for array in (image, objects)]
            batches = [torch.tensor(np.float32(window))[None, None] for window in windows]
            changed = augment(*batches, (SIDE, SIDE), augmentation, generator)
            pixels, labels = (each[0, 0].numpy() for each in changed)
        grey = (255 * np.clip((pixels + 1) / 2, 0, 1) ** 0.6).astype(np.uint8)
        columns.append((np.repeat(grey[..., None], 3, axis=2), coloured(labels.astype(int))))
    canvas = np.vstack([join(row) for row in zip(*columns, strict=True)])
    picture = Image.fromarray(np.pad(canvas, ((HEADER, 0), (0, 0), (0, 0)), constant_values=255))
    draw = ImageDraw.Draw(picture)
    for index, title in enumerate(COLUMNS):
        draw.text((index * (SIDE + GAP) + GAP, GAP), title, fill=0, font_size=16)
    picture.save(OUT)


if __name__ == "__main__":
    main()
