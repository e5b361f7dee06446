"""Segmenting: this slice, the whole stack, or the whole stack into a file."""

from typing import TYPE_CHECKING

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QCheckBox, QComboBox, QLabel, QWidget

from napari_unet.core.targets import Task
from napari_unet.session.settings import ALL_OBJECTS, WantedObjects
from napari_unet.session.state import SessionState
from napari_unet.widgets.asking import RESULT_FILES, path_to_save
from napari_unet.widgets.auto_spin import AutoSpin
from napari_unet.widgets.button import Button, because
from napari_unet.widgets.layouts import column, heading, row
from napari_unet.widgets.wheel import leave_wheel

if TYPE_CHECKING:
    from napari_unet.session.session import Session

KINDS: dict[Task, dict[str, str]] = {
    "classes": {"labels": "classes", "probabilities": "probabilities"},
    "objects": {"objects": "objects", "labels": "foreground", "probabilities": "probabilities"},
}
"""For each task what a file can hold, the usual first: the core's word and the user's."""
SLICE = "Segment the slice that you look at; the result is a layer of its own."
STACK = (
    "Segment every slice. It goes on in the background, the result layer fills as it goes, "
    "and napari's activity dock (bottom right) tells how long it takes."
)
FILE = (
    "Segment every slice and write the result to a file as well; it may be larger than the memory. "
    "If it is cancelled, or napari ends, choose the same file again, with the same model: "
    "it goes on where it stopped."
)
KIND = "What the file holds: a value for each class, numbered objects, or how sure the network is of a class."
GO_ON = "{}: with the same model and image it goes on there, else it begins anew."
CANCEL = (
    "Stop segmenting. What is done so far stays, and the next time it goes on there; "
    "only objects of a volume are in a layer when all of it is done, and a file goes on with them."
)

SIZE = "Smaller objects are left out; auto is what the model has learnt from the smallest painted ones."
UNITS = {2: "at least (px)", 3: "at least (voxels)"}
BORDER = "Keep objects that touch the border of the image: parts of them may lie beyond."
LINK = (
    "Objects of neighbouring slices that overlap become one object, with one number. "
    "For a 2D network on a stack, and the whole of it."
)

ENDING = "it ends after the tile at work"


class SegmentPart(QWidget):
    """Three ways to start segmenting and one to stop it."""

    def __init__(self, session: "Session") -> None:
        super().__init__()
        self._session = session
        self._task: Task | None = None
        self._name = "segmentation"
        self._slice = Button(
            "This slice", "segment_slice", SLICE, lambda: session.segment_slice(self.value())
        )
        self._stack = Button(
            "Whole stack", "segment_stack", STACK, lambda: session.segment_stack(objects=self.value())
        )
        self._file = Button("Into a file …", "segment_file", FILE, self._on_file)
        self._cancel = Button("Cancel", "cancel", CANCEL, session.cancel)
        self._kind = QComboBox()
        self._kind.setToolTip(KIND)
        self._kind.setMinimumContentsLength(6)
        self._kind.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        leave_wheel(self._kind)
        self._size = AutoSpin(0, 10**6, 20, step=1)
        self._border, self._link = (
            _check("keep at border", "keep_border", BORDER),
            _check("link slices", "link", LINK),
        )
        self._border.setChecked(True)
        self._objects = self._objects_form()
        column(
            self,
            heading("Segment"),
            self._objects,
            row(self._slice, self._stack, stretch=(1, 1)),
            row(self._file, self._kind, self._cancel, stretch=(2, 2, 1)),
        )

    def show_state(self, state: SessionState) -> None:
        """Follow the session."""
        if state.task != self._task:
            self._task = state.task
            self._kind.clear()
            for kind, words in KINDS[state.task].items():
                self._kind.addItem(words, kind)
        self._objects.setVisible(state.task == "objects")
        self._unit.setText(UNITS[state.ndim])
        self._link.setEnabled(not state.cannot_link)
        self._link.setToolTip(because(LINK, state.cannot_link))
        self._name = f"{state.choice.name} segmentation" if state.choice else "segmentation"
        why_not = _cannot_segment(state)
        self._slice.allow(why_not or ("" if state.plane is not None else "go to a slice, in 2D view"))
        self._stack.describe(f"{STACK}\n\n{GO_ON.format(state.begun)}" if state.begun else STACK)
        self._stack.allow(why_not)
        self._file.allow(why_not)
        self._cancel.allow(_cannot_cancel(state))

    def value(self) -> WantedObjects:
        """Return which objects are wanted."""
        if self._task != "objects":
            return ALL_OBJECTS
        size, links = self._size.number(), self._link.isEnabled() and self._link.isChecked()
        return WantedObjects(None if size is None else int(size), self._border.isChecked(), links)

    def _objects_form(self) -> QWidget:
        form, self._unit = QWidget(), QLabel()
        self._unit.setObjectName("min_size_unit")
        for each in (self._unit, self._size):
            each.setToolTip(SIZE)
        self._size.setObjectName("min_size")
        column(
            form, row(self._unit, self._size, stretch=(0, 1)), row(self._border, self._link, stretch=(1, 1))
        )
        return form

    def _on_file(self) -> None:
        path = path_to_save(self, "Segment into a file", f"{self._name}.ome.tif", RESULT_FILES)
        if path is not None:
            self._session.segment_stack(path, self._kind.currentData(), self.value())


def _check(text: str, name: str, tooltip: str) -> QCheckBox:
    check = QCheckBox(text)
    check.setObjectName(name)
    check.setToolTip(tooltip)
    check.setFocusPolicy(Qt.FocusPolicy.TabFocus)  # a click leaves the keys to the canvas
    return check


def _cannot_segment(state: SessionState) -> str:
    if state.choice is None:
        return "open an image first"
    if not state.has_model:
        return "train or load a model first"
    if state.cancelling:
        return ENDING
    return "it is segmenting already" if state.segmenting else ""


def _cannot_cancel(state: SessionState) -> str:
    if state.cancelling:
        return ENDING
    return "" if state.segmenting else "nothing is being segmented"
