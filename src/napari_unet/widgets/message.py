"""What is said to the user: an error with details to copy, a remark, and the offer to restore."""

from typing import TYPE_CHECKING

from qtpy.QtWidgets import QApplication, QFrame, QWidget

from napari_unet.session.jobs import Failure
from napari_unet.session.state import SessionState
from napari_unet.widgets.asking import agrees
from napari_unet.widgets.button import Button
from napari_unet.widgets.layouts import column, row, sentence

if TYPE_CHECKING:
    from napari_unet.session.session import Session

DISCARD = "The annotation that was kept is deleted for good, and there is no undo. Discard it?"
RED, BLUE, AMBER = "#d9534f", "#4a90d9", "#e0a030"


class Message(QFrame):
    """The last error or remark; hidden while there is none."""

    def __init__(self) -> None:
        super().__init__()
        self.setObjectName("message")
        self._details = ""
        self._words = sentence("message_words")
        self._copy = Button("Copy details", "copy_details", "Copy what a bug report needs.", self._on_copy)
        self._close = Button("Close", "close_message", "Hide this message.", self.hide)
        column(self, self._words, row(self._copy, self._close, stretch=(1, 1))).setContentsMargins(8, 4, 4, 4)
        self.hide()

    def show_failure(self, failure: Failure) -> None:
        """Show why something failed, with the details at hand."""
        self._details = f"{failure.sentence}\n\n{failure.details}"
        self._show(failure.sentence, RED)

    def show_words(self, words: str) -> None:
        """Show a remark; it does not hide an error that has not been closed."""
        if self.isHidden() or not self._details:
            self._details = ""
            self._show(words, BLUE)

    def _show(self, words: str, colour: str) -> None:
        _mark(self, colour)
        self._words.setText(words[:1].upper() + words[1:])
        self._copy.setVisible(bool(self._details))
        self.show()

    def _on_copy(self) -> None:
        QApplication.clipboard().setText(self._details)


class RestoreBanner(QFrame):
    """The offer to restore what was painted before napari ended; hidden while there is none."""

    def __init__(self, session: "Session") -> None:
        super().__init__()
        self.setObjectName("restore_banner")
        self._session = session
        self._words = sentence("kept_words")
        restore = Button("Restore", "restore", "Bring back annotation and model.", session.restore)
        discard = Button("Discard", "discard", "Delete what was kept, for good.", self._on_discard)
        _mark(self, AMBER)
        column(self, self._words, row(restore, discard, stretch=(1, 1))).setContentsMargins(8, 4, 4, 4)
        self.hide()

    def show_state(self, state: SessionState) -> None:
        """Follow the session."""
        self._words.setText(state.kept)
        self.setVisible(bool(state.kept))

    def _on_discard(self) -> None:
        if agrees(self, "Discard", DISCARD):
            self._session.discard_kept()


def _mark(frame: QWidget, colour: str) -> None:
    """Draw a coloured bar at the left of a frame."""
    frame.setStyleSheet(f"QFrame#{frame.objectName()} {{ border-left: 4px solid {colour}; }}")
