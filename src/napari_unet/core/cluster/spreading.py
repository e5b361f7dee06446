"""Spread many small tasks over workers, a few at a time: a scheduler never holds a million."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from functools import partial
from itertools import count, islice, repeat
from time import perf_counter
from typing import TYPE_CHECKING, Any, TypeVar
from uuid import uuid4

if TYPE_CHECKING:
    from distributed import Client, Future

T = TypeVar("T")
R = TypeVar("R")

AHEAD = 4  # batches for each thread of the workers, so that none waits for this process
RATE = 100  # batches a second: a fraction of what a scheduler manages
SHORTEST = 0.25  # seconds of a batch: what a killed worker may lose, and a GPU fills with several tiles
MOST = 1000  # tasks in a batch
ASK = 5.0  # seconds until it is asked again how many workers there are


def spread(
    client: "Client", do: Callable[[Sequence[T]], Sequence[R]], todo: Iterable[T]
) -> Iterator[tuple[T, R]]:
    """Do tasks on workers, and yield each with its result in the order in which they end.

    Tasks that are tiny go in batches. A task whose worker is killed is done by another one.

    Parameters
    ----------
    client : distributed.Client
        Connected to a scheduler; its workers may come and go.
    do : callable
        Takes some tasks and returns their results, in a worker.
    todo : iterable
        The tasks, taken when they are needed.

    Yields
    ------
    task, result

    Raises
    ------
    OSError
        If workers end again and again during a task, or the scheduler is gone.
    Exception
        What a task has raised; the others are cancelled.
    """
    from distributed import as_completed

    todo, pace = iter(todo), _Pace(client)
    flying: dict[Future[Any], list[T]] = {}
    landed = as_completed(loop=client.loop)
    timed = partial(_timed, do)
    # one name and numbers: the scheduler remembers every name
    keys = zip(repeat(f"tasks-{uuid4().hex}"), count())
    try:
        while True:
            batches = list(_batches(todo, pace.size, pace.n_at_once - len(flying)))
            futures = client.map(timed, batches, key=list(islice(keys, len(batches)))) if batches else []
            flying.update(zip(futures, batches, strict=True))
            landed.update(futures)
            if not flying:
                return
            done = landed.next_batch()
            whole = [future for future in done if future.status == "finished"]
            for future, (results, seconds) in zip(whole, client.gather(whole), strict=True):
                tasks = flying.pop(future)
                pace.learn(seconds / len(tasks))
                yield from zip(tasks, results, strict=True)
            for future in done:
                if future in flying:
                    raise _failure(future)
    finally:
        with suppress(OSError):  # the scheduler may be gone
            client.cancel(list(flying))


class _Pace:
    """How many batches are on their way at once, and how many tasks are in each."""

    def __init__(self, client: "Client") -> None:
        self._client = client
        self._n_threads, self._asked = 0, -ASK
        self._seconds: float | None = None  # a task takes

    @property
    def n_at_once(self) -> int:
        """Number of batches."""
        if perf_counter() - self._asked > ASK:
            self._n_threads, self._asked = sum(self._client.nthreads().values()), perf_counter()
        return AHEAD * max(4, self._n_threads)

    @property
    def size(self) -> int:
        """Number of tasks in a batch: it takes so long that the scheduler keeps up with all workers."""
        if self._seconds is None:
            return 1
        return max(1, min(MOST, int(max(SHORTEST, self._n_threads / RATE) / self._seconds)))

    def learn(self, seconds: float) -> None:
        """Take note of what a task has taken."""
        before = seconds if self._seconds is None else self._seconds
        self._seconds = 0.8 * before + 0.2 * seconds + 1e-9


def _batches(todo: Iterator[T], size: int, n: int) -> Iterator[list[T]]:
    for _ in range(n):
        batch = list(islice(todo, size))
        if not batch:
            return
        yield batch


def _timed(do: Callable[[Sequence[T]], Sequence[R]], tasks: Sequence[T]) -> tuple[Sequence[R], float]:
    start = perf_counter()
    return do(tasks), perf_counter() - start


def _failure(future: "Future[Any]") -> BaseException:
    """Return what to raise for a task that has no result."""
    from distributed import KilledWorker

    if future.status != "error":
        return OSError("the Dask scheduler is gone: start it again and go on with --resume")
    error: BaseException = future.exception()
    if isinstance(error, KilledWorker):
        return OSError(
            f"{error.allowed_failures + 1} workers ended one after another during the same task: they lack "
            "memory, so choose a smaller --tile, or napari-unet, which has to be installed there as here"
        )
    if isinstance(error, ModuleNotFoundError):
        return ValueError(f"a worker lacks {error.name}: install there what is installed here")
    return error
