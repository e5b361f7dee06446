"""What is annotated, image by image, and which of its slices are complete."""

from collections.abc import Sequence

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QAbstractItemView, QHeaderView, QTableWidget, QTableWidgetItem

from napari_unet.session.state import ImageState, PlaneState, SessionState

TOOLTIP = (
    "Slices that you have annotated, in every image. All of them train the one network. "
    "✓ marks a complete slice: what is unpainted there counts as background."
)
COLUMNS = ("image", "annotated slices", "complete")
ROW_HEIGHT, MOST_ROWS = 20, 4


class ImagesTable(QTableWidget):
    """A row for each image; hidden until something is annotated."""

    def __init__(self) -> None:
        super().__init__(0, len(COLUMNS))
        self.setObjectName("images_table")
        self.setToolTip(TOOLTIP)
        self.setHorizontalHeaderLabels(COLUMNS)
        self.verticalHeader().hide()
        self.verticalHeader().setDefaultSectionSize(ROW_HEIGHT)
        self.horizontalHeader().setSectionResizeMode(QHeaderView.ResizeMode.Stretch)
        self.horizontalHeader().setSectionResizeMode(2, QHeaderView.ResizeMode.ResizeToContents)
        self.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        self.setSelectionMode(QAbstractItemView.SelectionMode.NoSelection)
        self.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        self.setShowGrid(False)
        self._shown: tuple[object, ...] = ()
        self.hide()

    def show_state(self, state: SessionState) -> None:
        """Follow the session; the chosen image is bold."""
        chosen = state.choice.name if state.choice else ""
        if (state.images, chosen) == self._shown:
            return
        self._shown = state.images, chosen
        self.setRowCount(len(state.images))
        for i, image in enumerate(state.images):
            self._show_row(i, image, bold=image.name == chosen)
        rows = min(len(state.images), MOST_ROWS)
        self.setFixedHeight(self.horizontalHeader().sizeHint().height() + rows * ROW_HEIGHT + 4)
        self.setVisible(bool(state.images))

    def _show_row(self, row: int, image: ImageState, *, bold: bool) -> None:
        n_complete = sum(plane.complete for plane in image.planes)
        for column, words in enumerate((image.name, slices(image.planes), str(n_complete or ""))):
            item = QTableWidgetItem(words)
            item.setToolTip(f"{image.name}: {slices(image.planes)}\n\n{TOOLTIP}")
            font = item.font()
            font.setBold(bold)
            item.setFont(font)
            self.setItem(row, column, item)


def slices(planes: Sequence[PlaneState]) -> str:
    """List annotated slices as the viewer's sliders count them; numbers that never differ are left out."""
    if not planes:
        return "none yet"
    if planes[0].index == ():
        return "painted ✓" if planes[0].complete else "painted"
    differing = [len(set(column)) > 1 for column in zip(*(plane.index for plane in planes), strict=True)]
    kept = [i for i, differs in enumerate(differing) if differs] or [len(differing) - 1]
    return ", ".join("/".join(str(plane.index[i]) for i in kept) + " ✓" * plane.complete for plane in planes)
