"""Time of boundary weight maps: against one distance map per object, and with the size of the image.

Run: PYTHONPATH=src OMP_NUM_THREADS=1 python benchmarks/weights.py     (about three minutes on one core)
"""

from statistics import median
from time import perf_counter

import numpy as np
from scipy import ndimage

from napari_unet.core.weights import separation_weights

DENSITY = 500 / 1024**2


def discs(side, seed=0):
    """Discs of radius 8 to 16 that may touch but not overlap, at 500 per 1024 x 1024 pixels."""
    rng, labels, n_discs = np.random.default_rng(seed), np.zeros((side, side), np.int32), 0
    while n_discs < round(DENSITY * side**2):
        radius, (y, x) = rng.uniform(8, 16), rng.uniform(0, side, 2)
        box = tuple(slice(max(int(c - radius), 0), int(c + radius) + 2) for c in (y, x))
        rows, columns = np.ogrid[box[0].start : min(box[0].stop, side), box[1].start : min(box[1].stop, side)]
        inside = (rows - y) ** 2 + (columns - x) ** 2 <= radius**2
        if inside.any() and not labels[box][inside].any():
            n_discs += 1
            labels[box][inside] = n_discs
    return labels


def by_definition(labels, w0=10.0, sigma=5.0):
    nearest = second = np.full(labels.shape, np.inf)
    for one in range(1, labels.max() + 1):
        distance = ndimage.distance_transform_edt(labels != one)
        second = np.minimum(second, np.maximum(nearest, distance))
        nearest = np.minimum(nearest, distance)
    return np.where(labels == 0, w0 * np.exp(-((nearest + second) ** 2) / (2 * sigma**2)), 0)


def seconds(function, labels, repeats):
    def once():
        start = perf_counter()
        function(labels)
        return perf_counter() - start

    return median(once() for _ in range(repeats))


def main():
    print("| image | discs | median time | per megapixel |\n|---|---|---|---|")
    for side in (512, 1024, 2048, 4096):
        labels = discs(side)
        took = seconds(separation_weights, labels, 7)
        print(
            f"| {side}² | {labels.max()} | {took * 1e3:.0f} ms | {took / side**2 * 1e9:.0f} ms |", flush=True
        )
    labels = discs(1024)
    fast, slow = seconds(separation_weights, labels, 15), seconds(by_definition, labels, 3)
    error = np.abs(separation_weights(labels) - by_definition(labels)).max()
    print(
        f"\n1024², {labels.max()} discs: {slow:.1f} s by the definition, {fast * 1e3:.0f} ms here: ", end=""
    )
    print(f"{slow / fast:.0f} times faster; largest difference {error:.1e}")


if __name__ == "__main__":
    main()
