"""How far tiled probabilities are from those of the whole image, and which halo ``--halo auto`` chooses.

Run as ``PYTHONPATH=src python benchmarks/halo.py``; trains on membranes for a minute first.
"""

import argparse
from dataclasses import replace

import numpy as np
import torch
from comparison import read_task

from napari_unet.core import TrainConfig, Wanted, drain, new_model, train
from napari_unet.core.calibration import choose_grid
from napari_unet.core.examples import image_intensity
from napari_unet.core.inference import Predictor
from napari_unet.core.normalise import normalise
from napari_unet.core.predicting import predict
from napari_unet.core.tiling import Region

TILE = 128


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=60, help="how long to train")
    seconds = parser.parse_args().seconds
    task = read_task("membranes")
    model = new_model(task.dataset)
    drain(train(model, Wanted(task.dataset.examples), TrainConfig(minutes=seconds / 60)))

    test = task.tests[0]
    stack = normalise(
        test.image.read(), replace(image_intensity(test.image), method=model.normalisation)
    )  # C, Z, Y, X
    plane = stack[:, test.planes[0]]
    predictor = Predictor(model.network, torch.device("cpu"), "fp32")  # bf16 rounds by more than a halo errs
    whole = predict(predictor, plane, predictor.grid(plane.shape[1:], tile=max(plane.shape)))
    print(f"tiles of {TILE}², exact halo {predictor.exact_halo[0]}")
    print("| halo | largest error | mean error | labels that differ |\n|---|---|---|---|")
    for halo in range(0, predictor.exact_halo[0] + 1, predictor.network.stride[0]):
        tiled = predict(predictor, plane, predictor.grid(plane.shape[1:], (halo, halo), TILE))
        error = np.abs(tiled - whole)
        differ = (tiled.argmax(0) != whole.argmax(0)).mean()
        print(f"| {halo} | {error.max():.1e} | {error.mean():.1e} | {differ:.3%} |", flush=True)

    def read(region: Region) -> np.ndarray:
        return stack[:, region[0].start, *region[1:]]

    chosen = choose_grid(predictor, read, stack.shape[1:], tile=TILE).halo[0]
    print(f"--halo auto chooses {chosen} for the stack in such tiles")


if __name__ == "__main__":
    main()
