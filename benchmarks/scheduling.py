"""What it costs to hand out a million tiles: the tasks do nothing, the rest is what a cluster run does.

``PYTHONPATH=src python benchmarks/scheduling.py`` takes a few minutes. Scheduler and workers are processes of
their own on this machine; a thread stands for a worker. With small batches only a part of the tasks is run,
and the time of a million extrapolated.
"""

import argparse
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter

import psutil
from distributed import Client

from napari_unet.core.cluster import connect, spreading
from napari_unet.core.journal import Journal

MILLION = 1_000_000
PART = 10_000  # tasks without batches


@dataclass(frozen=True)
class Row:
    """One run."""

    batch: int  # tasks in one at most
    n_tasks: int
    seconds: float
    driver: float  # seconds of processor
    scheduler: float
    driver_mb: float
    scheduler_mb: float
    journal_mb: float


def do_nothing(tasks: Sequence[tuple[int, None]]) -> list[dict[str, int]]:
    """Return what the journal notes of a tile."""
    return [{"n_nonfinite": 0} for _ in tasks]


@contextmanager
def cluster(folder: Path, n_threads: int) -> Iterator[tuple[Client, psutil.Process]]:
    """Start a scheduler and two workers that share the threads."""
    found = ["--scheduler-file", str(folder / "scheduler.json")]
    commands = [["scheduler", *found, "--host", "127.0.0.1", "--port", "0", "--no-dashboard"]]
    worker = ["--host", "127.0.0.1", "--nthreads", str(n_threads // 2), "--no-nanny", "--no-dashboard"]
    commands += [["worker", *found, *worker, "--local-directory", str(folder)]] * 2
    logs = subprocess.DEVNULL
    processes = [
        subprocess.Popen(
            [sys.executable, "-m", "distributed.cli.dask_" + command, *rest], stdout=logs, stderr=logs
        )
        for command, *rest in commands
    ]
    try:
        with Client(scheduler_file=found[1]) as first:
            first.wait_for_workers(2)
            address = first.scheduler.address
        with connect(address) as client:
            yield client, psutil.Process(processes[0].pid)
    finally:
        for process in reversed(processes):
            process.terminate()
            process.wait()


def measure(client: Client, scheduler: psutil.Process, folder: Path, batch: int, n_tasks: int) -> Row:
    """Run tasks that do nothing through the driver of a cluster run, its journal included."""
    spreading.MOST = batch
    driver = psutil.Process()
    before = [_seconds(driver), _seconds(scheduler)]
    start = perf_counter()
    with Journal.create(folder / f"{batch}.jsonl", {"plan": {}}) as journal:
        todo = ((task, None) for task in range(n_tasks))
        for (task, _), note in spreading.spread(client, do_nothing, todo):
            journal.note("tiles", task, note)
    return Row(
        batch,
        n_tasks,
        perf_counter() - start,
        _seconds(driver) - before[0],
        _seconds(scheduler) - before[1],
        driver.memory_info().rss / 1e6,
        scheduler.memory_info().rss / 1e6,
        journal.path.stat().st_size / 1e6,
    )


def _seconds(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


def show(row: Row) -> None:
    """Print a run, and what a million tasks would take."""
    scale = MILLION / row.n_tasks
    n_batches = -(-row.n_tasks // row.batch)
    print(
        f"batches of {row.batch:4}: {row.n_tasks:9,} tasks in {row.seconds:6.1f} s, "
        f"{row.n_tasks / row.seconds:8,.0f} tasks/s, {n_batches / row.seconds:5.0f} batches/s\n"
        f"  processor time of a batch: scheduler {1e6 * row.scheduler / n_batches:6,.0f} µs, "
        f"driver {1e6 * row.driver / n_batches:6,.0f} µs\n"
        f"  a million tasks: {row.seconds * scale / 60:6.1f} minutes, "
        f"journal {row.journal_mb * scale:5.1f} MB\n"
        f"  memory: driver {row.driver_mb:.0f} MB, scheduler {row.scheduler_mb:.0f} MB",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=100, help="of the workers; each stands for a worker")
    parser.add_argument("--part", type=int, default=PART, help="tasks that are run without batches")
    given = parser.parse_args()
    with TemporaryDirectory() as name, cluster(Path(name), given.threads) as (client, scheduler):
        for batch, n_tasks in ((1, given.part), (10, 10 * given.part), (1000, MILLION)):
            show(measure(client, scheduler, Path(name), batch, n_tasks))


if __name__ == "__main__":
    main()
