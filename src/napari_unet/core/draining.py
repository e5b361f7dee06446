"""Running a generator that tells how it goes, to its end; the standard library suffices."""

from collections.abc import Callable, Generator
from typing import TypeVar

T = TypeVar("T")
U = TypeVar("U")


def drain(work: Generator[T, None, U], show: Callable[[T], object] = lambda _: None) -> U:
    """Run a generator to its end, show what it yields, and return what it returns.

    Examples
    --------
    >>> def count():
    ...     yield 1
    ...     yield 2
    ...     return "done"
    >>> drain(count(), print)
    1
    2
    'done'
    """
    while True:
        try:
            show(next(work))
        except StopIteration as end:
            result: U = end.value
            return result
