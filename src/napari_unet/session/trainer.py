"""One training thread at most: what it is told, and where it stands."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from napari_unet.core.examples import Dataset
from napari_unet.core.learner import Learner
from napari_unet.core.modelfile import Model
from napari_unet.core.targets import ClassLabel, Example
from napari_unet.core.training import TrainResult, View, Wanted
from napari_unet.core.validation import ValidationScore
from napari_unet.session.jobs import Failure, Jobs
from napari_unet.session.learning import (
    Look,
    Ready,
    Shown,
    Start,
    Wish,
    describe,
    frozen,
    predict_look,
    relabelled,
    training,
)
from napari_unet.session.settings import Settings
from napari_unet.session.state import Phase
from napari_unet.session.views import Piece


class Trainer:
    """Start a training, tell it what is wanted now, and keep what comes of it."""

    def __init__(self, jobs: Jobs, ended: Callable[[], object]) -> None:
        self._jobs, self._ended = jobs, ended
        self.phase: Phase = "idle"
        self.model: Model | None = None
        self.steps = 0
        self.scores: list[tuple[int, ValidationScore]] = []
        self._learner: Learner | None = None
        self._steps_before = 0
        self._wish = Wish(Wanted())
        self._is_held = False
        self._asking: list[Callable[[Model], object]] = []
        self._is_predicting = False
        self.message = ""
        self.is_ending = False
        self.method: str | None = None

    @property
    def is_running(self) -> bool:
        """Whether the training thread is at work, be it paused or about to stop."""
        return self.phase in ("training", "paused", "stopping")

    @property
    def description(self) -> str:
        """The model in a line."""
        return "" if self.model is None else describe(self.model, self.steps)

    def begin(self, dataset: Dataset, settings: Settings) -> None:
        """Train on a dataset, from where the last training stood."""
        self.relabel(dataset.classes)
        self._wish = replace(self._wish, wanted=Wanted(dataset.examples, self._wish.wanted.view))
        self._steps_before, self.phase, self.method = self.steps, "training", dataset.normalisation
        job = training(
            Start(dataset, settings, self.model, self._learner), lambda: self._wish, self._jobs.threads
        )
        self._jobs.start(job, self._show, self._finish, self._fail)

    def use(self, model: Model | None) -> None:
        """Go on from another model, or from none at all."""
        self.model, self._learner, self.steps, self.scores, self.phase = model, None, 0, [], "idle"
        self.method = model.normalisation if model else None

    def relabel(self, labels: Sequence[ClassLabel]) -> None:
        """Take over the names and outputs of classes."""
        if self.model is not None:
            self.model = relabelled(self.model, tuple(labels))

    def learn_from(self, examples: tuple[Example, ...]) -> None:
        """Train on these from the next step on."""
        self._tell(examples=examples)

    def look(self, piece: Piece | None) -> None:
        """Predict this first."""
        look = None if piece is None else Look(View(piece.image), piece.plane)
        wanted = replace(self._wish.wanted, view=None if look is None else look.view)
        self._wish = Wish(wanted, look)
        self._predict()

    def rest(self) -> None:
        """Predict what is looked at no more, for a while."""
        self._tell(view=None)

    def wake(self) -> None:
        """Predict it again, when the core finds the time."""
        if self._wish.look is not None:
            self._tell(view=self._wish.look.view)

    def _predict(self) -> None:
        """Predict what is looked at where no training does it."""
        look = self._wish.look
        if self.is_running or self._is_predicting or look is None or self.model is None:
            return

        def show(shown: Shown) -> None:
            self._is_predicting = False
            self._jobs.listener.updated(shown)
            if not self.is_looking_at(look):
                self._predict()

        def fail(failure: Failure) -> None:
            self._is_predicting = False
            self._jobs.listener.failed(failure)

        self._is_predicting = True
        self._jobs.start(predict_look(self.model, look, self._jobs.threads), lambda _: None, show, fail)

    def is_looking_at(self, look: Look | None) -> bool:
        """Tell whether a prediction belongs to what is looked at now."""
        return look is self._wish.look

    def pause(self) -> None:
        """Take no more steps until resumed; what is looked at is still predicted."""
        if self.phase == "training":
            self.phase = "paused"
            self._tell(pause=True)

    def resume(self) -> None:
        """Go on."""
        if self.phase == "paused":
            self.phase = "training"
            self._tell(pause=self._is_held)

    def hold(self, on: bool) -> None:
        """Leave the computer to a segmentation; what the user has paused stays so afterwards."""
        self._is_held = on
        self._tell(pause=on or self.phase == "paused")

    def stop(self) -> None:
        """End the training; its weights and its optimiser are kept."""
        if self.is_running:
            self.phase = "stopping"
            self._tell(stop=True)

    def ask(self, answer: Callable[[Model], object]) -> None:
        """Call back with the model as it is now, a copy that nobody trains."""
        if self.is_running:
            self._asking.append(answer)
            self._tell(snapshot=object())
        elif self.model is not None:
            answer(frozen(self.model))

    def _tell(self, **changes: Any) -> None:
        self._wish = replace(self._wish, wanted=replace(self._wish.wanted, **changes))

    def _show(self, news: Ready | Shown) -> None:
        if isinstance(news, Ready):
            if news.model is not self.model:
                self._learner, self.scores = None, []
            self.model = news.model
            if news.words:
                self._jobs.listener.said(news.words)
            return
        update = news.update
        assert update is not None
        self.steps = self._steps_before + update.step
        self.message, self.is_ending = update.message or self.message, update.progress is not None
        if update.score is not None:
            self.scores.append((self.steps, update.score))
        if update.model is not None:
            self._answer(update.model)
        self._jobs.listener.updated(replace(news, update=replace(update, step=self.steps)))

    def _finish(self, result: TrainResult) -> None:
        self.model, self._learner = result.model, result.learner
        self.steps = self._steps_before + result.steps
        self._end("idle" if self._wish.wanted.stop else "settled")

    def _fail(self, failure: Failure) -> None:
        self._learner = None  # who knows in what state the failure left it
        self._end("idle")
        self._jobs.listener.failed(failure)

    def _end(self, phase: Phase) -> None:
        self.phase = phase
        self._tell(stop=False, pause=False)
        if self.model is not None and self._asking:
            self._answer(frozen(self.model))
        self._ended()

    def _answer(self, model: Model) -> None:
        asking, self._asking = self._asking, []
        for answer in asking:
            answer(model)
