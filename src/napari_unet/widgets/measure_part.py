"""Measuring: objects to a table, which is seen in napari, saved, and drawn as boxes."""

from typing import TYPE_CHECKING

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QCheckBox, QWidget

from napari_unet.session.state import MeasureState, SessionState
from napari_unet.widgets.asking import TABLE_FILES, path_to_save
from napari_unet.widgets.button import Button
from napari_unet.widgets.layouts import column, heading, row, sentence

if TYPE_CHECKING:
    from napari_unet.session.session import Session

MEASURE = (
    "Measure each object of the selected Labels layer, of the uppermost result or, where no result is shown, "
    "of what you have painted and accepted: place, size, shape, and "
    "the intensities of the image that is chosen above. Then click on an object to see what was measured; "
    "Plugins > Features table widget shows the table."
)
PLANES = (
    "Measure each slice of a stack by itself: areas and perimeters instead of volumes, and for each object "
    "a row on every slice where it is."
)
SAVE = "Write the whole table, of all slices and time points, for a spreadsheet."
BOXES = (
    "Add a layer with the bounding box of each object. "
    "Where there are too many for napari, those of the slice that you look at: press again on another one."
)
CANCEL = "Stop measuring."


class MeasurePart(QWidget):
    """Measure, and three things to do with the table; hidden while there are no objects about."""

    def __init__(self, session: "Session") -> None:
        super().__init__()
        self._session, self._name = session, "objects"
        measuring = session.measuring
        self._measure = Button("Measure", "measure", MEASURE, self._on_measure)
        self._cancel = Button("Cancel", "cancel_measuring", CANCEL, measuring.cancel)
        self._save = Button("Save table …", "save_table", SAVE, self._on_save)
        self._boxes = Button("Boxes", "boxes", BOXES, measuring.show_boxes)
        self._planes = QCheckBox("slice by slice")
        self._planes.setObjectName("measure_planes")
        self._planes.setToolTip(PLANES)
        self._planes.setFocusPolicy(Qt.FocusPolicy.TabFocus)  # a click leaves the keys to the canvas
        self._words = sentence("measure_words")
        column(
            self,
            heading("Measure"),
            self._words,
            row(self._measure, self._planes, self._cancel, stretch=(2, 0, 1)),
            row(self._save, self._boxes, stretch=(1, 1)),
        )

    def show_state(self, state: SessionState) -> None:
        """Follow the session."""
        now = state.measure
        self._name = now.layer or "objects"
        self.setVisible(state.task == "objects" or bool(now.layer))
        self._words.setText(_words(now))
        self._words.setVisible(bool(now.layer))
        self._measure.allow(now.why_not)
        self._planes.setVisible(now.has_planes)
        self._cancel.allow(_cannot_cancel(now))
        for button in (self._save, self._boxes):
            button.allow("" if now.count else "measure first")

    def _on_measure(self) -> None:
        self._session.measuring.measure(not self._planes.isHidden() and self._planes.isChecked())

    def _on_save(self) -> None:
        path = path_to_save(self, "Save the table", f"{self._name}.csv", TABLE_FILES)
        if path is not None:
            self._session.measuring.save(path)


def _words(state: MeasureState) -> str:
    return f"{state.layer}: {state.count or 'not measured'}" if state.layer else ""


def _cannot_cancel(state: MeasureState) -> str:
    if state.ending:
        return "it ends after the block at work"
    return "" if state.busy else "nothing is being measured"
