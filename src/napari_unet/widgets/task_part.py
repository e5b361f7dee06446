"""The switch between classes and objects."""

from typing import TYPE_CHECKING

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QButtonGroup, QWidget

from napari_unet.core.targets import Task
from napari_unet.session.state import SessionState
from napari_unet.widgets.button import Button
from napari_unet.widgets.layouts import column, heading, row

if TYPE_CHECKING:
    from napari_unet.session.session import Session

CLASSES = "Paint what each pixel is: background, nucleus, membrane. The result has one value for each class."
OBJECTS = (
    "Paint each cell with a label of its own. The result tells cells apart, even where they touch, "
    "and numbers them."
)


class TaskPart(QWidget):
    """Two buttons, one of which is down."""

    valueChanged = Signal(str)

    def __init__(self, session: "Session") -> None:
        super().__init__()
        self._buttons: dict[Task, Button] = {
            "classes": Button("Classes", "task_classes", CLASSES, self._on_clicked, checkable=True),
            "objects": Button("Objects", "task_objects", OBJECTS, self._on_clicked, checkable=True),
        }
        group = QButtonGroup(self)
        for button in self._buttons.values():
            group.addButton(button)
        column(self, row(heading("Find"), *self._buttons.values(), stretch=(0, 1, 1)))
        self.setValue("classes")
        self.valueChanged.connect(session.set_task)

    def value(self) -> Task:
        """Return the task whose button is down."""
        return "objects" if self._buttons["objects"].isChecked() else "classes"

    def setValue(self, task: Task) -> None:
        """Press the button of a task, without telling anybody."""
        self._buttons[task].setChecked(True)
        self._shown = task

    def show_state(self, state: SessionState) -> None:
        """Follow the session; a training goes on with the task that it began with."""
        self.setValue(state.task)
        busy = state.phase not in ("idle", "settled")
        for task, button in self._buttons.items():
            button.allow("stop the training first" if busy and task != state.task else "")

    def _on_clicked(self) -> None:
        if self.value() != self._shown:
            self._shown = self.value()
            self.valueChanged.emit(self._shown)
