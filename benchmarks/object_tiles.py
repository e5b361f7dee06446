"""How much objects that are grown in tiles differ from those of the whole image, for a trained network.

``PYTHONPATH=src python benchmarks/object_tiles.py --model MODEL.safetensors``; without a model one is trained
on nuclei. Test images are laid side by side. What the network says is the same for all rows: only how far a
tile looks while its objects grow, and how it is cut, differ.
"""

import argparse
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import cycle
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import Any

import numpy as np
from numpy.typing import NDArray
from objects import CPU, read_nuclei, read_split, read_tests

from napari_unet.core import TrainConfig, Wanted, drain, load_model, new_model, segment, train
from napari_unet.core.io import Image, open_image
from napari_unet.core.io.image import make_image
from napari_unet.core.layouts import SegmentConfig
from napari_unet.core.modelfile import Model
from napari_unet.core.objects import ObjectRules
from napari_unet.core.stacks import segment_stack

TILES = 256, 512
CUTS = 1.0, 0.5, 0.25, 0.1
"""Shares of the extent of the largest annotated object that a tile looks at around itself."""


@dataclass(frozen=True, eq=False)
class Found:
    """Objects of one way, and how long it took."""

    objects: NDArray[Any]
    seconds: float


def trained(minutes: float) -> Model:
    """Train with the default settings on eight images."""
    (part,) = read_nuclei("train_8")
    start = new_model(part.dataset, seed=0, device=CPU)
    return drain(train(start, Wanted(part.dataset.examples), TrainConfig(minutes=minutes, seed=0))).model


def mosaic(side: int) -> Image:
    """Test images side by side, the last ones cut; those of each kind of microscope among them."""
    split, folder = read_split("nuclei")
    images = cycle([image.read()[0] for image, _ in read_tests(folder, split["test"])])
    pixels, y = np.zeros((side, side), np.float32), 0
    while y < side:
        height, x = min(256, side - y), 0
        while x < side:
            part = next(images).squeeze()[:height, : side - x]
            pixels[y : y + part.shape[0], x : x + part.shape[1]] = part
            x += part.shape[1]
        y += height
    return make_image(pixels, "YX", {}, "pixel", (), "mosaic")


def whole(model: Model, image: Image, tile: int) -> Found:
    """Objects of all the image at once; the network itself sees it in the tiles of the other rows."""
    start = perf_counter()
    return Found(segment(model, image, kind="objects", device="cpu", tile=tile), perf_counter() - start)


def tiled(model: Model, image: Image, tile: int) -> Found:
    """Objects that are found in tiles and joined in a file."""
    with TemporaryDirectory() as folder:
        path, start = Path(folder, "objects.ome.zarr"), perf_counter()
        for _ in segment_stack(model, image, path, SegmentConfig("objects", tile=tile, device="cpu")):
            pass
        seconds = perf_counter() - start
        return Found(open_image(path).read()[0], seconds)


def differing(found: NDArray[Any], expected: NDArray[Any]) -> float:
    """Share of the pixels that belong to another object, or to none; numbers do not matter."""
    pairs = found.ravel().astype(np.int64) * (int(expected.max()) + 1) + expected.ravel()
    kinds, sizes = np.unique(pairs, return_counts=True)
    of, _ = np.divmod(kinds, int(expected.max()) + 1)
    best = np.zeros(int(found.max()) + 1, np.int64)
    np.maximum.at(best, of, sizes)  # of what each object is called most often
    alike = best[1:].sum() + sizes[kinds == 0].sum()
    return 1 - float(alike) / found.size


def rows(model: Model, image: Image) -> Iterator[str]:
    """Yield the lines of a table."""
    rules = model.objects or ObjectRules()
    yield "| tile | looks as far as | objects | of the whole | pixels that differ | s in tiles | s at once |"
    yield "|" + "---|" * 7
    for tile in TILES:
        expected = whole(model, image, tile)
        for cut in CUTS:
            reach = tuple(max(1, round(cut * extent)) for extent in rules.reach)
            far, n_whole = " x ".join(map(str, reach)), expected.objects.max()
            found = tiled(replace(model, objects=replace(rules, reach=reach)), image, tile)
            share, seconds = differing(found.objects, expected.objects), (found.seconds, expected.seconds)
            yield "| {} | {} | {} | {} | {:.4%} | {:.1f} | {:.1f} |".format(
                tile, far, found.objects.max(), n_whole, share, *seconds
            )


def main() -> None:
    """Print the rules of the model, and a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, help="what to segment with; else one is trained")
    parser.add_argument("--minutes", type=float, default=3, help="of the training")
    parser.add_argument("--side", type=int, default=2048, help="of the mosaic, in pixels")
    options = parser.parse_args()
    model = load_model(options.model) if options.model else trained(options.minutes)
    print(model.objects)
    for line in rows(model, mosaic(options.side)):
        print(line, flush=True)


if __name__ == "__main__":
    main()
