"""A button that says what it does, or why it cannot be pressed now."""

from collections.abc import Callable

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QPushButton


class Button(QPushButton):
    """A button with its name for tests, and words for the user's eye."""

    def __init__(
        self,
        text: str,
        name: str,
        tooltip: str,
        pressed: Callable[[], object],
        *,
        checkable: bool = False,
        first: bool = False,
    ) -> None:
        super().__init__(text)
        self._tooltip = tooltip
        self.setObjectName(name)
        self.setToolTip(tooltip)
        self.setCheckable(checkable)
        if first:  # what to press next in the usual course
            self.setStyleSheet("font-weight: bold;")
        self.setFocusPolicy(Qt.FocusPolicy.TabFocus)  # a click leaves the keys to the canvas
        self.clicked.connect(lambda _: pressed())

    def describe(self, tooltip: str) -> None:
        """Say something else of what it does."""
        self._tooltip = tooltip

    def allow(self, why_not: str) -> None:
        """Enable the button, or say why it cannot be pressed."""
        self.setEnabled(not why_not)
        self.setToolTip(because(self._tooltip, why_not))


def because(tooltip: str, why_not: str) -> str:
    """Add to a tooltip why something cannot be done now, if so."""
    return f"{tooltip}\n\nNot now: {why_not}." if why_not else tooltip
