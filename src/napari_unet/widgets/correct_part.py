"""Correcting: the prediction becomes annotation; what is shown over the image."""

from functools import partial
from typing import TYPE_CHECKING

from qtpy.QtWidgets import QWidget

from napari_unet.session.state import SessionState, Tool
from napari_unet.widgets.button import Button
from napari_unet.widgets.layouts import column, heading, row

if TYPE_CHECKING:
    from napari_unet.session.session import Session

TAKE = (
    "Copy the predicted mask of this slice into the annotation, so that you need only mend its mistakes "
    "with the brush. Your own strokes stay. Where a box is drawn, only what lies inside is copied. "
    "Objects are accepted, those that lie whole in the box; what is between them stays unpainted."
)
BOX = "Draw a box with the mouse first, to take the prediction only there."
SEE = "Hide the predicted mask to see the image beneath, or show it again."
WEIGHTS = (
    "Show how much each pixel of this slice counts in training. Narrow gaps between objects are bright: "
    "there the network learns to keep them apart."
)
TOOLS: dict[Tool, tuple[str, str]] = {
    "accept": (
        "Accept objects  [Q]",
        "While this is on, click on a predicted object and it becomes annotation with a number of its own; "
        "Shift+click on it or on a painted one, and it becomes background. Your own strokes stay. "
        "A thin line around an object is taken for background: of two that touch, accept or paint both.",
    ),
    "split": (
        "Split  [N]",
        "While this is on, draw a line with the mouse right across an object, and it falls into two. "
        "A predicted object is accepted in two parts.",
    ),
    "merge": (
        "Merge  [J]",
        "While this is on, draw a line with the mouse over several objects, and they become one. "
        "Predicted ones are accepted by that.",
    ),
}
"""For each tool its button, and what it does."""
LEAVE = (
    "\n\nEach click or line is one step of Ctrl+Z, and changes only the slice that you see, in 3D too. "
    "Press again, or take the brush, to go on painting."
)


class CorrectPart(QWidget):
    """Take the prediction as annotation, or single objects of it; look at the weight map."""

    def __init__(self, session: "Session") -> None:
        super().__init__()
        self._take = Button(
            "Take prediction as annotation  [G]", "take_prediction", TAKE, session.take_prediction
        )
        self._box = Button("Box", "draw_box", BOX, session.draw_box)
        self._prediction = Button("Prediction  [H]", "prediction", SEE, session.toggle_prediction)
        self._weights = Button("Weight map  [W]", "weight_map", WEIGHTS, self._on_weights, checkable=True)
        self._session = session
        self._tools = {tool: self._tool_button(tool) for tool in TOOLS}
        column(
            self,
            heading("Correct"),
            row(self._take, self._box, stretch=(1, 0)),
            row(*self._tools.values(), stretch=(2, 1, 1)),
            row(self._prediction, self._weights, stretch=(1, 1)),
        )

    def show_state(self, state: SessionState) -> None:
        """Follow the session."""
        self._take.allow(_cannot_take(state))
        self._box.allow(_cannot_take(state))
        self._prediction.allow("" if state.has_model else "there is no prediction yet")
        for tool, button in self._tools.items():
            button.setChecked(state.tool == tool)
            button.allow(_cannot_point(state, tool))
        self._weights.setChecked(state.weight_map)
        self._weights.allow("" if state.task == "objects" else "weight maps belong to the task Objects")

    def _tool_button(self, tool: Tool) -> Button:
        words, tooltip = TOOLS[tool]
        pressed = partial(self._session.use_tool, tool)
        return Button(words, f"{tool}_objects", tooltip + LEAVE, pressed, checkable=True)

    def _on_weights(self) -> None:
        self._session.show_weight_map(self._weights.isChecked())


def _cannot_point(state: SessionState, tool: Tool) -> str:
    if state.task != "objects":
        return "it belongs to the task Objects"
    if tool == "accept" and not state.has_predicted:
        return "no objects are predicted yet: train, or segment this slice with a model"
    if not (state.has_predicted or state.has_painted):
        return "there are no objects yet: paint some, or train"
    return "" if state.plane is not None else "go to a slice of the image, in 2D view"


def _cannot_take(state: SessionState) -> str:
    if not state.has_model:
        return "there is no prediction before a model is trained or loaded"
    return "" if state.plane is not None else "go to a slice of the image, in 2D view"
