"""Training as a generator: it yields what happened, and looks up what is wanted at every step."""

from collections.abc import Callable, Generator, Iterator
from dataclasses import replace
from functools import partial
from math import isfinite
from time import perf_counter, sleep
from typing import Any, TypeVar

import torch

from napari_unet.core.devices import choose_precision, unless_memory_is_short
from napari_unet.core.fitting import ObjectThresholds, affordable_pixels
from napari_unet.core.inference import Predictor
from napari_unet.core.learner import Learner, Snapshot
from napari_unet.core.losses import LOSSES
from napari_unet.core.modelfile import JSON, Model
from napari_unet.core.networks import Network
from napari_unet.core.own_random import OwnRandom
from napari_unet.core.predicting import predict_part
from napari_unet.core.schedule import Schedule
from napari_unet.core.scoring import ValidationScore, score
from napari_unet.core.stopwatch import Activity, Stopwatch
from napari_unet.core.supply import LEARNING_RATES, Supply, TrainConfig
from napari_unet.core.targets import Example
from napari_unet.core.thresholds import MAX_FIT_PIXELS
from napari_unet.core.time_budget import TimeBudget
from napari_unet.core.wishes import TrainResult, TrainUpdate, View, Wanted

__all__ = ["TrainConfig", "TrainResult", "TrainUpdate", "Training", "View", "Wanted", "train"]

UPDATE_SECONDS = 0.25
PAUSE_SECONDS = 0.02
PREVIEW_SHARE = 0.12
"""Share of the time that previews of an unchanged view may take."""
EVALUATION_SHARE = 0.07
"""Share of the time that scoring and fitting thresholds may take together."""
FIT_SHARE = 0.02
"""Work of one fit of thresholds while somebody looks on, as a share of the time so far."""
SCORE_SECONDS, FIT_SECONDS = 1.0, 2.0
"""Least time between two scores, and between two fits of thresholds."""
FIRST_STEPS, FIRST_SECONDS = 5, 1.0
"""Training of a network, in steps or in time, before which it has nothing to show."""
N_SCORES = 20
"""How often a training of so many steps is scored."""
MOST_HALVINGS = 10
NOT_DONE = {
    "scores": "scoring: the network is not scored now",
    "thresholds": "fitting thresholds: objects are found as before",
}

T = TypeVar("T")
Training = Generator[TrainUpdate, None, TrainResult]
Evaluation = Generator[None, None, TrainUpdate]
"""Work that yields after each piece, and returns what it has found."""


def train(
    model: Model,
    wanted: Wanted | Callable[[], Wanted],
    config: TrainConfig | None = None,
    learner: Learner | None = None,
) -> Training:
    """Train a model on annotated examples.

    Where the number of steps is given, equal examples, configs, devices and numbers of threads give equal
    weights: bit for bit on a CPU; on a CUDA GPU as far as cuDNN allows, which is told to use only algorithms
    that repeat.

    Parameters
    ----------
    model : Model
        Where to start; its network is changed in place, on the device where it is.
    wanted : Wanted or callable that returns one
        What to train on; a callable is asked before every step.
    config : TrainConfig, optional
    learner : Learner, optional
        That of the result of an earlier training of the same network: its optimiser and average go on.

    Yields
    ------
    TrainUpdate
        A few times a second, also while paused, so that whoever waits can act.

    Returns
    -------
    TrainResult
        With the best weights, averaged over the steps.

    Raises
    ------
    ValueError
        If nothing is annotated, an annotation does not fit the model's classes, or the learner is that of
        another network.
    MemoryError
        If even a batch of one small patch does not fit into memory.
    """
    run = _Run(model, wanted if callable(wanted) else lambda: wanted, config or TrainConfig(), learner)
    while run.goes_on():
        yield from run.preview()
        yield from run.hand_over()
        if run.wish.pause:
            yield from run.wait()
            continue
        yield from run.follow_wish()
        yield from run.step()
        yield from run.evaluate()
        yield from run.report()
    return (yield from run.result())


class _Run:
    """One training: what it has, and one small method for each thing that it does in turn."""

    def __init__(
        self, model: Model, look_up: Callable[[], Wanted], config: TrainConfig, learner: Learner | None
    ) -> None:
        network = model.network
        self.wish = look_up()
        self._model, self._look_up, self._config = model, look_up, config
        self._device = next(network.parameters()).device
        if network.config.ndim == 2:
            network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self._learner = self._take(learner)
        self._steps_before = self._learner.steps
        self._random = OwnRandom(config.seed + self._steps_before, self._device)  # of dropout
        self._schedule = Schedule(60 * config.minutes if config.minutes else config.steps)
        self._supply = Supply(model, config, self._learner.holdout)
        self._examples: tuple[Example, ...] | None = None
        self._learning_rate = config.learning_rate or LEARNING_RATES[network.config.norm]
        self._steps, self._halvings = 0, 0
        self._watch = Stopwatch(repeats=config.steps is not None)
        self._losses: list[float] = []
        self._reported_at = 0.0
        self._previewed: View | None = None
        self._previews, self._pixels_per_second = TimeBudget(PREVIEW_SHARE), 0.0
        self._knows_something = bool(self._steps_before or model.training)
        self._evaluation: Evaluation | None = None
        self._evaluations = TimeBudget(EVALUATION_SHARE)
        self._evaluates: Activity = "scores"
        self._next_score, self._next_fit = 0.0, FIT_SECONDS
        self._scored_step = 0
        self._best: tuple[ValidationScore, Snapshot] | None = None
        self._snapshot: object | None = None
        to: Any = model.training.get("objects_fitted_to", "none")
        self._thresholds = ObjectThresholds(model.objects, to)
        self._waited_since = perf_counter()

    def _take(self, learner: Learner | None) -> Learner:
        """Go on with a learner, or begin with a new one."""
        network, loss = self._model.network, LOSSES[self._config.loss]
        if learner is None:
            return Learner(network, loss, choose_precision(self._device))
        if learner.network is not network:
            raise ValueError("the learner belongs to another network: go on with the one of this model")
        learner.go_on(loss, choose_precision(self._device))
        return learner

    def goes_on(self) -> bool:
        """Look up the wish; tell whether there is more to do."""
        self.wish = self._look_up()
        return (
            not self.wish.stop and not self._schedule.is_over(self._now) and self._halvings <= MOST_HALVINGS
        )

    def follow_wish(self) -> Iterator[TrainUpdate]:
        """Train on what is annotated now."""
        if self.wish.examples is not self._examples:
            self._examples = self.wish.examples
            self._best, self._scored_step = None, -1  # scores on other annotations do not compare
            self._schedule.restart(self._watch.seconds)
            work = self._supply.follow(self._examples, self._steps_before + self._steps)
            summary = yield from self._in_pieces(work, "targets")
            if summary is None:
                raise MemoryError("out of memory for the training targets: annotate smaller regions")
            yield replace(self._update(summary.how), holdout=summary)

    def step(self) -> Iterator[TrainUpdate]:
        """Take one optimiser step; survive a loss that is not finite and memory that runs out."""
        loss = unless_memory_is_short(self._learn)
        if loss is None:
            yield self._update(self._supply.shrink())
            return
        if isfinite(loss):
            self._losses.append(loss)
            return
        yield self._update(self._go_back("the loss is"))

    def _go_back(self, what: str) -> str:
        """Return to the last good weights, and learn half as fast from there."""
        self._learner.go_back()
        self._learning_rate, self._halvings = self._learning_rate / 2, self._halvings + 1
        on = (
            f"learning rate {self._learning_rate:.2g}" if self._halvings <= MOST_HALVINGS else "training ends"
        )
        return f"{what} not finite: back to the last good weights, {on}"

    def _learn(self) -> float:
        with self._watch.working("steps"):
            batch = self._supply.draw(self._learner.steps if self._is_watched else None)
            rate = self._learning_rate * self._schedule.rate(self._now, self._steps)
            with self._random.drawn():
                loss = self._learner.learn(batch, rate)
        self._steps += 1
        return loss

    def _in_pieces(
        self, work: Generator[None, None, T], activity: Activity
    ) -> Generator[TrainUpdate, None, T | None]:
        """Do work to its end, and report in between; None where memory ran out."""
        while (done := self._watch.advance(work, activity)) is None:
            yield from self.report()
        return done.result

    def preview(self) -> Iterator[TrainUpdate]:
        """Predict the view: at once when it is new and there is something to show, else when it is time."""
        view = self.wish.view
        if view is None or not self._has_something_to_show:
            return
        if view is self._previewed and not self._previews.allows(self._watch.seconds):
            return
        start = self._watch.seconds
        predictor = Predictor(self._learner.average)
        preview = yield from self._in_pieces(predict_part(predictor, view.image), "previews")
        passed = self._watch.seconds - start
        self._previewed = view
        self._previews.spend(start, max(passed, UPDATE_SECONDS * PREVIEW_SHARE))  # no flood of failures
        if preview is None:
            yield self._update("out of memory for a prediction of the view: it is tried again later")
            return
        self._pixels_per_second = preview[0].size / max(passed, 1e-6)
        yield replace(self._update(), view=view, preview=preview, objects=self._thresholds.rules)

    def hand_over(self) -> Iterator[TrainUpdate]:
        """Give a copy of the model, with the last thresholds, to whoever asks for it."""
        token = self.wish.snapshot
        if token is not None and token is not self._snapshot:
            self._snapshot = token
            with self._watch.working("snapshots"):
                model = self._described(self._learner.copy())
            yield replace(self._update(), model=model)

    def wait(self) -> Iterator[TrainUpdate]:
        """Rest a moment; say now and then that it is there."""
        sleep(PAUSE_SECONDS)
        if perf_counter() - self._waited_since >= UPDATE_SECONDS:
            self._waited_since = perf_counter()
            yield self._update()

    def report(self) -> Iterator[TrainUpdate]:
        """Say how it goes, a few times a second."""
        if self._watch.seconds - self._reported_at >= UPDATE_SECONDS:
            yield self._update()

    def evaluate(self) -> Iterator[TrainUpdate]:
        """Score the averaged weights, or fit thresholds, when it is time.

        Where time counts, a piece at a time between steps, as long as the share of the time allows; where
        steps count at once, so that equal runs end equal.
        """
        self._evaluation = self._evaluation or self._due_evaluation()
        if self._evaluation is None or (self._is_timed and not self._evaluations.allows(self._watch.seconds)):
            return
        start = self._watch.seconds
        while (done := self._watch.advance(self._evaluation, self._evaluates)) is None and not self._is_timed:
            yield from self.report()
        self._evaluations.spend(start, self._watch.seconds - start)
        if done is not None:
            self._evaluation = None
            yield done.result or self._update(f"out of memory for {NOT_DONE[self._evaluates]}")

    def _due_evaluation(self) -> Evaluation | None:
        """Begin what is most overdue."""
        if not self._steps or (self._is_watched and self._previewed is None):
            return None  # the first preview is waited for
        fits = self._model.task == "objects" and self._is_watched
        if fits and self._watch.seconds >= self._next_fit and self._next_fit <= self._next_score:
            self._evaluates = "thresholds"
            seconds = FIT_SHARE * self._watch.seconds
            return self._fitting(affordable_pixels(seconds, self._pixels_per_second))
        if self._now >= self._next_score:
            self._evaluates = "scores"
            return self._scoring()
        return None

    def _scoring(self) -> Evaluation:
        """Score the averaged weights and keep the best; weights that are not finite have no score."""
        step, examples = self._steps, self._examples
        self._next_score = self._now + (
            SCORE_SECONDS if self._is_timed else max(1, (self._config.steps or 0) // N_SCORES)
        )
        good = self._learner.remember()
        if good is None:
            self._scored_step = step
            return self._update(self._go_back("the weights are"))
        predict = partial(predict_part, Predictor(self._learner.average))
        found = yield from score(self._supply.scored, predict, len(self._model.classes))
        if examples is self._examples:  # else it does not compare
            self._scored_step = step
            latest = self._config.keep == "latest"
            if latest or self._best is None or found.mean_dice >= self._best[0].mean_dice:
                self._best = (found, good)
            self._schedule.record(self._watch.seconds, found.mean_dice)
        return replace(self._update(), score=found)

    def _fitting(self, n_pixels: int) -> Evaluation:
        """Fit how objects are found in what the average predicts."""
        self._next_fit = self._watch.seconds + FIT_SECONDS  # also where memory ends it
        yield from self._thresholds.fit(self._supply, Predictor(self._learner.average), n_pixels)
        self._next_fit = self._watch.seconds + FIT_SECONDS
        return self._update()

    def result(self) -> Training:
        """Take the best weights, or the last good ones where none are scored; say how they came about."""
        if self._steps > self._scored_step:
            yield from self._finish(self._scoring(), "scores")
        score = None
        if self._best is not None:
            score, weights = self._best
            self._learner.restore(weights)
        elif self._steps:
            self._learner.go_back()
        if self._model.task == "objects" and self._steps:
            yield from self._finish(self._fitting(MAX_FIT_PIXELS), "thresholds")
        return TrainResult(
            self._described(self._model.network), score, self._steps, self._watch.seconds, self._learner
        )

    def _finish(self, evaluation: Evaluation, activity: Activity) -> Iterator[TrainUpdate]:
        update = yield from self._in_pieces(evaluation, activity)
        yield update or self._update(f"out of memory: {activity} of the last steps are missing")

    def _described(self, network: Network) -> Model:
        """Return the model with this network, and how it came about."""
        # no seconds: equal runs of so many steps are to give equal bytes
        settings = ("loss", "seed", "validation", "w0", "sigma")
        how: dict[str, JSON] = {name: getattr(self._config, name) for name in settings}
        how |= {"steps": self._steps_before + self._steps, "n_examples": len(self._examples or ())}
        objects = self._thresholds.rules
        if self._model.task == "objects":
            how["objects_fitted_to"] = self._thresholds.to
            objects = self._thresholds.known(self._supply) if self._steps else objects
        training = {**self._model.training, **how}
        return replace(self._model, network=network, training=training, objects=objects)

    @property
    def _is_timed(self) -> bool:
        """Whether time counts, and not steps, of which equal numbers are to give equal weights."""
        return self._config.steps is None

    @property
    def _is_watched(self) -> bool:
        """Whether somebody looks on; given steps are taken alike with or without them."""
        return self.wish.view is not None and self._is_timed

    @property
    def _has_something_to_show(self) -> bool:
        is_early = self._steps < FIRST_STEPS and self._watch.seconds < FIRST_SECONDS
        return self._knows_something or not is_early

    @property
    def _now(self) -> float:
        """Steps where their number is given, so that equal runs end equal; else seconds of training."""
        return self._steps if self._config.steps else self._watch.seconds

    def _update(self, message: str = "") -> TrainUpdate:
        """Sum up the steps since the last update."""
        passed = self._watch.seconds - self._reported_at
        losses, self._losses, self._reported_at = self._losses, [], self._watch.seconds
        return TrainUpdate(
            step=self._steps,
            seconds=self._watch.seconds,
            progress=self._schedule.progress(self._now),
            loss=sum(losses) / len(losses) if losses else float("nan"),
            steps_per_second=len(losses) / passed if passed else 0.0,
            message=message,
            spent=dict(self._watch.spent),
        )
