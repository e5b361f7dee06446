"""Scrolling the dock must not change the numbers and choices that pass under the mouse."""

from qtpy.QtCore import QEvent, QObject, Qt
from qtpy.QtWidgets import QWidget


class _Guard(QObject):
    """Leaves the wheel to the scroll area unless the widget has been clicked into."""

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        if event.type() == QEvent.Type.Wheel and isinstance(watched, QWidget) and not watched.hasFocus():
            event.ignore()
            return True
        return False


def leave_wheel(*widgets: QWidget) -> None:
    """Let these widgets turn with the wheel only once they have been clicked into."""
    for widget in widgets:
        widget.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        widget.installEventFilter(_Guard(widget))
