"""Training: begin, pause, stop, begin anew; words and curves that tell how it goes."""

from typing import TYPE_CHECKING

from qtpy.QtWidgets import QWidget

from napari_unet.session.state import Phase, SessionState
from napari_unet.widgets.asking import agrees
from napari_unet.widgets.button import Button
from napari_unet.widgets.curves import Curves
from napari_unet.widgets.layouts import column, heading, row, sentence

if TYPE_CHECKING:
    from napari_unet.core.training import TrainUpdate
    from napari_unet.session.session import Session

TRAIN = "Teach the network what you have painted. Keep painting meanwhile: new strokes are used at once.  [U]"
PAUSE = "Let the computer rest, or go on training; everything is kept.  [U]"
STOP = "End the training. The model is kept, and Train goes on from there."
NEW = "Forget what the network has learnt and begin with an untrained one. What you painted stays."
FORGET = "What the present model has learnt is lost. Your annotation stays. Begin with a new model?"


class TrainingPart(QWidget):
    """Four buttons, a line of words, and the curves."""

    def __init__(self, session: "Session") -> None:
        super().__init__()
        self._session = session
        self._phase: Phase = "idle"
        self._has_model = False
        self._train = Button("Train", "train", TRAIN, session.train, first=True)
        self._pause = Button("Pause", "pause", PAUSE, self._on_pause)
        self._stop = Button("Stop", "stop", STOP, session.stop)
        self._new = Button("New model", "new_model", NEW, self._on_new)
        self._words = sentence("verdict")
        self._curves = Curves()
        buttons = row(self._train, self._pause, self._stop, self._new, stretch=(3, 2, 2, 3))
        column(self, heading("Train"), buttons, self._words, self._curves)

    def show_state(self, state: SessionState) -> None:
        """Follow the session."""
        if self._has_model and not state.has_model:
            self._curves.start_over()
        self._phase, self._has_model = state.phase, state.has_model
        under_way = state.phase in ("preparing", "training", "paused")
        self._train.allow(_cannot_train(state))
        self._pause.setText("Resume" if state.phase == "paused" else "Pause")
        self._pause.allow("" if state.phase in ("training", "paused") else "nothing is being trained")
        self._stop.allow("" if under_way else "nothing is being trained")
        self._new.allow(_cannot_renew(state))
        self._words.setText(training_words(state))
        self._words.setToolTip(state.scored_on)
        self._curves.explain(state.scored_on)

    def show_update(self, update: "TrainUpdate") -> None:
        """Go on with the curves."""
        self._curves.add(update.step, update.loss, update.score.mean_dice if update.score else None)

    def _on_pause(self) -> None:
        self._session.resume() if self._phase == "paused" else self._session.pause()

    def _on_new(self) -> None:
        if not self._has_model or agrees(self, "New model", FORGET):
            self._session.new_model()


def training_words(state: SessionState) -> str:
    """Say how it goes or, where nothing goes, what is missing."""
    if state.phase == "idle" and state.can_train:
        return f"To train: {state.can_train}."
    return f"training: {state.verdict}" if state.phase == "training" and state.verdict else state.verdict


def _cannot_train(state: SessionState) -> str:
    if state.phase in ("preparing", "training"):
        return "it is training already"
    if state.phase == "paused":
        return "it is paused, press Resume"
    return "it is stopping" if state.phase == "stopping" else state.can_train


def _cannot_renew(state: SessionState) -> str:
    if not state.has_model:
        return "there is no model yet, Train makes one"
    return "" if state.phase in ("idle", "settled") else "stop the training first"
