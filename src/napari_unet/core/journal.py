"""The journal of a long run: what was decided at its beginning, and which tasks are done."""

import errno
import json
import os
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from io import FileIO
from pathlib import Path
from typing import Any, Self

from napari_unet.core.io.disk import sync_folder

JSON = Any

MOST_TASKS = 10**9  # of a phase; a damaged number shall not cost more memory than that


class Journal:
    """Lines of JSON in a file: the first says what is being done, each other one which task is done.

    Whoever notes a task has waited until what it has written is on the disk: a power failure may take the
    last lines, but none that remains speaks of what is lost.
    A line that a crash has cut short does not count. One process writes at a time: who owns the folder.

    Parameters
    ----------
    path : Path
        The file; made by `create`.

    Raises
    ------
    ValueError
        If the file is no journal.
    OSError
        If it cannot be read or written.

    Examples
    --------
    >>> import tempfile
    >>> folder = tempfile.TemporaryDirectory()
    >>> with Journal.create(Path(folder.name, "journal.jsonl"), {"shape": [5, 5]}) as journal:
    ...     journal.note("tiles", 3, {"n_objects": 7})
    >>> again = Journal(journal.path)
    >>> again.header, again.is_done("tiles", 3), again.n_done("tiles"), dict(again.results("tiles"))
    ({'shape': [5, 5]}, True, 1, {3: {'n_objects': 7}})
    >>> folder.cleanup()
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        lines = _lines(path)
        self.header: Mapping[str, JSON] = next(lines, {})
        if not isinstance(self.header, dict) or "phase" in self.header or not self.header:
            raise ValueError(f"{path} is no journal of a segmentation: remove its folder to begin anew")
        self._done: dict[str, bytearray] = {}  # a byte for each task: a million tasks are a megabyte
        self._n_done: Counter[str] = Counter()
        for line in lines:
            self._mark(*_task(line, path))
        self._file: FileIO

    @classmethod
    def create(cls, path: Path, header: Mapping[str, JSON]) -> Self:
        """Write a new journal that begins with a header."""
        if is_begun(path):
            raise FileExistsError(f"{path} exists: go on with it, or remove its folder to begin anew")
        partial = path.with_name(f"{path.name}.partial")
        with open(partial, "w", encoding="utf-8") as file:
            file.write(_text(header))
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, path)  # at once: a killed run leaves all of the header or nothing
        sync_folder(path.parent)
        return cls(path)

    def __enter__(self) -> Self:
        self._file = FileIO(self.path, "r+")  # no buffer: what a full disk refused is not written at the end
        self._file.truncate(_whole_length(self.path))
        self._file.seek(0, os.SEEK_END)
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def note(self, phase: str, task: int, result: Mapping[str, JSON]) -> None:
        """Say that a task is done, and what came of it; from then on a killed run does not repeat it."""
        line = _text({"phase": phase, "task": task} | dict(result)).encode()
        if self._file.write(line) < len(line):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        self._mark(phase, task)

    def is_done(self, phase: str, task: int) -> bool:
        """Tell whether a task is done."""
        done = self._done.get(phase, b"")
        return task < len(done) and bool(done[task])

    def n_done(self, phase: str) -> int:
        """Count the tasks of a phase that are done."""
        return self._n_done[phase]

    def results(self, phase: str) -> Iterator[tuple[int, dict[str, JSON]]]:
        """Yield the tasks of a phase that are done and what came of them, read anew from the file."""
        for line in _lines(self.path):
            if line.get("phase") == phase:
                yield line["task"], {name: line[name] for name in line if name not in ("phase", "task")}

    def _mark(self, phase: str, task: int) -> None:
        done = self._done.setdefault(phase, bytearray())
        if task >= len(done):
            done.extend(bytes(task + 1 - len(done)))
        self._n_done[phase] += not done[task]
        done[task] = 1


def _text(line: Mapping[str, JSON]) -> str:
    return json.dumps(line, ensure_ascii=False, allow_nan=False) + "\n"


def _task(line: JSON, path: Path) -> tuple[str, int]:
    """Return phase and number of a task."""
    match line:
        case {"phase": str(phase), "task": int(task)} if 0 <= task < MOST_TASKS:
            return phase, task
    raise damaged(path)


def _lines(path: Path) -> Iterator[JSON]:
    with open(path, "rb") as file:
        for line in file:
            if not line.endswith(b"\n"):
                return
            try:
                yield json.loads(line)
            except (ValueError, RecursionError) as error:
                raise damaged(path) from error


def damaged(path: Path) -> ValueError:
    """Return the error that says what to do about a journal that does not hold what it should."""
    return ValueError(f"{path} is damaged: remove its folder to begin anew")


@contextmanager
def as_noted(path: Path) -> Iterator[None]:
    """Tell a journal that is damaged, where what it holds is not of the type that was noted."""
    try:
        yield
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        raise damaged(path) from error


def _whole_length(path: Path) -> int:
    """Return the length without a last line that a crash has cut short."""
    with open(path, "rb") as file:
        return sum(len(line) for line in file if line.endswith(b"\n"))


def is_begun(path: Path) -> bool:
    """Tell whether there is a journal; one without a whole header says that nothing has begun.

    Examples
    --------
    >>> is_begun(Path("nowhere/journal.jsonl"))
    False
    """
    with suppress(FileNotFoundError):
        if path.is_file():  # it may lead through a link in a circle
            with open(path, "rb") as file:
                return file.readline().endswith(b"\n")
    return False
