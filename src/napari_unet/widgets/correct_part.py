"""Correcting: the prediction becomes annotation; what is shown over the image."""

from typing import TYPE_CHECKING

from qtpy.QtWidgets import QWidget

from napari_unet.session.state import SessionState
from napari_unet.widgets.button import Button
from napari_unet.widgets.layouts import column, heading, row

if TYPE_CHECKING:
    from napari_unet.session.session import Session

TAKE = (
    "Copy the predicted mask of this slice into the annotation, so that you need only mend its mistakes "
    "with the brush. Your own strokes stay. Where a box is drawn, only what lies inside is copied."
)
BOX = "Draw a box with the mouse first, to take the prediction only there."
SEE = "Hide the predicted mask to see the image beneath, or show it again."
WEIGHTS = (
    "Show how much each pixel of this slice counts in training. Narrow gaps between objects are bright: "
    "there the network learns to keep them apart."
)


class CorrectPart(QWidget):
    """Take the prediction as annotation; look at the weight map."""

    def __init__(self, session: "Session") -> None:
        super().__init__()
        self._take = Button(
            "Take prediction as annotation  [G]", "take_prediction", TAKE, session.take_prediction
        )
        self._box = Button("Box", "draw_box", BOX, session.draw_box)
        self._prediction = Button("Prediction  [H]", "prediction", SEE, session.toggle_prediction)
        self._weights = Button("Weight map  [W]", "weight_map", WEIGHTS, self._on_weights, checkable=True)
        self._session = session
        column(
            self,
            heading("Correct"),
            row(self._take, self._box, stretch=(1, 0)),
            row(self._prediction, self._weights, stretch=(1, 1)),
        )

    def show_state(self, state: SessionState) -> None:
        """Follow the session."""
        self._take.allow(_cannot_take(state))
        self._box.allow(_cannot_take(state))
        self._prediction.allow("" if state.has_model else "there is no prediction yet")
        self._weights.setChecked(state.weight_map)
        self._weights.allow("" if state.task == "objects" else "weight maps belong to the task Objects")

    def _on_weights(self) -> None:
        self._session.show_weight_map(self._weights.isChecked())


def _cannot_take(state: SessionState) -> str:
    if not state.has_model:
        return "there is no prediction before a model is trained or loaded"
    return "" if state.plane is not None else "go to a slice of the image, in 2D view"
