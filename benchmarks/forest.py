"""The random forest to compare with: features of many scales, by scikit-image and scikit-learn.

Run as ``PYTHONPATH=src python benchmarks/forest.py``; prints the Dice of every test plane.
"""

from collections.abc import Sequence
from dataclasses import replace
from time import perf_counter
from typing import Any

import numpy as np
from comparison import TASKS, Task, Test, read_task, score_task
from numpy.typing import NDArray
from skimage.feature import multiscale_basic_features
from sklearn.ensemble import RandomForestClassifier

from napari_unet.core.examples import image_intensity
from napari_unet.core.normalise import normalise
from napari_unet.core.targets import Example

PIXELS_PER_IMAGE = 20_000
N_TREES = 100


def train_forest(examples: Sequence[Example], seed: int = 0) -> RandomForestClassifier:
    """Train on random annotated pixels of each example; classes are annotation values."""
    rng = np.random.default_rng(seed)
    drawn = [_draw_pixels(example, rng) for example in examples]
    features, classes = (np.concatenate(parts) for parts in zip(*drawn, strict=True))
    forest = RandomForestClassifier(N_TREES, n_jobs=-1, random_state=seed)
    return forest.fit(features, classes)


def predict(forest: RandomForestClassifier, image: NDArray[np.float32]) -> NDArray[Any]:
    """Annotation values (Y, X) of a normalised image (C, Y, X)."""
    features = pixel_features(image)
    values: NDArray[Any] = forest.predict(features.reshape(-1, features.shape[-1]))
    return values.reshape(image.shape[1:])


def pixel_features(image: NDArray[np.float32]) -> NDArray[np.float32]:
    """Intensity, edges and texture at scales of 0.5 to 16 pixels: (Y, X, n_features)."""
    features: NDArray[np.float32] = multiscale_basic_features(image, channel_axis=0)
    return features


def segment_planes(forest: RandomForestClassifier, test: Test, normalisation: str) -> NDArray[Any]:
    """Labels (n_planes, Y, X) as the files have them; normalised as the examples were."""
    intensity = replace(image_intensity(test.image), method=normalisation)
    pixels = normalise(test.image.read(), intensity)
    planes = pixels.reshape(len(pixels), -1, *pixels.shape[-2:])  # C, Z, Y, X
    # these files are dense: an annotation value is the file's value + 1
    return np.stack([predict(forest, planes[:, z]) - 1 for z in test.planes])


def run_forest(task: Task, seed: int) -> tuple[list[float], float]:
    """Dice of every test plane, and the seconds of features and training."""
    start = perf_counter()
    forest = train_forest(task.dataset.examples, seed)
    seconds = perf_counter() - start
    return score_task(task, lambda test: segment_planes(forest, test, task.dataset.normalisation)), seconds


def _draw_pixels(example: Example, rng: np.random.Generator) -> tuple[NDArray[Any], NDArray[Any]]:
    annotated = np.flatnonzero(example.annotation)
    chosen = rng.choice(annotated, min(PIXELS_PER_IMAGE, len(annotated)), replace=False)
    features = pixel_features(example.image)
    return features.reshape(-1, features.shape[-1])[chosen], example.annotation.ravel()[chosen]


def main() -> None:
    for name in TASKS:
        task = read_task(name)
        dices, seconds = run_forest(task, seed=0)
        print(f"{name}: mean Dice {np.mean(dices):.3f}, {seconds:.1f} s of training", flush=True)
        planes = [f"{test.image.name} {z}" for test in task.tests for z in test.planes]
        for plane, dice in zip(planes, dices, strict=True):
            print(f"  {plane}: {dice:.3f}", flush=True)


if __name__ == "__main__":
    main()
