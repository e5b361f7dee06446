"""The slice that is looked at: whether it is painted, and marking it complete."""

from typing import TYPE_CHECKING

from qtpy.QtWidgets import QWidget

from napari_unet.session.images import Index
from napari_unet.session.state import SessionState
from napari_unet.widgets.button import Button
from napari_unet.widgets.images_table import ImagesTable
from napari_unet.widgets.layouts import column, row, sentence

if TYPE_CHECKING:
    from napari_unet.session.session import Session

COMPLETE = (
    "Press when everything on this slice is painted except the background: what is unpainted counts as "
    "background then. Press again to take it back."
)
AXIS_WORDS = {"T": "time", "Z": "slice"}


class PlanesPart(QWidget):
    """A line about this slice, its Complete button, and the table of all annotated slices."""

    def __init__(self, session: "Session") -> None:
        super().__init__()
        self._words = sentence("plane_words")
        self._complete = Button(
            "Complete  [K]", "complete", COMPLETE, session.toggle_complete, checkable=True
        )
        self._table = ImagesTable()
        column(self, row(self._words, self._complete, stretch=(1, 0)), self._table)

    def show_state(self, state: SessionState) -> None:
        """Follow the session."""
        self._words.setText(plane_words(state))
        self._complete.setChecked(state.plane_complete)
        self._complete.allow(_cannot_complete(state))
        self._table.show_state(state)


def plane_words(state: SessionState) -> str:
    """Say where the viewer stands, and what is annotated there."""
    if state.choice is None:
        return ""
    if state.plane is None:
        return "no single slice of the image is in view"
    here = state.choice.name
    image = next((image for image in state.images if image.name == here), None)
    painted = image is not None and any(plane.index == state.plane for plane in image.planes)
    word = "complete" if state.plane_complete else "painted" if painted else "not painted yet"
    return f"{place_words(state.choice.plane_axes, state.plane)}: {word}"


def place_words(axes: str, index: Index) -> str:
    """Name a plane by its axes; channels share their annotation.

    >>> place_words("TCZ", (1, 0, 5))
    'time 1, slice 5'
    """
    named = [f"{AXIS_WORDS[axis]} {at}" for axis, at in zip(axes, index, strict=True) if axis != "C"]
    return ", ".join(named) or "this image"


def _cannot_complete(state: SessionState) -> str:
    if not state.images:
        return "press Annotate and paint first"
    return "" if state.plane is not None else "go to a slice of the image, in 2D view"
