"""Show a training on the terminal, log its curve, and end it well on Ctrl-C."""

import csv
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from time import perf_counter
from types import FrameType
from typing import Any

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from napari_unet.cli.finding import FITTED, describe_rules
from napari_unet.core.draining import drain
from napari_unet.core.examples import Dataset
from napari_unet.core.modelfile import Model
from napari_unet.core.supply import TrainConfig
from napari_unet.core.training import TrainResult, TrainUpdate, Wanted, train
from napari_unet.core.validation import HoldoutSummary

Show = Callable[[TrainUpdate], None]
LINE_SECONDS = 15.0
"""How often a training that writes to a file rather than a terminal says how it goes."""


def run_training(
    model: Model, dataset: Dataset, config: TrainConfig, log: Path | None = None, *, begun: float
) -> tuple[TrainResult, bool]:
    """Train to the end or to the first Ctrl-C; return the result, and whether it was interrupted.

    What the command has taken since `begun` (of `perf_counter`) is told when the first step can be taken.
    """
    interrupted = False

    def interrupt(_signal: int, _frame: FrameType | None) -> None:
        nonlocal interrupted
        interrupted = True
        signal.signal(signal.SIGINT, signal.default_int_handler)  # the second one ends at once

    def wanted() -> Wanted:
        return going if not interrupted else stopping

    going, stopping = Wanted(dataset.examples), Wanted(dataset.examples, stop=True)
    logs = [] if log is None else [curve_logged(log, model)]
    summaries: list[HoldoutSummary] = []
    with progress_shown(begun) as progress, ctrl_c_handled(interrupt):
        shows: list[Show] = [
            progress,
            *logs,
            lambda update: summaries.extend([update.holdout] if update.holdout else []),
        ]
        result = drain(train(model, wanted, config), lambda update: [show(update) for show in shows])
    if interrupted:
        typer.echo("stopped early" if result.steps else "stopped before the first step: nothing is saved")
    if interrupted and not result.steps:
        raise KeyboardInterrupt
    if result.score is not None:
        doubt = summaries[-1].doubt(result.score.mean_dice) if summaries else ""
        typer.echo(
            f"validation Dice {result.score.mean_dice:.3f}, pixel accuracy {result.score.pixel_accuracy:.3f}"
            + (f" ({doubt})" if doubt else "")
        )
    if result.model.objects is not None:
        fitted = FITTED[str(result.model.training["objects_fitted_to"])]
        typer.echo(f"objects: {describe_rules(asdict(result.model.objects))}; {fitted}")
    return result, interrupted


@contextmanager
def ctrl_c_handled(handler: Callable[[int, FrameType | None], Any]) -> Iterator[None]:
    """Call the handler on Ctrl-C for a while."""
    before = signal.signal(signal.SIGINT, handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


@contextmanager
def progress_shown(begun: float) -> Iterator[Show]:
    """Show messages, and how it goes: as a bar on a terminal, elsewhere as a line now and then."""
    console = Console()
    columns = ("{task.description}", BarColumn(), TimeElapsedColumn(), "left", TimeRemainingColumn())
    words = [TextColumn(column) if isinstance(column, str) else column for column in columns]
    with Progress(*words, console=console, disable=not console.is_terminal) as bar:
        task = bar.add_task("starting", total=None)
        dice, ready, said = "", False, 0.0

        def show(update: TrainUpdate) -> None:
            nonlocal dice, ready, said
            if update.message:
                bar.console.print(update.message, highlight=False, markup=False, soft_wrap=True)
            if not ready:
                bar.console.print(f"ready after {perf_counter() - begun:.1f} s", highlight=False)
                ready = True
            if update.score is not None:
                dice = f", validation Dice {update.score.mean_dice:.3f}"
            if update.step:
                words = (
                    f"step {update.step}, loss {update.loss:.3f}{dice}, {update.steps_per_second:.1f} steps/s"
                )
                total = None if update.progress is None else 1.0
                bar.update(task, description=words, completed=update.progress or 0, total=total)
                if not console.is_terminal and update.seconds - said >= LINE_SECONDS:
                    typer.echo(f"{update.seconds:.0f} s: {words}")
                    said = update.seconds

        yield show


def curve_logged(path: Path, model: Model) -> Show:
    """Start a CSV file of the learning curve; it gets a row whenever the network has been scored."""
    is_objects = model.task == "objects"  # rim and core are written alike
    values = [label.name if is_objects else label.output_value for label in model.classes]
    scores = [f"{name}_{value}" for name in ("dice", "iou") for value in values]
    header = ["step", "seconds", "loss", "steps_per_second", "pixel_accuracy", "mean_dice", *scores]
    with path.open("w", newline="") as file:
        csv.writer(file).writerow(header)

    def show(update: TrainUpdate) -> None:
        if update.score is None:
            return
        score = update.score
        totals = (update.seconds, update.loss, update.steps_per_second, score.pixel_accuracy, score.mean_dice)
        cells = ["" if number is None else f"{number:.6g}" for number in (*totals, *score.dice, *score.iou)]
        # a disk that has become full must not cost the training
        with suppress(OSError), path.open("a", newline="") as file:
            csv.writer(file).writerow([update.step, *cells])

    return show
