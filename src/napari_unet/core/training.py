"""Training as a generator: it yields what happened, and looks up what is wanted at every step."""

from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from math import isfinite
from time import perf_counter, sleep

import numpy as np
import torch
from numpy.typing import NDArray

from napari_unet.core.devices import choose_precision, repeatable, unless_memory_is_short
from napari_unet.core.fitting import MOST_SECONDS, Fitted, Fitter
from napari_unet.core.inference import Predictor, predict_region
from napari_unet.core.learner import Learner, Snapshot
from napari_unet.core.losses import LOSSES
from napari_unet.core.modelfile import JSON, Model
from napari_unet.core.networks import Network
from napari_unet.core.schedule import Schedule
from napari_unet.core.supply import LEARNING_RATES, Supply, TrainConfig
from napari_unet.core.targets import Example
from napari_unet.core.validation import ValidationScore, score
from napari_unet.core.wishes import TrainResult, TrainUpdate, View, Wanted

__all__ = ["TrainConfig", "TrainResult", "TrainUpdate", "Training", "View", "Wanted", "train"]

UPDATE_SECONDS = 0.25
PAUSE_SECONDS = 0.02
VALIDATION_SHARE = 0.05
"""Share of the time that scoring may take."""
PREVIEW_SHARE = 0.2
"""Share of the time that previews of an unchanged view may take."""
FIRST_STEPS, FIRST_SECONDS = 5, 1.0
"""Training of a network, in steps or in time, before which it has nothing to show."""
N_SCORES = 20
"""How often a training of so many steps is scored."""
MOST_HALVINGS = 10

Training = Generator[TrainUpdate, None, TrainResult]


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
        yield from run.validate()
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
        torch.manual_seed(config.seed + self._steps_before)  # dropout draws from torch's own generator
        self._schedule = Schedule(60 * config.minutes if config.minutes else config.steps)
        self._supply = Supply(model, config, self._learner.holdout)
        self._examples: tuple[Example, ...] | None = None
        self._learning_rate = config.learning_rate or LEARNING_RATES[network.config.norm]
        self._steps, self._seconds, self._halvings = 0, 0.0, 0
        self._losses: list[float] = []
        self._reported_at, self._next_score, self._next_preview = 0.0, 0.0, 0.0
        self._previewed: View | None = None
        self._knows_something = bool(self._steps_before or model.training)
        self._scored_step = 0
        self._best: tuple[ValidationScore, Snapshot] | None = None
        self._snapshot: object | None = None
        self._fitter, self._next_fit = Fitter(), 0.0
        self._rules, self._fitted_to = model.objects, model.training.get("objects_fitted_to", "none")
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
            self._schedule.restart(self._seconds)
            yield self._update(message=self._supply.follow(self._examples, self._steps_before + self._steps))

    def step(self) -> Iterator[TrainUpdate]:
        """Take one optimiser step; survive a loss that is not finite and memory that runs out."""
        loss = unless_memory_is_short(self._learn)
        if loss is None:
            yield self._update(message=self._supply.shrink())
            return
        if isfinite(loss):
            self._losses.append(loss)
            return
        yield self._update(message=self._go_back("the loss is"))

    def _go_back(self, what: str) -> str:
        """Return to the last good weights, and learn half as fast from there."""
        self._learner.go_back()
        self._learning_rate, self._halvings = self._learning_rate / 2, self._halvings + 1
        on = (
            f"learning rate {self._learning_rate:.2g}" if self._halvings <= MOST_HALVINGS else "training ends"
        )
        return f"{what} not finite: back to the last good weights, {on}"

    def _learn(self) -> float:
        with self._working():
            batch = self._supply.draw(self._learner.steps if self._is_watched else None)
            rate = self._learning_rate * self._schedule.rate(self._now, self._steps)
            loss = self._learner.learn(batch, rate)
        self._steps += 1
        return loss

    @contextmanager
    def _working(self) -> Iterator[None]:
        """Count the time of this block; what others do between updates neither counts nor is affected."""
        start = perf_counter()
        try:
            with repeatable(self._config.steps is not None):
                yield
        finally:
            self._seconds += perf_counter() - start

    def validate(self) -> Iterator[TrainUpdate]:
        """Score the averaged weights when it is time."""
        if self._now < self._next_score or not self._losses:
            return
        if self._is_watched and self._previewed is None:
            return  # the first preview is waited for
        start = self._seconds
        update = self._measure_score()
        self._schedule.record(self._seconds, None if update.score is None else update.score.mean_dice)
        self._next_score = self._now + self._score_pause(self._seconds - start)
        yield update
        if self._is_watched and self._seconds >= self._next_fit:
            start = self._seconds
            yield from self._fit_rules(VALIDATION_SHARE * start)
            self._next_fit = self._seconds + (self._seconds - start) / VALIDATION_SHARE

    def preview(self) -> Iterator[TrainUpdate]:
        """Predict the view: at once when it is new and there is something to show, else when it is time."""
        view = self.wish.view
        if view is None or not self._has_something_to_show:
            return
        if view is self._previewed and self._seconds < self._next_preview:
            return
        start = self._seconds
        preview = unless_memory_is_short(partial(self._predict_view, view))
        self._previewed = view
        self._next_preview = self._seconds + (self._seconds - start) / PREVIEW_SHARE
        if preview is None:
            self._next_preview += UPDATE_SECONDS  # it may have failed at once: no flood of messages
            yield self._update("memory is short: the view is not predicted now")
        else:
            yield replace(self._update(), view=view, preview=preview, objects=self._rules)

    def _predict_view(self, view: View) -> NDArray[np.float32]:
        with self._working():
            return predict_region(Predictor(self._learner.average), view.image)

    def hand_over(self) -> Iterator[TrainUpdate]:
        """Give a copy of the model to whoever asks for it."""
        token = self.wish.snapshot
        if token is not None and token is not self._snapshot:
            self._snapshot = token
            yield from self._fit_rules()
            yield replace(self._update(), model=self._described(self._learner.copy()))

    def wait(self) -> Iterator[TrainUpdate]:
        """Rest a moment; say now and then that it is there."""
        sleep(PAUSE_SECONDS)
        if perf_counter() - self._waited_since >= UPDATE_SECONDS:
            self._waited_since = perf_counter()
            yield self._update()

    def report(self) -> Iterator[TrainUpdate]:
        """Say how it goes, a few times a second."""
        if self._seconds - self._reported_at >= UPDATE_SECONDS:
            yield self._update()

    def result(self) -> Training:
        """Take the best weights, or the last good ones where none are scored; say how they came about."""
        if self._steps > self._scored_step:
            self._measure_score()
        score = None
        if self._best is not None:
            score, weights = self._best
            self._learner.restore(weights)
        elif self._steps:
            self._learner.go_back()
        yield from self._fit_rules()
        return TrainResult(
            self._described(self._model.network), score, self._steps, self._seconds, self._learner
        )

    def _fit_rules(self, seconds: float = MOST_SECONDS) -> Iterator[TrainUpdate]:
        """Find out how objects are found in what the average says, if it has learnt something."""
        if self._model.task != "objects" or not self._steps:
            return
        fitted = unless_memory_is_short(partial(self._fit, seconds))
        if fitted is None:
            yield self._update("memory is short: how objects are found is not fitted now")
            return
        if fitted.to != "none" or self._rules is None:
            self._fitted_to = fitted.to
        self._rules = fitted.rules

    def _fit(self, seconds: float) -> Fitted:
        with self._working():
            predict = partial(predict_region, Predictor(self._learner.average))
            return self._fitter.fit(self._supply, predict, self._rules, seconds)

    def _described(self, network: Network) -> Model:
        """Return the model with this network, and how it came about."""
        # no seconds: equal runs of so many steps are to give equal bytes
        settings = ("loss", "seed", "validation", "w0", "sigma")
        how: dict[str, JSON] = {name: getattr(self._config, name) for name in settings}
        how |= {"steps": self._steps_before + self._steps, "n_examples": len(self._examples or ())}
        if self._model.task == "objects":
            how["objects_fitted_to"] = self._fitted_to
        training = {**self._model.training, **how}
        return replace(self._model, network=network, training=training, objects=self._rules)

    @property
    def _is_watched(self) -> bool:
        """Whether somebody looks on; given steps are taken alike with or without them."""
        return self.wish.view is not None and self._config.steps is None

    @property
    def _has_something_to_show(self) -> bool:
        is_early = self._steps < FIRST_STEPS and self._seconds < FIRST_SECONDS
        return self._knows_something or not is_early

    @property
    def _now(self) -> float:
        """Steps where their number is given, so that equal runs end equal; else seconds of training."""
        return self._steps if self._config.steps else self._seconds

    def _update(self, message: str = "") -> TrainUpdate:
        """Sum up the steps since the last update."""
        passed = self._seconds - self._reported_at
        losses, self._losses, self._reported_at = self._losses, [], self._seconds
        return TrainUpdate(
            step=self._steps,
            seconds=self._seconds,
            progress=self._schedule.progress(self._now),
            loss=sum(losses) / len(losses) if losses else float("nan"),
            steps_per_second=len(losses) / passed if passed else 0.0,
            message=message,
        )

    def _measure_score(self) -> TrainUpdate:
        """Score the averaged weights and keep the wanted ones; weights that are not finite have no score."""
        self._scored_step = self._steps
        good = self._learner.remember()
        if good is None:
            return self._update(self._go_back("the weights are"))
        found = unless_memory_is_short(self._score)
        if found is None:
            return self._update("memory is short: the network is not scored now")
        latest = self._config.keep == "latest"
        if latest or self._best is None or found.mean_dice >= self._best[0].mean_dice:
            self._best = (found, good)
        return replace(self._update(), score=found)

    def _score(self) -> ValidationScore:
        with self._working():
            predict = partial(predict_region, Predictor(self._learner.average))
            return score(self._supply.validation, predict, len(self._model.classes))

    def _score_pause(self, cost: float) -> float:
        """Return the steps, or seconds, until the next score."""
        if self._config.steps:
            return max(1, self._config.steps // N_SCORES)
        return max(1.0, cost / VALIDATION_SHARE)
