"""Time to match 2,000 objects with 2,000 others; agreement with StarDist and Cellpose on real label pairs.

Run: PYTHONPATH=src python benchmarks/matching.py     (a few minutes on one core, most of them the peers')

A peer that is not installed is left out. Both, without what trains them, in an environment of their own:
pip install --no-deps stardist csbdeep cellpose
pip install numpy scipy scikit-image tifffile matplotlib numba tqdm six
pip install opencv-python-headless fastremap fill_voids
"""

import os
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from statistics import median
from time import perf_counter, process_time

import numpy as np
import tifffile
from scipy import ndimage
from skimage.segmentation import expand_labels

from napari_unet.core.matching import THRESHOLDS, score_objects

DATA = Path(os.environ.get("NAPARI_UNET_DATA", Path(__file__).resolve().parents[1] / "../shared/data"))
KINDS = {
    "every second merged with the one before": lambda x: np.where((x > 0) & (x % 2 == 0), x - 1, x),
    "halved where 8 columns end": lambda x: np.where(
        (x > 0) & (np.indices(x.shape)[1] % 16 < 8), x + 1000, x
    ),
    "dilated by 3": lambda x: expand_labels(x, 3),
    "eroded by 1": lambda x: np.where(ndimage.minimum_filter(x, 3) == x, x, 0),
    "shifted by 2 and 3": lambda x: np.roll(x, (2, 3), (0, 1)),
    "every third dropped": lambda x: np.where(x % 3 == 0, 0, x),
}


def discs(side, n_rows):
    """Discs on a grid, n_rows² of them."""
    step = side // n_rows
    place = np.minimum(np.arange(side) // step, n_rows - 1)
    numbers = (place[:, None] * n_rows + place + 1).astype(np.int32)
    from_middle = np.arange(side) - place * step - step / 2
    return numbers * (from_middle[:, None] ** 2 + from_middle**2 < (0.45 * step) ** 2)


def time_matching():
    print("| pixels | objects | seconds, median of 7 | of them computing |\n|---|---|---|---|")
    for side, n_rows in ((2048, 45), (2048, 100), (4096, 180)):
        truth = discs(side, n_rows)
        prediction = np.roll(truth, 3, axis=1)
        walls, computing = [], []
        for _ in range(7):
            wall, cpu = perf_counter(), process_time()
            scores = score_objects(prediction, truth)
            walls.append(perf_counter() - wall)
            computing.append(process_time() - cpu)
        print(
            f"| {side}² | {scores.n_true} × {scores.n_predicted} "
            f"| {median(walls):.3f} | {median(computing):.3f} |",
            flush=True,
        )


def stardist_scores(prediction, truth):
    found = import_module("stardist.matching").matching(truth, prediction, thresh=THRESHOLDS)
    yield "AP", [one.accuracy for one in found]
    yield "F1", [one.f1 for one in found]
    yield "matches", [one.tp for one in found]
    yield "mean matched IoU", [found[0].mean_matched_score]


def cellpose_scores(prediction, truth):
    ap, tp, _, _ = import_module("cellpose.metrics").average_precision(truth, prediction, list(THRESHOLDS))
    yield "AP", ap
    yield "matches", tp


def our_scores(prediction, truth):
    scores = score_objects(prediction, truth)
    return {
        "AP": list(scores.ap.values()),
        "F1": list(scores.f1.values()),
        "matches": list(scores.n_matched.values()),
        "mean matched IoU": [scores.mean_matched_iou or 0.0],
    }


def compare(peer, scores_of):
    try:
        import_module(peer)
    except ImportError as error:
        print(f"\n{peer} is left out: {error}")
        return
    print(f"\n{peer} {version(peer)}, largest difference from ours at any of {len(THRESHOLDS)} thresholds")
    files = sorted((DATA / "fluo2d_dsb2018" / "labels").glob("*.tif"))
    for kind, change in KINDS.items():
        largest, n_true, seconds = {}, 0, [0.0, 0.0]
        for path in files:
            truth = tifffile.imread(path).astype(np.int32)
            prediction = renumbered(change(truth))
            start = process_time()
            ours = our_scores(prediction, truth)
            middle = process_time()
            theirs = dict(scores_of(prediction, truth))
            seconds = [seconds[0] + middle - start, seconds[1] + process_time() - middle]
            n_true += len(np.unique(truth)) - 1
            for name, values in theirs.items():
                difference = np.abs(np.subtract(values, ours[name])).max()
                largest[name] = max(largest.get(name, 0.0), float(difference))
        shown = ", ".join(f"{name} {difference:.1e}" for name, difference in largest.items())
        took = f"{seconds[1]:.1f} s, ours {seconds[0]:.1f} s"
        print(f"{len(files)} images, {n_true} objects, {kind}: {shown}; {took}", flush=True)


def renumbered(labels):
    """Number from 1 without gaps: Cellpose counts every number up to the largest."""
    return np.unique(labels, return_inverse=True)[1].reshape(labels.shape).astype(np.int32)


def main():
    time_matching()
    compare("stardist", stardist_scores)
    compare("cellpose", cellpose_scores)


if __name__ == "__main__":
    main()
