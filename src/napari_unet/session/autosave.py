"""When annotation and model are kept: every few seconds while they change, and once more at the close."""

from collections.abc import Callable, Generator, Iterable
from dataclasses import dataclass
from functools import partial
from itertools import count
from pathlib import Path
from threading import Lock
from time import perf_counter

from napari_unet.core.targets import Task
from napari_unet.session.annotated import Annotated
from napari_unet.session.classes import ClassStyle
from napari_unet.session.jobs import Failure, Start, run_now
from napari_unet.session.kept import (
    Kept,
    Snapshot,
    annotation_path,
    find_kept,
    keep,
    keep_model,
    model_path,
    new_entry,
    new_name,
)

PAUSE_SECONDS = 5.0
"""Between the starts of two jobs."""
RETRY_SECONDS = 30.0
"""After the disk has refused something."""
BUSY_SHARE = 0.1
"""Share of the time that writing may take: a slow disk is asked less often."""


@dataclass(eq=False)
class _Followed:
    """One annotation, the entry that keeps it, and what it was like when it was noted last."""

    painted: Annotated
    entry: Path
    classes: tuple[ClassStyle, ...] = ()
    shape: tuple[int, ...] = ()
    is_dirty: bool = True

    def snapshot(self, session: str) -> Snapshot:
        """Take what is painted as it is now; its cells are shared, for nobody writes to them."""
        self.is_dirty = False
        return Snapshot(
            self.painted.key,
            self.painted.choice.name,
            self.painted.task,
            self.classes,
            self.shape,
            self.painted.cells,
            frozenset(self.painted.complete),
            session,
        )


@dataclass(frozen=True, eq=False)
class _Write:
    """One file to write; of two for the same file the one with the larger number is newer."""

    path: Path
    number: int
    write: Callable[[], object]


class Autosave:
    """Keep what is noted, off the thread that paints.

    Parameters
    ----------
    start : Start
        Runs a job; never two at once.
    failed : callable
        Told once when the disk refuses, and again only after it has worked meanwhile.
    """

    def __init__(self, start: Start, failed: Callable[[Failure], object]) -> None:
        self._start, self._tell = start, failed
        self._session = new_name()
        self._followed: list[_Followed] = []
        self._models: dict[Task, tuple[int, Callable[[Path], object]]] = {}
        self._numbers = count(1)
        self._queued: dict[Path, int] = {}
        self._waiting: dict[Path, _Write] = {}
        self._written: dict[Path, int] = {}
        self._lock = Lock()  # flush may come while a job writes
        self._is_busy, self._is_told = False, False
        self._started_at = self._due = float("-inf")

    @property
    def is_behind(self) -> bool:
        """Whether something is still to be written."""
        return bool(self._waiting)

    def note(self, painted: Annotated, classes: tuple[ClassStyle, ...]) -> None:
        """Remember that something of an annotation has changed: strokes, complete planes, or classes."""
        followed = self._follow(painted)
        followed.classes, followed.is_dirty = classes, True
        followed.shape = painted.choice.annotation_shape  # later the image may be given other data

    def note_model(self, task: Task, save: Callable[[Path], object]) -> None:
        """Remember how to write a task's newest model; called in the job, with the path, it replaces."""
        self._models[task] = (next(self._numbers), save)

    def forget_model(self, task: Task) -> None:
        """Remove what this session has written of a task's model."""
        self._models.pop(task, None)
        path = model_path(self._session, task)
        if path in self._queued:
            self._queue(_Write(path, next(self._numbers), partial(path.unlink, missing_ok=True)))

    def seal(self, painted: Annotated) -> None:
        """Stop following an annotation whose layer has gone: what it held is kept, and can be found again."""
        for followed in [each for each in self._followed if each.painted is painted]:
            self._queue_annotation(followed)
            self._followed.remove(followed)

    def find(self, key: str, task: Task | None = None) -> Kept | None:
        """Return the largest annotation of an image that is not being painted on here."""
        return find_kept(key, task, [each.entry for each in self._followed])

    def tick(self, now: float) -> None:
        """Start a job when it is time and something has changed; `now` is in seconds."""
        if self._is_busy or now < self._due:
            return
        self._queue_changes()
        if self._waiting:
            self._is_busy, self._started_at = True, now
            self._start(self._write_all(tuple(self._waiting.values())), _ignore, self._done, self._failed)

    def hurry(self, now: float) -> None:
        """Start a job as soon as none runs."""
        self._due = float("-inf")
        self.tick(now)

    def flush(self) -> None:
        """Write all that has changed before returning: for the moment when the viewer closes."""
        self._queue_changes()
        run_now(self._write_all(tuple(self._waiting.values())), _ignore, self._settle, self._complain)

    def _follow(self, painted: Annotated) -> _Followed:
        """Find what keeps this annotation; another of the same image and task gets an entry of its own."""
        same = [each for each in self._followed if each.painted.key == painted.key]
        for each in same:
            if each.painted is painted:
                return each
        for each in same:
            if each.painted.task == painted.task:
                self.seal(each.painted)
        entry = next((each.entry for each in same if each in self._followed), new_entry(painted.key))
        self._followed.append(_Followed(painted, entry))
        return self._followed[-1]

    def _queue_changes(self) -> None:
        for followed in self._followed:
            self._queue_annotation(followed)
        for task, (number, save) in self._models.items():
            if any(path == annotation_path(path.parent, task) for path in self._queued):
                path = model_path(self._session, task)
                self._queue(_Write(path, number, partial(keep_model, path, save)))

    def _queue_annotation(self, followed: _Followed) -> None:
        """Take what is painted, if it has changed; an annotation without any strokes makes no entry."""
        path = annotation_path(followed.entry, followed.painted.task)
        is_worth_it = followed.painted.planes or path in self._queued
        if followed.is_dirty and is_worth_it:
            write = partial(keep, followed.entry, followed.snapshot(self._session))
            self._queue(_Write(path, next(self._numbers), write))

    def _queue(self, write: _Write) -> None:
        if write.number > self._queued.get(write.path, 0):
            self._queued[write.path] = write.number
            self._waiting[write.path] = write

    def _write_all(self, writes: Iterable[_Write]) -> Generator[Path, None, float]:
        """Write each file if nothing newer is there; return the seconds, or raise the first error."""
        start, errors = perf_counter(), []
        for write in writes:
            try:
                self._write(write)
            except (OSError, ValueError) as error:  # the other files are written all the same
                errors.append(error)
            yield write.path
        if errors:
            raise errors[0]
        return perf_counter() - start

    def _write(self, write: _Write) -> None:
        with self._lock:
            if write.number > self._written.get(write.path, 0):
                write.write()
                self._written[write.path] = write.number

    def _done(self, seconds: float) -> None:
        self._is_busy = False
        self._settle(seconds)

    def _failed(self, failure: Failure) -> None:
        self._is_busy = False
        self._complain(failure)

    def _settle(self, seconds: float) -> None:
        self._forget_written()
        self._is_told = False
        self._due = self._started_at + max(PAUSE_SECONDS, seconds / BUSY_SHARE)

    def _complain(self, failure: Failure) -> None:
        self._forget_written()
        self._due = self._started_at + RETRY_SECONDS
        if not self._is_told:
            self._is_told = True
            self._tell(failure)

    def _forget_written(self) -> None:
        self._waiting = {
            path: write for path, write in self._waiting.items() if write.number > self._written.get(path, 0)
        }


def _ignore(_: object) -> None:
    """Nobody watches the files being written."""
