"""Scrolling the dock must not change the numbers and choices that pass under the mouse."""

from qtpy.QtCore import QEvent, QObject, Qt
from qtpy.QtWidgets import QComboBox, QWidget


class _Guard(QObject):
    """Leaves the wheel to the scroll area unless the widget has been clicked into."""

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        if event.type() == QEvent.Type.Wheel and isinstance(watched, QWidget) and not watched.hasFocus():
            event.ignore()
            return True
        return False


def leave_wheel(*widgets: QWidget) -> None:
    """Let numbers turn with the wheel only once clicked into; a choice made leaves the keys to the canvas."""
    for widget in widgets:
        clicked = not isinstance(widget, QComboBox)
        widget.setFocusPolicy(Qt.FocusPolicy.StrongFocus if clicked else Qt.FocusPolicy.TabFocus)
        widget.installEventFilter(_Guard(widget))
