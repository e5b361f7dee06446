"""What is wanted changes faster than it can be done: only the last wish counts."""

from collections.abc import Callable, Generator
from typing import Any, Generic, TypeVar

from napari_unet.session.jobs import Failure, Start

W = TypeVar("W")
R = TypeVar("R")


class Latest(Generic[W, R]):
    """Do what was wanted last, one job at a time; what is no longer wanted is dropped."""

    def __init__(
        self,
        start: Start,
        work: Callable[[W], Generator[Any, None, R]],
        show: Callable[[W, R], object],
        failed: Callable[[Failure], object],
    ) -> None:
        self._start, self._work, self._show, self._failed = start, work, show, failed
        self._wish: W | None = None
        self._running: W | None = None

    def ask(self, wish: W) -> None:
        """Want this from now on."""
        if wish == self._wish:
            return
        self._wish = wish
        if self._running is None:
            self._begin(wish)

    def forget(self) -> None:
        """Want nothing."""
        self._wish = None

    def _begin(self, wish: W) -> None:
        self._running = wish
        self._start(self._work(wish), lambda _: None, self._done, self._end)

    def _done(self, found: R) -> None:
        wish, self._running = self._running, None
        if wish is self._wish and wish is not None:
            self._show(wish, found)
        elif self._wish is not None:
            self._begin(self._wish)

    def _end(self, failure: Failure) -> None:
        wish, self._running = self._running, None
        if wish is self._wish:
            self._failed(failure)
        elif self._wish is not None:
            self._begin(self._wish)
