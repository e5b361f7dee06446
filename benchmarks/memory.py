"""How much memory a whole stack takes: 2 GB, 20 GB and 200 GB, made up as they are read, each in a process.

Of every phase a part is worked through; what lies between is noted in the journal as if it had been done, so
that the plan, the journal, the joining of objects and the pyramid are those of the whole stack. Training is
on an OME-Zarr of 20 GB in which objects of three places are painted; all other chunks are missing.
"""

import argparse
import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Generator, Iterator
from dataclasses import asdict, dataclass
from math import prod
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import Any

import numpy as np

SIZES = (2, 20, 200)
PLANE = 4096
SIDES = {2: 1000, 20: 2154, 200: 4642}
WIDE = 30_000
MOST_MB, FLAT = 2500, 0.1
N_OBJECTS, N_TOUCHING = 200, 20  # of a block that is not computed, and of them those at one of its faces
N_TASKS = 2  # of each phase that are done before the leap, and after
PLACES = (300, 400, 500), (1000, 1700, 900), (1800, 1100, 1850)  # that are painted, in one plane each
CHUNK, RADIUS, N_STEPS = 128, 9, 10


@dataclass(frozen=True)
class Case:
    """A stack of uint16, a network's dimensions, and what is written; objects may be grown."""

    shape: tuple[int, ...]
    ndim: int
    kind: str
    suffix: str
    grows: bool = False

    @property
    def way(self) -> str:
        """What it has in common with stacks of other sizes."""
        wide = "one wide plane, " if self.shape == (WIDE, WIDE) else ""  # its tiles are larger
        return f"{wide}{self.ndim}D {'grown ' * self.grows}{self.kind} {self.suffix}"

    @property
    def n_bytes(self) -> int:
        """Of the stack."""
        return 2 * prod(self.shape)


@dataclass(frozen=True)
class Training:
    """A training on a volume with three painted places, and what kind of file holds its labels."""

    ndim: int
    task: str
    labels: str
    shape: tuple[int, ...] = (SIDES[20],) * 3

    @property
    def way(self) -> str:
        """The line of the table."""
        return f"train {self.ndim}D sparse, {self.task}, labels {self.labels}"

    @property
    def n_bytes(self) -> int:
        """Of the volume."""
        return 2 * prod(self.shape)


def trainings() -> list[Training]:
    """Planes and volumes, classes and objects, and the two kinds of label files."""
    kinds = ".ome.zarr", "annotation"
    return [
        Training(ndim, task, kind) for ndim in (2, 3) for task in ("classes", "objects") for kind in kinds
    ]


def cases() -> list[Case]:
    """Stacks of three sizes for each way, and wide planes; a TIFF takes its disk space at once."""
    planes = {size: (round(size * 1e9 / (2 * PLANE**2)), PLANE, PLANE) for size in SIZES}
    kinds = ("labels", False), ("objects", False), ("objects", True)
    made = [
        Case(planes[size] if ndim == 2 else (SIDES[size],) * 3, ndim, kind, ".ome.zarr", grows)
        for ndim in (2, 3)
        for kind, grows in kinds
        for size in SIZES
    ]
    made += [Case(planes[size], 2, "labels", ".tif") for size in SIZES[:2]]
    return made + [Case((WIDE, WIDE), 2, kind, ".ome.zarr", grows) for kind, grows in kinds]


class Noise:
    """A stack of blurred noise that exists only where it is read."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        from scipy.ndimage import uniform_filter

        self.shape, self.dtype = shape, np.dtype(np.uint16)
        noise = np.random.default_rng(0).normal(size=(61, 61, 61))
        self._period = (
            (10_000 + 40_000 * uniform_filter(noise, 5, mode="wrap")).clip(0, 65_535).astype(np.uint16)
        )

    def __getitem__(self, region: tuple[slice, ...]) -> np.ndarray:
        places = [np.arange(*part.indices(size)) % 61 for part, size in zip(region, self.shape, strict=True)]
        period = self._period if len(places) == 3 else self._period[0]
        return period[np.ix_(*places)]


def measure(case: Case, folder: Path) -> dict[str, Any]:
    """Work through parts of all phases of a stack; return what this process took."""
    import torch

    from napari_unet.core.io import Image
    from napari_unet.core.layouts import SegmentConfig
    from napari_unet.core.modelfile import Model
    from napari_unet.core.networks import build_network, network_config
    from napari_unet.core.objects import ObjectRules
    from napari_unet.core.stacks import segment_stack
    from napari_unet.core.starting import DEFAULT_SIZE
    from napari_unet.core.targets import OBJECT_CLASSES, ClassLabel

    width, depth = DEFAULT_SIZE["cpu"]
    classes = OBJECT_CLASSES if case.grows else (ClassLabel(1, 0, "background"), ClassLabel(2, 1, "cell"))
    options = {"in_channels": 1, "n_classes": len(classes), "width": width, "depth": depth}
    torch.manual_seed(0)
    network = build_network("unet", network_config("unet", ndim=case.ndim, **options))
    axes = "ZYX"[-case.ndim :]
    about = (axes, (1.0,) * case.ndim, "pixel", ("",), "percentile", {}, "0")
    # thresholds at which the untrained network finds some; sizes that make every phase count
    rules = ObjectRules(0.5, 0.3, min_size=30, reach=(64,) * case.ndim) if case.grows else None
    model = Model(network, "unet", "objects" if case.grows else "classes", classes, *about, objects=rules)
    spatial = "ZYX"[-len(case.shape) :]
    image = Image(Noise(case.shape), spatial, (1.0,) * len(spatial), "µm", ("",), "noise")
    path, start = folder / f"result{case.suffix}", perf_counter()
    config, baseline = SegmentConfig(case.kind, device="cpu"), peak_mb()
    peaks, plan = {}, {}
    for update in _leaping(lambda: segment_stack(model, image, path, config, resume=True), path):
        peaks[update.phase], plan[update.phase] = peak_mb(), update.n_tasks
    return {"baseline": baseline, "peaks": peaks, "tasks": plan, "seconds": perf_counter() - start}


def painted(task: str) -> np.ndarray:
    """Return what is painted in each place: discs, objects or of one class, and strokes of background."""
    plane = np.zeros((2 * CHUNK, 2 * CHUNK), np.uint8)
    plane[::16] = 1
    y, x = np.indices(plane.shape)
    for number, (row, column) in enumerate(np.ndindex(6, 6), 2):
        away = (y - 40 * row - 28) ** 2 + (x - 40 * column - 28) ** 2
        plane[away <= (RADIUS + 3) ** 2] = 1
        plane[away <= RADIUS**2] = number if task == "objects" else 2
    return plane


def make_volume(case: Training, folder: Path) -> tuple[Path, Path]:
    """Write the volume and its labels, almost nothing of which takes disk space."""
    import zarr

    from napari_unet.core.annotations import Meaning, save_annotation
    from napari_unet.core.io import tiff_writer
    from napari_unet.core.targets import OBJECT_CLASSES, ClassLabel

    def create(name: str, dtype: type) -> Any:
        group = zarr.create_group(folder / name)
        dataset = {
            "path": "0",
            "coordinateTransformations": [{"type": "scale", "scale": [1.0, 1.0, 1.0]}],
        }
        axes = [{"name": axis, "type": "space"} for axis in "zyx"]
        group.attrs["ome"] = {"version": "0.5", "multiscales": [{"axes": axes, "datasets": [dataset]}]}
        return group.create_array("0", shape=case.shape, chunks=(CHUNK,) * 3, dtype=dtype)

    image, plane = create("image.ome.zarr", np.uint16), painted(case.task)
    rng = np.random.default_rng(0)
    planes = {}
    labels = create("labels.ome.zarr", np.uint8) if case.labels == ".ome.zarr" else None
    for z, y, x in PLACES:
        inside = slice(y, y + len(plane)), slice(x, x + len(plane))
        noise = rng.integers(0, 1000, (16, *plane.shape))
        image[z - 8 : z + 8, *inside] = (noise + 3000 * (plane > 1)).astype(np.uint16)
        if labels is not None:
            labels[z, *inside] = plane
            continue
        planes[z,] = np.zeros(case.shape[1:], np.uint8)
        planes[z,][inside] = plane
    if labels is not None:
        return folder / "image.ome.zarr", folder / "labels.ome.zarr"

    def leave_hole(file: int, start: int, n_bytes: int) -> None:
        """Make the file as long as it has to be, without taking the disk space."""
        os.truncate(file, max(os.fstat(file).st_size, start + n_bytes))

    tiff_writer.os.posix_fallocate = leave_hole
    classes = ClassLabel(1, 0, "background"), ClassLabel(2, 1, "cell")
    meaning = Meaning(case.task, OBJECT_CLASSES if case.task == "objects" else classes)
    path = folder / "strokes.tif"
    save_annotation(path, planes, meaning, axes="ZYX", shape=case.shape, spacing=(1.0,) * 3)
    return folder / "image.ome.zarr", path


def measure_training(case: Training, image_path: Path, label_path: Path) -> dict[str, Any]:
    """Read the examples and train for some steps; return what this process took."""
    from napari_unet.core import LabelOptions, TrainConfig, Wanted, new_model, read_examples, train
    from napari_unet.core.annotations import find_annotation
    from napari_unet.core.devices import choose_device
    from napari_unet.core.draining import drain
    from napari_unet.core.io import open_image, open_labels

    baseline, start = peak_mb(), perf_counter()
    labels = (find_annotation(label_path) if label_path.suffix == ".tif" else None) or open_labels(label_path)
    options = LabelOptions(case.task, "ignore", ndim=case.ndim)
    dataset = read_examples([(open_image(image_path), labels)], options)
    peaks = {"reading": peak_mb()}
    model = new_model(dataset, device=choose_device("cpu"))
    drain(train(model, Wanted(dataset.examples), TrainConfig(steps=N_STEPS)))
    peaks["training"] = peak_mb()
    tasks = {"tiles": len(dataset.examples)}
    return {"baseline": baseline, "peaks": peaks, "tasks": tasks, "seconds": perf_counter() - start}


def _leaping(run: Callable[[], Generator[Any, None, Any]], path: Path) -> Iterator[Any]:
    """Yield the updates of the first and last tasks of each phase."""
    n_done: Counter[str] = Counter()
    while not path.exists():
        running = run()
        for update in running:
            yield update
            n_done[update.phase] += 1
            if n_done[update.phase] == N_TASKS and update.n_tasks > 3 * N_TASKS:
                running.close()
                _leap(Path(f"{path}.unfinished", "journal.jsonl"), update.phase, update.n_tasks)
                break


def _leap(journal: Path, phase: str, n_tasks: int) -> None:
    """Note all but the last tasks of a phase as done, with what might have come of them."""
    tasks = range(2 * N_TASKS, n_tasks - N_TASKS)
    touching = [[number, number] for number in range(1, N_TOUCHING + 1)]
    with open(journal, "a", encoding="utf-8") as file:
        for task in tasks:
            line: dict[str, Any] = {"phase": phase, "task": task}
            sizes = [[number, 20] for number in range(1, N_TOUCHING + 1)]
            if phase == "tiles":
                line |= {"n_nonfinite": 0, "n_objects": N_OBJECTS, "parts": sizes}
            if phase == "objects":
                line |= {"dropped": [100 * task], "parts": [[100 * task + number, n] for number, n in sizes]}
            if phase == "faces" and task + 1 in tasks:
                line |= {"pairs": [[task + 1, touching]]}
            file.write(json.dumps(line) + "\n")


def peak_mb() -> float:
    """Return the largest resident memory of this process so far; the kernel begins anew with each program."""
    with open("/proc/self/status", encoding="ascii") as file:
        return next(int(line.split()[1]) * 1024 / 1e6 for line in file if line.startswith("VmHWM"))


def in_process(case: Case | Training) -> dict[str, Any]:
    """Measure a case in a process of its own."""
    with TemporaryDirectory() as folder:
        paths = make_volume(case, Path(folder)) if isinstance(case, Training) else [Path(folder)]
        command = [sys.executable, __file__, "--one", json.dumps(asdict(case)), "--paths", *map(str, paths)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{case}: {done.stderr}")
    return json.loads(done.stdout.splitlines()[-1])


def main() -> None:
    """Print a table and a verdict."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--one", help=argparse.SUPPRESS)
    parser.add_argument("--paths", nargs="+", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--only", default="", help="cases whose line holds this, such as '3D objects'")
    parser.add_argument("--runs", type=int, default=3, help="of each case, of which the median counts")
    options = parser.parse_args()
    if options.one:
        parts = json.loads(options.one)
        parts["shape"] = tuple(parts["shape"])
        if "labels" in parts:
            found = measure_training(Training(**parts), *options.paths)
        else:
            found = measure(Case(**parts), *options.paths)
        print(json.dumps(found))
        return
    print("| way | stack | GB | blocks | peak MB | of it at the start | in which phase | s |")
    print("|---|---|---|---|---|---|---|---|")
    ways: dict[str, list[float]] = {}
    made: list[Case | Training] = [*cases(), *trainings()]
    for case in made:
        if options.only not in case.way:
            continue
        runs = sorted(
            (in_process(case) for _ in range(options.runs)), key=lambda run: max(run["peaks"].values())
        )
        found = runs[len(runs) // 2]
        peak = max(found["peaks"].values())
        phase = min(
            (name for name in found["peaks"] if found["peaks"][name] == peak), key=list(found["peaks"]).index
        )
        ways.setdefault(case.way, []).append(peak)
        row = (
            case.way,
            " x ".join(map(str, case.shape)),
            f"{case.n_bytes / 1e9:.3g}",
            found["tasks"]["tiles"],
        )
        row += (f"{peak:.0f}", f"{found['baseline']:.0f}", phase, f"{found['seconds']:.0f}")
        print(f"| {' | '.join(map(str, row))} |", flush=True)
    for way, peaks in ways.items():
        spread = max(peaks) / min(peaks) - 1
        verdict = "one size" if len(peaks) == 1 else "flat" if spread <= FLAT else "NOT FLAT"
        verdict += "" if max(peaks) < MOST_MB else f", NOT BELOW {MOST_MB} MB"
        print(f"{way}: {min(peaks):.0f} to {max(peaks):.0f} MB, {100 * spread:.0f} % apart: {verdict}")


if __name__ == "__main__":
    main()
