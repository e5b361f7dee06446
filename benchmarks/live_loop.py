"""What the live loop does with its time: steps, previews, scores, thresholds, and the longest silence.

``PYTHONPATH=src python benchmarks/live_loop.py`` trains on made cells as the dock does, on one thread, with a
view of the middle, and with autosave: a copy of the model every ten seconds, written in another thread. Runs
with and without autosave take turns. ``NAPARI_UNET_BF16=0`` makes the machine compute in fp32.
"""

import argparse
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from time import perf_counter

import numpy as np
import torch
from numpy.typing import NDArray

from napari_unet.core import TrainConfig, Wanted, new_model, save_model, train
from napari_unet.core.devices import describe_device
from napari_unet.core.examples import Dataset
from napari_unet.core.modelfile import Model
from napari_unet.core.targets import OBJECT_CLASSES, ClassLabel, Example
from napari_unet.core.training import View

AUTOSAVE_SECONDS = 10.0
CASES = {
    "2D 512²": (512, 512),
    "2D 1024²": (1024, 1024),
    "2D 2048²": (2048, 2048),
    "3D 48×192²": (48, 192, 192),
}
VIEW = {2: (768, 768), 3: (17, 192, 192)}
"""What the dock predicts at once."""
STEP, RADIUS = {2: 85, 3: 48}, {2: 38, 3: 20}
CLASSES = (ClassLabel(1, 0, "background"), ClassLabel(2, 1, "cell"))


@dataclass(frozen=True)
class Run:
    """Steps, seconds of each activity, all seconds, and the longest one between two updates."""

    steps: int
    spent: dict[str, float]
    seconds: float
    longest: float


def cells(shape: tuple[int, ...], task: str) -> Example:
    """One plane or volume full of touching cells, all of them annotated."""
    rng = np.random.default_rng(0)
    annotation = np.ones(shape, np.int32)
    centres = product(*(range(STEP[len(shape)] // 2, size, STEP[len(shape)]) for size in shape))
    for number, centre in enumerate(centres, start=2):
        ball(annotation, centre, RADIUS[len(shape)] * rng.uniform(0.8, 1.15), number)
    if task == "classes":
        annotation = np.minimum(annotation, 2)
    image = (annotation > 1) - 0.5 + rng.normal(0, 0.5, shape)
    return Example(
        image[None].astype(np.float32), annotation, (1.0,) * len(shape), "cells", (0,) * (len(shape) + 1)
    )


def ball(annotation: NDArray[np.int32], centre: tuple[int, ...], radius: float, number: int) -> None:
    """Draw a disc or ball."""
    around = tuple(slice(max(0, int(at - radius)), int(at + radius) + 1) for at in centre)
    part = annotation[around]
    places = np.ogrid[
        tuple(slice(each.start, each.start + size) for each, size in zip(around, part.shape, strict=True))
    ]
    part[sum((at - c) ** 2 for at, c in zip(places, centre, strict=True)) < radius**2] = number


def model_of(example: Example, task: str) -> Model:
    """Make the network that the dock would make."""
    axes = "ZYX"[-example.annotation.ndim :]
    classes = OBJECT_CLASSES if task == "objects" else CLASSES
    data = Dataset((example,), task, classes, axes, example.spacing, "pixel", ("",), "percentile", ())
    return new_model(data, device=torch.device("cpu"))


def middle(example: Example) -> View:
    """The part of the example that somebody looks at."""
    shape = example.annotation.shape
    starts = [max(0, (size - seen) // 2) for size, seen in zip(shape, VIEW[len(shape)], strict=True)]
    part = tuple(slice(at, at + seen) for at, seen in zip(starts, VIEW[len(shape)], strict=True))
    return View(np.ascontiguousarray(example.image[(slice(None), *part)]))


def run(case: str, task: str, seconds: float, *, autosave: bool, folder: Path) -> Run:
    """Train for a while as the dock does."""
    torch.set_num_threads(1)
    example = cells(CASES[case], task)
    wanted = Wanted((example,), middle(example))
    start = saved = heard = perf_counter()
    longest, updates = 0.0, train(model_of(example, task), lambda: wanted, TrainConfig(keep="latest"))
    with ThreadPoolExecutor(1) as writer:
        for update in updates:
            now = perf_counter()
            longest, heard = max(longest, now - heard), now
            if update.model is not None:
                writer.submit(save_model, update.model, folder / "model.safetensors", overwrite=True)
            if now - start >= seconds:
                break
            if autosave and now - saved >= AUTOSAVE_SECONDS:
                saved, wanted = now, replace(wanted, snapshot=object())
        updates.close()
    return Run(update.step, dict(update.spent), perf_counter() - start, longest)


def row(case: str, task: str, runs: dict[bool, list[Run]]) -> str:
    """One line of the table: medians, and the worst silence."""
    with_it, without = runs[True], runs[False]
    steps = [median(each.steps for each in group) for group in (without, with_it)]
    shares = {
        name: median(each.spent.get(name, 0) / each.seconds for each in with_it)
        for name in ("targets", "steps", "previews", "scores", "thresholds", "snapshots")
    }
    aside = sum(shares[name] for name in ("previews", "scores", "thresholds"))
    longest = max(each.longest for each in with_it + without)
    cells = [case, task, *(f"{each:.0f}" for each in steps), f"{100 * steps[1] / steps[0]:.0f} %"]
    cells += [f"{100 * share:.1f} %" for share in (*shares.values(), aside)]
    return f"| {' | '.join(cells)} | {longest:.2f} s |"


def measured(options: argparse.Namespace) -> Iterator[str]:
    """Yield the lines of the table."""
    names = "targets", "steps", "previews", "scores", "thresholds", "snapshots"
    machine = describe_device(torch.device("cpu"))
    yield f"{machine}; 1 thread, {options.seconds:.0f} s a run, {options.repeats} of each"
    yield f"| case | task | steps | with autosave | ratio | {' | '.join(names)} | aside | longest silence |"
    yield "|" + "---|" * 13
    with TemporaryDirectory() as folder:
        for case, task in product(CASES, ("classes", "objects")):
            if options.only not in f"{case} {task}":
                continue
            runs: dict[bool, list[Run]] = {False: [], True: []}
            for _, autosave in product(range(options.repeats), (False, True)):
                runs[autosave].append(
                    run(case, task, options.seconds, autosave=autosave, folder=Path(folder))
                )
            yield row(case, task, runs)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=30.0)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--only", default="", help='part of a case and task, as "2048² objects"')
    for line in measured(parser.parse_args()):
        print(line, flush=True)


if __name__ == "__main__":
    main()
