"""How long objects take from the scores of a network to labels, and how well tiles agree with the whole.

OMP_NUM_THREADS=1 python benchmarks/objects_speed.py [side]
"""

import sys
from collections.abc import Iterator
from time import process_time

import numpy as np
from numpy.typing import NDArray
from skimage.segmentation import watershed

from napari_unet.core.numbered import fill_holes
from napari_unet.core.objects import ObjectRules, find_objects, find_seeds, grow_seeds

PITCH = 37
"""Pixels from cell to cell: 3,025 of them in 2048²."""


def touching_cells(side: int) -> NDArray[np.uint8]:
    """Scores (2, side, side) of discs in rows, shaken: many touch."""
    rng = np.random.default_rng(0)
    core = np.zeros((side, side), np.float32)
    for start in np.ndindex(side // PITCH, side // PITCH):
        centre = np.multiply(start, PITCH) + PITCH / 2 + rng.uniform(-4, 4, 2)
        box = tuple(slice(max(0, int(at) - 20), int(at) + 20) for at in centre)
        y, x = np.ogrid[box]
        share = 1 - np.hypot(y - centre[0], x - centre[1]) / rng.uniform(12, 19)
        core[box] = np.maximum(core[box], share[: core[box].shape[0], : core[box].shape[1]])
    return np.stack((np.where(core > 0, np.uint8(230), np.uint8(0)), (255 * core).astype(np.uint8)))


def timed(name: str, work) -> NDArray:
    start = process_time()
    result = work()
    print(f"{name:28} {process_time() - start:6.2f} s")
    return result


def tiles(side: int, tile: int, halo: int) -> Iterator[tuple[tuple[slice, ...], ...]]:
    """Yield what is read, what of it is kept, and where that is written."""
    for start in np.ndindex(-(-side // tile), -(-side // tile)):
        first = [at * tile for at in start]
        read = tuple(slice(max(0, at - halo), at + tile + halo) for at in first)
        crop = tuple(slice(at - r.start, at - r.start + tile) for at, r in zip(first, read, strict=True))
        yield read, crop, tuple(slice(at, at + tile) for at in first)


def main(side: int = 2048) -> None:
    scores, rules = touching_cells(side), ObjectRules(min_size=20)
    find_objects(scores[:, :64, :64], rules)  # scipy is loaded
    seeds = timed("seeds", lambda: find_seeds(scores, rules))
    whole = timed("growing", lambda: grow_seeds(seeds, scores, rules))
    timed("holes", lambda: fill_holes(whole))
    objects = timed("scores to labels", lambda: find_objects(scores, rules))
    print(f"{objects.max()} objects in {side}²")
    peer = timed(
        "scikit-image's watershed",
        lambda: watershed(255 - scores[1], seeds.astype(int), mask=scores[0] > 127),
    )
    print(f"{(peer == whole).mean():.4%} of the pixels are as there")
    for halo in (8, 16, 32, 48):
        tiled = np.zeros_like(whole)
        for read, crop, write in tiles(side, 256, halo):
            tiled[write] = grow_seeds(seeds[read], scores[(slice(None), *read)], rules)[crop]
        print(f"tiles of 256, halo {halo:2}: {(tiled == whole).mean():.4%} of the pixels equal the whole")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:2]))
