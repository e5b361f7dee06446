"""Time of a training, by what it was spent on."""

from collections import defaultdict
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from time import perf_counter
from typing import Literal, TypeVar

from napari_unet.core.devices import is_out_of_memory, repeatable
from napari_unet.core.draining import Done, advance

T = TypeVar("T")
Activity = Literal["targets", "steps", "previews", "scores", "thresholds", "snapshots"]


class Stopwatch:
    """Count the seconds of work; what others do between updates neither counts nor is affected.

    Parameters
    ----------
    repeats : bool
        Whether cuDNN is to repeat itself while work is done.

    Attributes
    ----------
    seconds : float
        All work so far.
    spent : mapping of str to float
        The same by activity.
    """

    def __init__(self, *, repeats: bool) -> None:
        self._repeats = repeats
        self.seconds = 0.0
        self.spent: defaultdict[Activity, float] = defaultdict(float)

    @contextmanager
    def working(self, activity: Activity) -> Iterator[None]:
        """Count the time of this block."""
        start = perf_counter()
        try:
            with repeatable(self._repeats):
                yield
        finally:
            passed = perf_counter() - start
            self.seconds += passed
            self.spent[activity] += passed

    def advance(self, work: Generator[None, None, T], activity: Activity) -> Done[T | None] | None:
        """Do one piece of work; its result once it has ended, which is None where memory ran out."""
        with self.working(activity):
            try:
                return advance(work)
            except (RuntimeError, MemoryError) as error:
                if not is_out_of_memory(error):
                    raise
                return Done(None)
