"""Accuracy against seconds: the default U-Net from scratch, and a random forest on the same files.

``PYTHONPATH=src python benchmarks/accuracy.py --json rows.json --plot accuracy.png`` takes 25 minutes;
``--from rows.json --plot accuracy.png`` makes its table and plot again. Each network trains as
``napari-unet train --minutes`` does; seconds count from its first step, or from the forest's first feature.
"""

import argparse
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import groupby
from pathlib import Path
from statistics import fmean
from time import perf_counter

import torch
from comparison import TASKS, Task, Test, read_task, score_task
from forest import run_forest
from matplotlib.figure import Figure
from numpy.typing import NDArray

from napari_unet.core import TrainConfig, Wanted, drain, new_model, segment, train
from napari_unet.core.devices import describe_device
from napari_unet.core.modelfile import Model

BUDGETS = {"membranes": (10, 30, 60), "nuclei": (12, 120, 180)}
FOREST, UNET = "random forest", "U-Net"
CPU = torch.device("cpu")


@dataclass(frozen=True)
class Row:
    """One training and its test."""

    task: str
    method: str
    budget: float  # seconds asked for; 0 for the forest, which takes what it needs
    seed: int
    seconds: float
    preparation: float  # seconds before the first step
    steps: int  # trees are none
    dices: tuple[float, ...]  # of every test plane

    @property
    def dice(self) -> float:
        """Mean over the test planes."""
        return fmean(self.dices)


def run_unet(task: Task, budget: float, seed: int) -> Row:
    """Train with the default settings and test with the default halo."""
    start = perf_counter()
    model = new_model(task.dataset, seed=seed, device=CPU)
    config = TrainConfig(minutes=budget / 60, seed=seed)
    result = drain(train(model, Wanted(task.dataset.examples), config))
    preparation = perf_counter() - start - result.seconds
    dices = score_task(task, lambda test: segment_planes(result.model, test))
    return Row(task.name, UNET, budget, seed, result.seconds, preparation, result.steps, tuple(dices))


def segment_planes(model: Model, test: Test) -> NDArray:
    """Labels (n_planes, Y, X); a stack is segmented whole."""
    labels = segment(model, test.image, device="cpu")
    return labels.reshape(-1, *labels.shape[-2:])[list(test.planes)]


def run_rows(names: Sequence[str], seconds: Sequence[float] | None, seeds: Sequence[int]) -> Iterator[Row]:
    """Run everything, one after the other."""
    for name in names:
        task = read_task(name)
        for seed in seeds:
            dices, taken = run_forest(task, seed)
            yield Row(name, FOREST, 0, seed, taken, 0, 0, tuple(dices))
        for budget in seconds or BUDGETS[name]:
            for seed in seeds:
                yield run_unet(task, budget, seed)


def groups(rows: Sequence[Row]) -> Iterator[list[Row]]:
    """Rows that differ in their seed only."""
    for _, same in groupby(rows, lambda row: (row.task, row.method, row.budget)):
        yield list(same)


def table(rows: Sequence[Row]) -> str:
    """A Markdown table with a line for each group."""
    lines = ["| task | method | seconds | mean Dice | min–max | steps |", "|---|---|---|---|---|---|"]
    for same in groups(rows):
        first, dices = same[0], [row.dice for row in same]
        steps = f"{fmean(row.steps for row in same):.0f}" if first.steps else "–"
        lines.append(
            f"| {first.task} | {first.method} | {fmean(row.seconds for row in same):.1f} "
            f"| {fmean(dices):.3f} | {min(dices):.3f}–{max(dices):.3f} | {steps} |"
        )
    return "\n".join(lines)


def draw_plot(rows: Sequence[Row], path: Path) -> None:
    """Dice against seconds, a panel a task; bars reach from the worst seed to the best."""
    names = list(dict.fromkeys(row.task for row in rows))
    figure = Figure(figsize=(5.5 * len(names), 4), layout="constrained")
    panels = figure.subplots(1, len(names), squeeze=False)[0]
    for panel, name in zip(panels, names, strict=True):
        for method, style in ((FOREST, "s"), (UNET, "o-")):
            own = groups([row for row in rows if (row.task, row.method) == (name, method)])
            points = [_point(same) for same in own]
            if points:
                seconds, dice, below, above = zip(*points, strict=True)
                panel.errorbar(seconds, dice, (below, above), fmt=style, capsize=3, label=method)
        panel.set(title=name, xscale="log", xlabel="seconds of training", ylabel="Dice of the foreground")
        ticks = sorted({row.budget for row in rows if row.task == name and row.budget})
        panel.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
        panel.minorticks_off()
        panel.grid(alpha=0.3)
        panel.legend(loc="lower right")
    figure.savefig(path, dpi=120)


def _point(same: Sequence[Row]) -> tuple[float, float, float, float]:
    """Mean seconds and Dice, and how far the worst and best seed are from it."""
    dices = [row.dice for row in same]
    mean = fmean(dices)
    return fmean(row.seconds for row in same), mean, mean - min(dices), max(dices) - mean


def read_rows(path: Path) -> list[Row]:
    """Read what `--json` wrote."""
    return [Row(**{**cells, "dices": tuple(cells["dices"])}) for cells in json.loads(path.read_text())]


def show(row: Row) -> None:
    """Print a row as soon as it is there."""
    print(
        f"{row.task}, {row.method}, seed {row.seed}: Dice {row.dice:.3f} after {row.seconds:.1f} s "
        f"({row.preparation:.1f} s of preparation, {row.steps} steps)",
        flush=True,
    )


def numbers(kind: Callable[[str], float]) -> Callable[[str], list[float]]:
    """Parse "10,20"."""
    return lambda text: [kind(part) for part in text.split(",")]


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", choices=TASKS, help="one task instead of both")
    parser.add_argument("--seconds", type=numbers(float), help="budgets, e.g. 10,60")
    parser.add_argument("--seeds", type=numbers(int), default=[0, 1, 2], help="e.g. 0,1,2")
    parser.add_argument("--json", type=Path, help="where to keep the rows")
    parser.add_argument("--plot", type=Path, help="where to draw the plot")
    parser.add_argument("--from", dest="source", type=Path, help="rows kept before, instead of a run")
    return parser.parse_args()


def main() -> None:
    wanted = parse_arguments()
    if wanted.source:
        rows = read_rows(wanted.source)
    else:
        print(f"{describe_device(CPU)}, torch {torch.__version__}", flush=True)
        rows = []
        for row in run_rows([wanted.only] if wanted.only else list(TASKS), wanted.seconds, wanted.seeds):
            show(row)
            rows.append(row)
            if wanted.json:  # after every row: a benchmark that is stopped keeps what it has
                wanted.json.write_text(json.dumps([asdict(each) for each in rows], indent=1))
    print(table(rows))
    if wanted.plot:
        draw_plot(rows, wanted.plot)


if __name__ == "__main__":
    main()
