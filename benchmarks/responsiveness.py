"""How smooth the window is while a network learns, and what the window costs the learning.

    PYTHONPATH=src:tests/window xvfb-run -a -s "-screen 0 1600x1000x24" python benchmarks/responsiveness.py

A timer that should fire every 10 ms tells how long the window was deaf, while somebody paints and changes
slices all the time: with nothing else going on, while a network is trained, and while the stack is segmented.
"""

import argparse
import os
import sys
import tempfile
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field, replace
from multiprocessing import get_context
from pathlib import Path
from statistics import median
from time import perf_counter

import napari
import numpy as np
import torch
from heartbeat import Hand, Heartbeat, live, live_until
from user import Line, User, strokes_in

from napari_unet.core.examples import Dataset
from napari_unet.core.supply import SMALL_BATCHES
from napari_unet.samples import nuclei_stack
from napari_unet.session.session import Session
from napari_unet.session.settings import Settings
from napari_unet.session.threads import leave_a_core

STROKES_PER_SLICE = 4
WARM_STEPS = SMALL_BATCHES[-1][0]
"""The first steps are quicker, with smaller batches."""
N_SINGLE_STROKES = 3
PHASES = ("idle", "training", "segmenting")
AIMS = {"p99": 20, "longest": 100}
"""Milliseconds that a phase may be worse than idle."""


@dataclass
class Updates:
    """What the training told, and when it arrived in the window."""

    arrived: list[tuple[float, object]] = field(default_factory=list)

    def __call__(self, update: object) -> None:
        self.arrived.append((perf_counter(), update))

    def rate(self, since: float) -> float:
        """Steps per second since a moment."""
        steps = [(at, update.step) for at, update in self.arrived if at >= since]
        (start, first), (end, last) = steps[0], steps[-1]
        return (last - first) / (end - start)

    def use(self, released_at: Sequence[float]) -> list[float]:
        """Seconds from the end of each stroke until a step that used it was reported."""
        taken = [(at, update.step) for at, update in self.arrived if update.message]
        waits = []
        for released in released_at:
            step = next((step for at, step in taken if at > released), None)
            used = (at for at, update in self.arrived if step is not None and update.step > step)
            waits += [at - released for at in list(used)[:1]]
        return waits


@dataclass(frozen=True)
class Run:
    """One run: gaps of each phase, steps per second with the window and without, and the two waits."""

    gaps: dict[str, np.ndarray]
    painting: float
    watching: float
    headless: float
    first_mask: float
    use: float
    use_painting: float


def open_window(photos: Path) -> User:
    """Open a stack of 576² pixels with the dock and its annotation layer."""
    user = User(napari.Viewer(), photos)
    sample = nuclei_stack()
    user.viewer.add_image(np.tile(sample.image, (40, 3, 3)), name="nuclei")
    user.open_dock()
    user.annotate()
    return user


def strokes() -> list[list[tuple[int, Line]]]:
    """For each slice strokes of both classes in turn, by the truth."""
    found = []
    for objects in np.tile(nuclei_stack().objects, (1, 3, 3)):
        half = STROKES_PER_SLICE // 2
        lines = zip(strokes_in(objects == 0, half), strokes_in(objects > 0, half), strict=True)
        found.append([stroke for pair in lines for stroke in zip((1, 2), pair, strict=True)])
    return found


def measure(user: User, hand: Hand, heart: Heartbeat, seconds: float) -> Run:
    """Go through all phases once, with a new model."""
    session, gaps = user.session, {}
    updates = Updates()
    session.updated.connect(updates)
    hand.start()
    live(2)
    gaps["idle"] = heart.listen(seconds)
    hand.rest()

    first_mask = _first_mask(user)
    live_until(lambda: updates.arrived[-1][1].step > WARM_STEPS)
    hand.start()
    live(2)
    hand.released_at.clear()
    start = perf_counter()
    gaps["training"] = heart.listen(seconds)
    painting, use_painting = updates.rate(start), median(updates.use(hand.released_at))
    hand.rest()
    live(1)
    start = perf_counter()
    live(seconds)
    watching = updates.rate(start)
    use = _use_of_single_strokes(hand, updates)

    dataset = painted_dataset(session)
    session.stop()
    live_until(lambda: session.state.phase == "idle")
    headless = headless_rate(dataset, session.settings, seconds)

    session.segment_stack()
    live_until(lambda: user.result)
    hand.start()
    live(2)
    gaps["segmenting"] = heart.listen(seconds)
    hand.rest()
    assert session.state.segmenting, "the stack was segmented before the phase ended: it is too short"
    session.cancel()
    live_until(lambda: not session.state.segmenting)
    session.updated.disconnect(updates)
    return Run(gaps, painting, watching, headless, first_mask, use, use_painting)


def _first_mask(user: User) -> float:
    """Press Train with a new model; return the seconds until there is a mask over the visible slice."""
    user.session.new_model()
    pressed = perf_counter()
    user.session.train()
    live_until(lambda: user.prediction and user.predicted.any())
    return perf_counter() - pressed


def _use_of_single_strokes(hand: Hand, updates: Updates) -> float:
    """Paint a stroke, look what becomes of it, paint another: the seconds until a step used each."""
    hand.released_at.clear()
    for number in range(N_SINGLE_STROKES):
        hand.start()
        live_until(lambda number=number: len(hand.released_at) > number)
        hand.rest()
        live(3)
    return median(updates.use(hand.released_at))


def painted_dataset(session: Session) -> Dataset:
    """Return what the network is being trained on."""
    return replace(session.teaching.trainer.terms, examples=session.teaching.examples())


def headless_rate(dataset: Dataset, settings: Settings, seconds: float) -> float:
    """Steps per second on the same examples with the same options, in a process that has no window."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(_train_headless, dataset, settings, seconds).result()


def _train_headless(dataset: Dataset, settings: Settings, seconds: float) -> float:
    from napari_unet.core.training import Wanted
    from napari_unet.session.learning import Beginning, Directions, Ready, training

    directions = Directions(Wanted(dataset.examples))
    began, seen = perf_counter(), Updates()
    for news in training(Beginning(dataset, settings), lambda: directions, None):
        if isinstance(news, Ready) or news.update.step <= WARM_STEPS:
            began = perf_counter()
            continue
        seen(news.update)
        if perf_counter() - began > seconds:
            return seen.rate(began)
    raise RuntimeError("the training ended before its rate was measured")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=12, help="of each phase of a run")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        os.environ["NAPARI_UNET_HOME"] = folder
        user = open_window(Path(folder))
        hand, heart = Hand(user, strokes()), Heartbeat()
        measure(user, hand, heart, options.seconds)  # torch is loaded, and every code has run once
        runs = []
        for number in range(options.runs):
            runs.append(measure(user, hand, heart, options.seconds))
            print(f"run {number + 1} of {options.runs}", file=sys.stderr)
        user.close()
    leave_a_core()  # as every job does
    n_threads = torch.get_num_threads()
    print(f"{n_threads} of {os.cpu_count()} threads for training and segmenting, with a window and without")
    print(gap_table(runs), speed_table(runs), sep="\n\n")


def gap_table(runs: Sequence[Run]) -> str:
    """Milliseconds between beats, the median of all runs."""
    rows = ["| phase | p50 | p99 | longest | beats |", "|---|---|---|---|---|"]
    found = {phase: _gaps(runs, phase) for phase in PHASES}
    for phase, (p50, p99, longest, beats) in found.items():
        rows.append(f"| {phase} | {p50:.0f} ms | {p99:.0f} ms | {longest:.0f} ms | {beats:.0f} |")
    idle, training = found["idle"], found["training"]
    worse = training[1] - idle[1], training[2] - idle[2]
    verdicts = [
        f"| {name} while training, against idle | + {AIMS[name]} ms | {more:+.0f} ms |"
        for name, more in zip(AIMS, worse, strict=True)
    ]
    return "\n".join([*rows, "", "| | aim | reached |", "|---|---|---|", *verdicts])


def _gaps(runs: Sequence[Run], phase: str) -> tuple[float, ...]:
    per_run = [
        (
            np.percentile(run.gaps[phase], 50),
            np.percentile(run.gaps[phase], 99),
            run.gaps[phase].max(),
            run.gaps[phase].size,
        )
        for run in runs
    ]
    return tuple(median(values) for values in zip(*per_run, strict=True))


def speed_table(runs: Sequence[Run]) -> str:
    """Steps per second with and without a window, and how long a user waits."""
    headless, painting, watching = (
        median(getattr(run, name) for run in runs) for name in ("headless", "painting", "watching")
    )
    shares = [median(getattr(run, name) / run.headless for run in runs) for name in ("watching", "painting")]
    first, use, use_painting = (
        median(getattr(run, name) for run in runs) for name in ("first_mask", "use", "use_painting")
    )
    return "\n".join(
        [
            "| | aim | reached |",
            "|---|---|---|",
            f"| steps per second without a window | | {headless:.1f} |",
            f"| with the window open, somebody watching | 70 % | {watching:.1f}, {shares[0]:.0%} |",
            f"| with the window open, somebody painting without a rest | | {painting:.1f}, {shares[1]:.0%} |",
            f"| from Train to the first mask | 3 s | {first:.1f} s |",
            f"| from the end of a stroke to a step that used it, at most | 1 s | {use:.1f} s |",
            f"| the same while painting goes on without a rest | | {use_painting:.1f} s |",
        ]
    )


if __name__ == "__main__":
    main()
