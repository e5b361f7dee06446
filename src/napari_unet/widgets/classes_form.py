"""The classes that are painted, a row for each."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QMargins, Signal
from qtpy.QtWidgets import QLabel, QVBoxLayout, QWidget

from napari_unet.session.classes import (
    DEFAULT_CLASSES,
    Classes,
    ClassStyle,
    add_class,
    checked,
    without_class,
)
from napari_unet.session.state import SessionState
from napari_unet.widgets.button import Button
from napari_unet.widgets.class_row import BACKGROUND, HEIGHT, ClassRow
from napari_unet.widgets.layouts import column, row, sentence

if TYPE_CHECKING:
    from napari_unet.session.session import Session

ADD = "Add a class."
REMOVE = "Remove the class that you paint with; its strokes become unpainted."
OBJECTS = (
    "Paint some background, and each object with a label of its own from 2 on; they may touch. "
    "Objects that you do not paint are not learnt as background."
)
NEXT = "Paint with a label that no object has yet. The key takes up the brush, whatever you did before."
PLAIN = "Paint what is no object, with label 1: some of it near cells, in narrow gaps, and where nothing is."


class ClassesForm(QWidget):
    """The rows, and two buttons to add and remove; among objects, words in their place."""

    valueChanged = Signal(object)

    def __init__(self, session: "Session") -> None:
        super().__init__()
        self._session = session
        self._classes: Classes = ()
        self._selected = 1
        self._rows: list[ClassRow] = []
        self._layout = QVBoxLayout()
        self._layout.setContentsMargins(QMargins())
        self._layout.setSpacing(2)
        self._add = Button("+", "add_class", ADD, self._on_add)
        self._remove = Button("−", "remove_class", REMOVE, self._on_remove)
        for button in (self._add, self._remove):
            button.setFixedSize(HEIGHT, HEIGHT)
        marks = QLabel("background")
        marks.setToolTip(BACKGROUND)
        self._form, self._objects, words = QWidget(), QWidget(), sentence("objects_words")
        words.setText(OBJECTS)
        self._next = Button("Next object  [M]", "next_object", NEXT, session.next_object)
        self._plain = Button("Background  [0]", "paint_background", PLAIN, session.paint_background)
        column(self._objects, words, row(self._next, self._plain, stretch=(1, 1)))
        self._refusal = sentence("classes_refusal")
        self._refusal.hide()
        buttons = row(self._add, self._remove, QWidget(), marks, stretch=(0, 0, 1, 0))
        column(self._form, buttons, self._layout, self._refusal)
        column(self, self._form, self._objects)
        self.setValue(DEFAULT_CLASSES)
        self.valueChanged.connect(session.set_classes)

    def value(self) -> Classes:
        """Return the classes."""
        return self._classes

    def setValue(self, classes: Classes) -> None:
        """Show classes, without telling anybody."""
        self._classes = classes
        while len(self._rows) > len(classes):
            gone = self._rows.pop()
            gone.hide()
            gone.deleteLater()
        while len(self._rows) < len(classes):
            self._add_row(len(self._rows) + 1)
        for class_row, style in zip(self._rows, classes, strict=True):
            class_row.show_style(style)
        self._show_selected()

    def show_state(self, state: SessionState) -> None:
        """Follow the session."""
        self._form.setVisible(state.task == "classes")
        self._objects.setVisible(state.task == "objects")
        for button in (self._next, self._plain):
            button.allow("" if state.choice else "open an image first")
        self._selected = state.selected
        if state.classes == self._classes:
            self._show_selected()
        else:
            self.setValue(state.classes)

    def _add_row(self, position: int) -> None:
        added = ClassRow(position)
        added.chosen.connect(partial(self._on_chosen, position - 1))
        added.edited.connect(partial(self._on_edited, position - 1))
        self._rows.append(added)
        self._layout.addWidget(added)

    def _show_selected(self) -> None:
        for class_row, style in zip(self._rows, self._classes, strict=True):
            class_row.show_chosen(style.value == self._selected)
        self._add.allow(_refusal(lambda: add_class(self._classes)))
        self._remove.allow(_refusal(lambda: without_class(self._classes, self._selected)))

    def _on_chosen(self, position: int) -> None:
        self._selected = self._classes[position].value
        self._show_selected()
        self._session.select_class(self._selected)

    def _on_edited(self, position: int, changes: dict[str, Any]) -> None:
        others = {"is_background": False} if changes.get("is_background") else {}
        self._tell(
            [replace(each, **(changes if i == position else others)) for i, each in enumerate(self._classes)]
        )

    def _on_add(self) -> None:
        self._tell(add_class(self._classes))

    def _on_remove(self) -> None:
        self._tell(without_class(self._classes, self._selected))

    def _tell(self, classes: Sequence[ClassStyle]) -> None:
        """Take over a change, or say why the classes would not go together."""
        refusal = _refusal(lambda: checked(classes))
        self._refusal.setText(refusal)
        self._refusal.setVisible(bool(refusal))
        self.setValue(self._classes if refusal else tuple(classes))
        if not refusal:
            self.valueChanged.emit(self._classes)


def _refusal(change: Callable[[], object]) -> str:
    """Say why a change cannot be made, "" if it can."""
    try:
        change()
    except ValueError as error:
        return str(error)
    return ""
