"""What it costs that results are on the disk before the journal names them.

``PYTHONPATH=src python benchmarks/syncing.py`` segments a made-up stack into each format, in turns as
it is and without waiting for the disk. The network is tiny, so that writing weighs more than in earnest.
"""

import argparse
import os
from collections.abc import Callable
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from time import perf_counter
from unittest import mock

import numpy as np
import tifffile
import torch

from napari_unet.core import open_image, segment_stack
from napari_unet.core.modelfile import Model
from napari_unet.core.networks.unet import UNet, UNetConfig
from napari_unet.core.targets import ClassLabel

SHAPE = (12, 1024, 1024)
FORMATS = (".ome.zarr", ".ome.tif")


def tiny_model() -> Model:
    """Return an untrained network that is as fast as one can be."""
    torch.manual_seed(0)
    classes = (ClassLabel(1, 0, "background"), ClassLabel(2, 1, "cell"))
    network = UNet(UNetConfig(width=4, depth=1)).eval()
    return Model(network, "unet", "classes", classes, "YX", (1.0, 1.0), "pixel", ("",), "percentile", {}, "0")


def segment(model: Model, path: Path, output: Path) -> None:
    """Segment a stack to its end."""
    for _progress in segment_stack(model, open_image(path), output):
        pass


def seconds_of(work: Callable[[], object], waits: bool) -> float:
    """Time some work, as it is or with a disk that never makes it wait."""
    with nullcontext() if waits else mock.patch.object(os, "fsync", lambda _handle: None):
        begin = perf_counter()
        work()
    return perf_counter() - begin


def compare(suffix: str, repeats: int, folder: Path) -> str:
    """Return a row: medians of runs that take turns."""
    path = folder / "stack.tif"
    tifffile.imwrite(path, np.random.default_rng(0).integers(0, 4000, SHAPE).astype(np.uint16))
    model, seconds = tiny_model(), {True: list[float](), False: list[float]()}
    for n in range(repeats + 1):  # the first warms up
        for waits, taken in seconds.items():
            output = folder / f"{n}-{waits}{suffix}"
            taken.append(seconds_of(partial(segment, model, path, output), waits))
    waiting, not_waiting = (median(seconds[waits][1:]) for waits in (True, False))
    plane = (waiting - not_waiting) / SHAPE[0]
    return f"| `{suffix}` | {waiting:.2f} s | {not_waiting:.2f} s | {plane * 1e3:.0f} ms |"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=7)
    repeats = parser.parse_args().repeats
    print("| result | synced | not synced | for a plane |", "|---|---|---|---|", sep="\n")
    for suffix in FORMATS:
        with TemporaryDirectory(dir=os.environ.get("TMPDIR", ".")) as folder:
            print(compare(suffix, max(2, repeats), Path(folder)), flush=True)


if __name__ == "__main__":
    main()
