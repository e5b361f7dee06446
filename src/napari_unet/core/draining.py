"""Running a generator that reports its progress, to its end or a piece at a time."""

from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

T = TypeVar("T")
U = TypeVar("U")


@dataclass(frozen=True)
class Done(Generic[U]):
    """Result of a generator that has ended."""

    result: U


def advance(work: Generator[Any, None, U]) -> Done[U] | None:
    """Run a generator up to its next yield; return its result once it has ended.

    Examples
    --------
    >>> def once():
    ...     yield
    ...     return "result"
    >>> work = once()
    >>> advance(work), advance(work)
    (None, Done(result='result'))
    """
    try:
        next(work)
    except StopIteration as end:
        return Done(end.value)
    return None


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
