"""Measure objects: memory for label stacks of 0.1, 1 and 5 GB, a process each; seconds for one plane."""

import argparse
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter

import numpy as np
from memory import peak_mb

SIZES = (0.1, 1.0, 5.0)
PLANE, CHUNK = 1024, 64
N_OBJECTS, RADIUS = 200, 12
MANY, SIDE = 3000, 2048


def sparse_stack(path: Path, size: float) -> None:
    """Write balls, as many for every size; chunks without any are no files."""
    import zarr

    shape = (round(size * 1e9 / 4 / PLANE**2), PLANE, PLANE)
    array = zarr.create_array(
        str(path), shape=shape, chunks=(min(CHUNK, shape[0]), CHUNK, CHUNK), dtype="uint32"
    )
    rng = np.random.default_rng(0)
    reach = np.arange(-RADIUS, RADIUS + 1)
    ball = sum(along**2 for along in np.meshgrid(*[reach] * 3)) <= RADIUS**2
    for number in range(1, N_OBJECTS + 1):
        at = [int(rng.integers(0, max(1, n - 2 * RADIUS - 1))) for n in shape]
        region = tuple(slice(a, min(a + 2 * RADIUS + 1, n)) for a, n in zip(at, shape, strict=True))
        before = array[region]
        inside = ball[tuple(slice(0, n) for n in before.shape)]
        array[region] = np.where(inside, number, before)


def crowded_plane() -> Iterator[np.ndarray]:
    """Yield labels of discs in a grid, and an image of two channels."""
    n_along = int(np.ceil(np.sqrt(MANY)))
    step = SIDE // n_along
    y, x = np.indices((SIDE, SIDE))
    place = y // step * n_along + x // step + 1
    inside = (y % step - step / 2) ** 2 + (x % step - step / 2) ** 2 < (0.45 * step) ** 2
    yield np.where(inside & (x // step < n_along) & (place <= MANY), place, 0).astype(np.uint16)
    yield np.random.default_rng(0).integers(0, 9999, (2, SIDE, SIDE), np.uint16)


def measured(objects, image=None) -> dict[str, float]:
    """Measure; return the number of objects, seconds, and the peak of this process before and after."""
    from napari_unet.core.measuring import measure_objects

    before, start = peak_mb(), perf_counter()
    work = measure_objects(objects, image)
    while True:
        try:
            next(work)
        except StopIteration as end:
            n_objects = len(end.value["label"])
            return {"n": n_objects, "s": perf_counter() - start, "before": before, "peak": peak_mb()}


def one(path: str) -> None:
    """Print what measuring a store took."""
    from napari_unet.core.io import open_labels

    print(json.dumps(measured(open_labels(path))))


def plane() -> None:
    """Print what measuring a crowded plane took."""
    from napari_unet.core.io.image import make_image

    labels, values = crowded_plane()
    objects = make_image(labels, "YX", {}, "pixel", (), "objects")
    print(json.dumps(measured(objects, make_image(values, "CYX", {}, "pixel", (), "image"))))


def in_process(*options: str) -> dict[str, float]:
    done = subprocess.run([sys.executable, __file__, *options], capture_output=True, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--one", help=argparse.SUPPRESS)
    parser.add_argument("--plane", action="store_true", help="only the plane, here")
    options = parser.parse_args()
    if options.one:
        one(options.one)
    elif options.plane:
        plane()
    else:
        print("| labels | objects | s | MB before | peak MB |\n|---|---|---|---|---|")
        rows = {f"{SIDE}², two channels": in_process("--plane")}
        with TemporaryDirectory() as folder:
            for size in SIZES:
                path = Path(folder, f"{size}.zarr")
                sparse_stack(path, size)
                rows[f"{size} GB, 3D"] = in_process("--one", str(path))
        for name, row in rows.items():
            print(f"| {name} | {row['n']:.0f} | {row['s']:.1f} | {row['before']:.0f} | {row['peak']:.0f} |")


if __name__ == "__main__":
    main()
