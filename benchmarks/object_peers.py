"""StarDist and Cellpose trained from scratch on the nuclei of objects.py, as long and scored alike.

Each in an environment of its own (Python 3.11), where this package's metric needs NumPy only::

    python -m venv stardist-env && stardist-env/bin/pip install stardist==0.9.2 tensorflow-cpu==2.21.0
    python -m venv cellpose-env && cellpose-env/bin/pip install cellpose==3.1.1.3 torch==2.13.0
    PYTHONPATH=src stardist-env/bin/python benchmarks/object_peers.py stardist --json rows.json
    PYTHONPATH=src cellpose-env/bin/python benchmarks/object_peers.py cellpose --json rows.json

Settings are those of their examples (StarDist: grid 2, 32 rays, flips, intensities) and of their command line
(Cellpose: SGD, learning rate 0.2). Training ends at the first step after the budget. Thresholds that StarDist
then fits on its validation images, and the size model of ``--sizes``, take time of their own on top.
"""

import argparse
import json
import os
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray
from object_rows import Row, add_row

from napari_unet.core.matching import score_object_images, score_objects

ROOT = Path(__file__).resolve().parents[1]
DATA = Path(os.environ.get("NAPARI_UNET_DATA", ROOT / "../shared/data"))
ROWS = {"nuclei-8": ("train_8", 3.0), "nuclei-all": ("train_all", 15.0)}
MANY = 100_000  # epochs: the clock ends a training first
VALIDATION = 0.15  # share of the images that StarDist's example holds out
STEPS_PER_EPOCH = 20  # of StarDist, whose 100 of GPUs are too rare for a look at the validation images

Pixels = NDArray[Any]
Pairs = Sequence[tuple[Pixels, Pixels]]


@dataclass(frozen=True)
class Trained:
    """How long a peer trained, and what then finds objects in an image."""

    steps: int
    seconds: float
    find_objects: Callable[[Pixels], Pixels]


def train_stardist(pairs: Pairs, seconds: float, seed: int, sizes: bool) -> Trained:
    """As in the notebooks that come with it."""
    import keras
    from csbdeep.utils import normalize
    from stardist import fill_label_holes
    from stardist.models import Config2D, StarDist2D

    class Clock(keras.callbacks.Callback):
        """Stops training when the time is over."""

        steps, begin, end = 0, 0.0, 0.0

        def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
            self.begin = self.begin or perf_counter()

        def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
            self.steps, self.end = self.steps + 1, perf_counter()
            self.model.stop_training = self.end - self.begin >= seconds

    keras.utils.set_random_seed(seed)
    rng = np.random.default_rng(seed)

    def ready(image: Pixels) -> Pixels:
        return normalize(image, 1, 99.8, axis=(0, 1))

    def augment(image: Pixels, objects: Pixels) -> tuple[Pixels, Pixels]:
        turns, flip = rng.integers(4), rng.integers(2)
        image, objects = (np.rot90(each, turns)[:: 1 - 2 * flip] for each in (image, objects))
        return image * rng.uniform(0.6, 2) + rng.uniform(-0.2, 0.2), objects

    order = rng.permutation(len(pairs))
    n_held = max(1, round(VALIDATION * len(pairs)))
    images = [ready(pairs[place][0]) for place in order]
    objects = [fill_label_holes(pairs[place][1]) for place in order]
    held = images[:n_held], objects[:n_held]
    config = Config2D(n_rays=32, grid=(2, 2), n_channel_in=1, train_tensorboard=False)
    with tempfile.TemporaryDirectory() as folder:
        model = StarDist2D(config, name="nuclei", basedir=folder)
        model.prepare_for_training()
        clock = Clock()
        model.callbacks.append(clock)
        model.train(
            images[n_held:],
            objects[n_held:],
            validation_data=held,
            augmenter=augment,
            epochs=MANY,
            steps_per_epoch=STEPS_PER_EPOCH,
        )
        model.optimize_thresholds(*held)
    return Trained(
        clock.steps, clock.end - clock.begin, lambda image: model.predict_instances(ready(image))[0]
    )


class TimeIsOver(Exception):
    """Ends the loop of a library that has no other way out."""


def train_cellpose(pairs: Pairs, seconds: float, seed: int, sizes: bool) -> Trained:
    """As its command line does without pretrained weights; objects are scaled to one mean diameter."""
    import torch
    from cellpose import models, train

    torch.manual_seed(seed)
    images, objects = [image for image, _ in pairs], [truth for _, truth in pairs]
    model = models.CellposeModel(gpu=False, pretrained_model=False)
    starts: list[float] = []

    def watch(*_: Any) -> None:
        starts.append(perf_counter())  # of this step, and the end of the one before
        if starts[-1] - starts[0] >= seconds:
            raise TimeIsOver

    with tempfile.TemporaryDirectory() as folder:
        watching = model.net.register_forward_pre_hook(watch)
        try:
            train.train_seg(
                model.net,
                train_data=images,
                train_labels=objects,
                channels=[0, 0],
                SGD=True,
                learning_rate=0.2,
                n_epochs=MANY,
                save_path=folder,
                save_every=MANY,
            )
        except TimeIsOver:
            watching.remove()
        model.net.eval()
        model.diam_labels = model.net.diam_labels.item()  # as when it is loaded from a file
        find_size = _train_sizes(model, images, objects, Path(folder)) if sizes else lambda image: None

    def find_objects(image: Pixels) -> Pixels:
        return model.eval(image, channels=[0, 0], diameter=find_size(image))[0]

    return Trained(len(starts) - 1, starts[-1] - starts[0], find_objects)


def _train_sizes(
    model: Any, images: Sequence[Pixels], objects: Sequence[Pixels], folder: Path
) -> Callable[[Pixels], float]:
    """Train what guesses the diameter of the objects in an image."""
    from cellpose import models, train

    path = folder / "sizes"
    train.train_size(model.net, str(path), train_data=images, train_labels=objects, channels=[0, 0])
    size_model = models.SizeModel(model, pretrained_size=f"{path}_size.npy")
    return lambda image: float(size_model.eval(image, channels=[0, 0])[0])


PEERS = {"stardist": train_stardist, "cellpose": train_cellpose}


def run_peer(peer: str, name: str, minutes: float, seed: int, sizes: bool) -> Row:
    """Train on a split and score on the test images."""
    split = json.loads((DATA / "splits.json").read_text())["nuclei"]
    folder = DATA / split["set"]
    pairs, tests = read_pairs(folder, split[ROWS[name][0]]), read_pairs(folder, split["test"])
    start = perf_counter()
    trained = PEERS[peer](pairs, 60 * minutes, seed, sizes)
    wall = perf_counter() - start
    found = [(trained.find_objects(image), truth) for image, truth in tests]
    ap50 = tuple(score_objects(*each).ap[0.5] for each in found)
    method = f"{peer} with sizes" if sizes else peer
    scores = score_object_images(found).to_json()
    return Row(
        name, method, len(pairs), minutes, 2, seed, 0, trained.steps, trained.seconds, wall, scores, ap50
    )


def read_pairs(folder: Path, names: Sequence[str]) -> list[tuple[Pixels, Pixels]]:
    """Images and their objects."""
    return [
        (
            tifffile.imread(folder / "images" / name),
            tifffile.imread(folder / "labels" / name).astype(np.int32),
        )
        for name in names
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("peer", choices=PEERS)
    parser.add_argument("--rows", nargs="+", choices=ROWS, default=list(ROWS))
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    parser.add_argument("--minutes", type=float, help="of every training, to try the script")
    parser.add_argument("--sizes", action="store_true", help="train Cellpose's size model too")
    parser.add_argument("--json", type=Path, help="where to add the rows; objects.py --from prints them")
    wanted = parser.parse_args()
    for name in wanted.rows:
        for seed in wanted.seeds:
            minutes = wanted.minutes or ROWS[name][1]
            add_row(run_peer(wanted.peer, name, minutes, seed, wanted.sizes), wanted.json)


if __name__ == "__main__":
    main()
