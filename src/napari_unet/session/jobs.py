"""Long work as generators: what starts one, and what becomes of its errors."""

import traceback
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

U = TypeVar("U")
R = TypeVar("R")
V = TypeVar("V")


@dataclass(frozen=True)
class Failure:
    """Why a job ended: one sentence for the user, and the details for a report."""

    sentence: str
    details: str


@dataclass(frozen=True)
class Listener:
    """Who is told what goes on: news of a training, sentences for the user, and failures."""

    updated: Callable[[Any], object]
    said: Callable[[str], object]
    failed: Callable[[Failure], object]


class Start(Protocol):
    """Run a generator somewhere; `shown`, `done` and `failed` are called where the viewer lives."""

    def __call__(  # noqa: D102
        self,
        work: Generator[Any, None, Any],
        shown: Callable[[Any], object],
        done: Callable[[Any], object],
        failed: Callable[[Failure], object],
    ) -> None: ...


@dataclass(frozen=True)
class Jobs:
    """How jobs are started, how many threads torch may use in them (None: all but one), and who is told."""

    start: Start
    listener: Listener
    threads: int | None = None

    def run(
        self,
        work: Generator[U, None, R],
        done: Callable[[R], object],
        shown: Callable[[U], object] = lambda _: None,
        failed: Callable[[Failure], object] | None = None,
    ) -> None:
        """Start a job; whatever fails, in it or in what is done with its news, is told as a sentence."""
        failed = failed or self.listener.failed
        self.start(work, self._telling(shown), self._telling(done), self._telling(failed))

    def _telling(self, take: Callable[[V], object]) -> Callable[[V], None]:
        def take_and_tell(news: V) -> None:
            with self.telling():
                take(news)

        return take_and_tell

    @contextmanager
    def telling(self) -> Iterator[None]:
        """Do what is inside, or tell in a sentence why it cannot be done."""
        try:
            yield
        except Exception as error:  # noqa: BLE001 - whatever fails is shown in the dock, which lives on
            self.listener.failed(failure(error))


def run_now(
    work: Generator[U, None, R],
    shown: Callable[[U], object],
    done: Callable[[R], object],
    failed: Callable[[Failure], object],
) -> None:
    """Run a job to its end before returning: for scripts and tests."""
    job = caught(work)
    while True:
        try:
            shown(next(job))
        except StopIteration as end:
            failed(end.value) if isinstance(end.value, Failure) else done(end.value)
            return


def caught(work: Generator[U, None, R]) -> Generator[U, None, R | Failure]:
    """Return an error as a Failure: whatever goes wrong in a job is shown, and the viewer lives on."""
    try:
        return (yield from work)
    except Exception as error:  # noqa: BLE001
        return failure(error)


def failure(error: Exception) -> Failure:
    """Put an error into a sentence: those we raise explain themselves, others are named."""
    explained = isinstance(error, ValueError | OSError | MemoryError | TypeError) and str(error)
    sentence = str(error) if explained else f"{type(error).__name__}: {error}".removesuffix(": ")
    return Failure(sentence, "".join(traceback.format_exception(error)))
