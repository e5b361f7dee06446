"""One sentence for a file that cannot be read, whatever a library raises about it."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class Unreadable(ValueError):
    """An error that already says in one sentence which file it is and what to do."""


@contextmanager
def readable(path: Path, *, place: str = "", spared: tuple[type[Exception], ...] = ()) -> Iterator[None]:
    """Turn whatever a reader raises into an `Unreadable` that names file and remedy: the border of reading.

    Nobody knows all that decoders raise on damaged bytes, so any error counts, our own faults among them:
    these have their traceback as the cause. What is `Unreadable` says so already, and so does what is
    `spared`; a file that is gone is none that is damaged. `place` says where in the file it happened: a page,
    a region.
    """
    try:
        yield
    except (Unreadable, MemoryError):
        raise
    except PermissionError as error:
        raise Unreadable(f"{path.name} may not be read; ask its owner for the right to read it") from error
    except Exception as error:
        is_gone = isinstance(error, FileNotFoundError) and not path.exists()
        if is_gone or isinstance(error, spared):
            raise
        where = f"{place}: " if place else ""
        raise Unreadable(
            f"{path.name} cannot be read ({where}{_reason(error)}); copy the file again or save it anew"
        ) from error


def _reason(error: Exception) -> str:
    """First line of what an error says; of the system's errors without number and path."""
    text = str((isinstance(error, OSError) and error.strerror) or error)
    return (text.splitlines() or [""])[0].rstrip(".") or type(error).__name__


def shown(region: tuple[slice, ...]) -> str:
    """Spell a region as an index.

    >>> shown((slice(0, 2), slice(16, 32)))
    'region [0:2, 16:32]'
    """
    return f"region [{', '.join(f'{part.start}:{part.stop}' for part in region)}]"
