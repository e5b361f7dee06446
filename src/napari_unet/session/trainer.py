"""One training thread at most: what it is told, and where it stands."""

from collections.abc import Callable, Generator, Sequence
from dataclasses import replace
from typing import Any, TypeVar

from napari_unet.core.examples import Dataset
from napari_unet.core.learner import Learner
from napari_unet.core.modelfile import Model
from napari_unet.core.scoring import ValidationScore
from napari_unet.core.targets import ClassLabel, Example
from napari_unet.core.training import TrainResult, View, Wanted
from napari_unet.core.validation import HoldoutSummary
from napari_unet.session.jobs import Failure, Jobs
from napari_unet.session.learning import (
    Beginning,
    Directions,
    Look,
    Ready,
    Shown,
    copied,
    describe,
    frozen,
    predict_look,
    relabelled,
    training,
)
from napari_unet.session.settings import Settings
from napari_unet.session.state import Phase
from napari_unet.session.views import Piece

V = TypeVar("V")


class Trainer:
    """Start a training, tell it what is wanted now, and keep what comes of it."""

    def __init__(self, jobs: Jobs, begun: Callable[[], object], ended: Callable[[], object]) -> None:
        self._jobs, self._begun, self._ended = jobs, begun, ended
        self.phase: Phase = "idle"
        self.model: Model | None = None
        self.steps = 0
        self.scores: list[tuple[int, ValidationScore]] = []
        self._learner: Learner | None = None
        self._steps_before = 0
        self._directions = Directions(Wanted())
        self.is_held = False
        self._asking: list[Callable[[Model], object]] = []
        self._is_predicting = False
        self._n_lent = 0
        self._waiting: Callable[[], object] | None = None
        self.holdout: HoldoutSummary | None = None
        self.is_ending = self.is_loaded = False
        self.terms: Dataset | Model | None = None
        """Classes, channels, axes and normalisation of what is trained, known before there is a model."""

    @property
    def is_running(self) -> bool:
        """Whether the training thread is at work, be it paused or about to stop."""
        return self.phase in ("training", "paused", "stopping")

    @property
    def can_predict(self) -> bool:
        """Whether there is a model that has learnt something, here or before it was loaded."""
        return self.model is not None and (self.steps > 0 or self.is_loaded)

    @property
    def description(self) -> str:
        """The model in a line."""
        if self.model is None:
            return ""
        trained = f"{self.steps} steps" if self.steps else "from a file" if self.is_loaded else "untrained"
        return f"{describe(self.model)}, {trained}"

    @property
    def method(self) -> str | None:
        """How intensities are brought to a common scale."""
        return self.terms.normalisation if self.terms else None

    def begin(self, dataset: Dataset, settings: Settings, piece: Piece | None) -> None:
        """Train on a dataset, from where the last training stood, and predict a piece as soon as possible."""
        self.relabel(dataset.classes, dataset.classes)  # what is the same class is written as the desk says
        look = _look(piece)
        view = None if look is None else look.view
        self._directions = Directions(Wanted(dataset.examples, view, pause=self.is_held), look)
        self._steps_before, self.phase, self.terms = self.steps, "training", replace(dataset, examples=())
        self._waiting = lambda: self._train(dataset, settings)
        self._go_ahead()

    def _train(self, dataset: Dataset, settings: Settings) -> None:
        assert self.terms is not None  # its classes may have been renamed while this waited
        dataset = replace(dataset, classes=self.terms.classes)
        beginning = Beginning(dataset, settings, self.model, self._learner)
        job = training(beginning, lambda: self._directions, self._jobs.threads)
        self._jobs.run(job, self._finish, self._show, self._fail)

    def _lend(
        self, job: Generator[Any, None, V], done: Callable[[V], object], failed: Callable[[Failure], object]
    ) -> None:
        """Run a job that reads the network; a training that would change it meanwhile waits."""
        self._n_lent += 1
        self._jobs.run(job, self._returned(done), failed=self._returned(failed))

    def _returned(self, then: Callable[[V], object]) -> Callable[[V], None]:
        def take(news: V) -> None:
            self._n_lent -= 1
            try:
                then(news)
            finally:
                self._go_ahead()

        return take

    def _go_ahead(self) -> None:
        """Start the training that waits, if nobody reads the network."""
        if self._waiting and not self._n_lent:
            train, self._waiting = self._waiting, None
            train()

    def use(self, model: Model | None) -> None:
        """Go on from another model, or from none at all."""
        self.model, self._learner, self.steps, self.scores, self.phase = model, None, 0, [], "idle"
        self.holdout = None
        self.terms, self._directions, self.is_loaded = model, Directions(Wanted()), model is not None

    def fits(self, dataset: Dataset) -> bool:
        """Tell whether the network that is trained can go on with a dataset as it is."""
        return self.terms is not None and _kind(self.terms) == _kind(dataset)

    def knows(self, examples: tuple[Example, ...]) -> bool:
        """Tell whether these are what it was told to train on last."""
        return examples == self._directions.wanted.examples

    def relabel(self, before: Sequence[ClassLabel], now: Sequence[ClassLabel]) -> None:
        """Take over the names and outputs that classes have now; those that were others before stay so."""
        if self.model is not None:
            self.model = replace(self.model, classes=relabelled(self.model.classes, before, now))
        if self.terms is not None:
            self.terms = replace(self.terms, classes=relabelled(self.terms.classes, before, now))

    def learn_from(self, examples: tuple[Example, ...]) -> None:
        """Train on these from the next step on."""
        self._tell(examples=examples)

    def look(self, piece: Piece | None) -> None:
        """Predict this first."""
        look = _look(piece)
        wanted = replace(self._directions.wanted, view=None if look is None else look.view)
        self._directions = Directions(wanted, look)
        self._predict()

    def rest(self) -> None:
        """Predict what is looked at no more, for a while."""
        self._tell(view=None)

    def wake(self) -> None:
        """Predict it again, when the core finds the time."""
        if self._directions.look is not None:
            self._tell(view=self._directions.look.view)

    def _predict(self) -> None:
        """Predict what is looked at where no training does it."""
        look = self._directions.look
        if self.is_running or self._is_predicting or look is None or not self.can_predict:
            return
        assert self.model is not None

        def show(shown: Shown) -> None:
            self._is_predicting = False
            if self.is_looking_at(look):
                self._jobs.listener.updated(shown)
            else:
                self._predict()

        def fail(failure: Failure) -> None:
            self._is_predicting = False
            self._jobs.listener.failed(failure)

        self._is_predicting = True
        self._lend(predict_look(self.model, look, self._jobs.threads), show, fail)

    def is_looking_at(self, look: Look | None) -> bool:
        """Tell whether a prediction belongs to what is looked at now."""
        return look is self._directions.look

    def pause(self) -> None:
        """Take no more steps until resumed; what is looked at is still predicted."""
        if self.phase == "training":
            self.phase = "paused"
            self._tell(pause=True)

    def resume(self) -> None:
        """Go on."""
        if self.phase == "paused":
            self.phase = "training"
            self._tell(pause=self.is_held)

    def hold(self, on: bool) -> None:
        """Leave the computer to a segmentation; what the user has paused stays so afterwards."""
        self.is_held = on
        self._tell(pause=on or self.phase == "paused")

    def stop(self) -> None:
        """End the training; its weights and its optimiser are kept."""
        if self.is_running:
            self.phase = "stopping"
            self._tell(stop=True)

    def ask(self, answer: Callable[[Model], object], *, at_once: bool = False) -> None:
        """Call back with the model as it is now, a copy that nobody trains."""
        if self.is_running:
            self._asking.append(answer)
            self._tell(snapshot=object())
        elif self.model is not None and at_once:
            answer(frozen(self.model))
        elif self.model is not None:
            self._copy_for([answer])

    def _copy_for(self, asking: Sequence[Callable[[Model], object]]) -> None:
        """Copy the model where nothing trains it."""
        assert self.model is not None

        def answer(model: Model) -> None:
            for each in asking:
                each(model)

        self._lend(copied(self.model), answer, self._jobs.listener.failed)

    def _tell(self, **changes: Any) -> None:
        self._directions = replace(self._directions, wanted=replace(self._directions.wanted, **changes))

    def _show(self, news: Ready | Shown) -> None:
        if isinstance(news, Ready):
            self._take(news)
            return
        update = news.update
        assert update is not None
        self.steps = self._steps_before + update.step
        self.holdout, self.is_ending = update.holdout or self.holdout, update.progress is not None
        if update.score is not None:
            self.scores.append((self.steps, update.score))
        if update.model is not None:
            self._answer(self._named(update.model))
        self._jobs.listener.updated(replace(news, update=replace(update, step=self.steps)))

    def _take(self, ready: Ready) -> None:
        if self.model is None or ready.model.network is not self.model.network:
            assert self.terms is not None  # its classes may have been renamed meanwhile
            model = replace(ready.model, classes=self.terms.classes)
            self.model, self._learner, self.scores = model, None, []
        if ready.words:
            self._jobs.listener.said(ready.words)
        self._begun()

    def _named(self, model: Model) -> Model:
        """Give a model that the training hands over the names that its classes have now."""
        return model if self.model is None else replace(model, classes=self.model.classes)

    def _finish(self, result: TrainResult) -> None:
        self.model, self._learner = self._named(result.model), result.learner
        self.steps = self._steps_before + result.steps
        self._end("idle" if self._directions.wanted.stop else "settled")

    def _fail(self, failure: Failure) -> None:
        self._learner = None  # who knows in what state the failure left it
        self.terms = self.model
        self._end("idle")
        self._jobs.listener.failed(failure)

    def _end(self, phase: Phase) -> None:
        self.phase = phase
        self._tell(stop=False, pause=False)
        asking, self._asking = self._asking, []
        if self.model is not None and asking:
            self._copy_for(asking)
        self._ended()

    def _answer(self, model: Model) -> None:
        asking, self._asking = self._asking, []
        for answer in asking:
            answer(model)


def _look(piece: Piece | None) -> Look | None:
    return None if piece is None else Look(View(piece.image), piece.plane)


def _kind(terms: Dataset | Model) -> tuple[object, ...]:
    return {(label.annotation_value, label.name) for label in terms.classes}, len(terms.channels), terms.axes
