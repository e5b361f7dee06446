"""Progress and time left in napari's activity dock, or in the terminal where there is no window."""

from collections.abc import Callable
from typing import Any

from napari.utils import cancelable_progress


class Progress:
    """A progress bar with a button to cancel; to be used in the GUI thread only."""

    def __init__(self, words: str, cancel: Callable[[], object], unit: str = "tile") -> None:
        self._bar = _Bar(desc=words, total=0, unit=unit, miniters=1, cancel_callback=cancel)
        self._words = words
        self._showing = self._closed = False

    def show(self, n_done: int, n_total: int, words: str) -> None:
        """Say how far it is with what."""
        # napari processes events while it draws the bar: the next update, or the end, may come meanwhile
        if self._showing or self._bar.disable:
            return
        self._showing = True
        try:
            if (self._bar.total, self._words) != (n_total, words):  # another phase
                self._words, self._bar.total = words, n_total
                self._bar.n = self._bar.initial = (
                    n_done - 1
                )  # what is there already says nothing of the speed
                self._bar.set_description(words)
            self._bar.update(n_done - self._bar.n)
        finally:
            self._showing = False
        if self._closed:
            self._bar.close()

    def close(self) -> None:
        """Take the bar away."""
        self._closed = True
        if not self._showing:
            self._bar.close()


class _Bar(cancelable_progress):  # type: ignore[misc]  # napari has no types
    """Cancels at once: napari's own calls back only where it is iterated over."""

    def __init__(self, *, cancel_callback: Callable[[], object], **options: Any) -> None:
        super().__init__(cancel_callback=cancel_callback, **options)

    def cancel(self) -> None:
        """Tell it to whoever works."""
        super().cancel()
        self.cancel_callback()
