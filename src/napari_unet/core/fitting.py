"""Thresholds with which objects are found in a prediction, fitted to the objects that are annotated."""

from collections.abc import Generator, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from napari_unet.core.inference import Predictor
from napari_unet.core.objects import ObjectRules, object_scores
from napari_unet.core.predicting import predict_part
from napari_unet.core.supply import Supply
from napari_unet.core.targets import Target
from napari_unet.core.thresholds import (
    CHANCE,
    LEARNT_CHANCE,
    MAX_FIT_PIXELS,
    N_TRIALS,
    TRIED_PER_SECOND,
    Annotated,
    choose_windows,
    count_annotated,
    fit_windows,
    sized,
)

ENOUGH_OBJECTS = 30
"""Fewer held-out objects do not tell one threshold from another."""

FittedTo = Literal["held-out", "all", "none"]


@dataclass(frozen=True)
class Fitted:
    """Thresholds, and the annotated objects that foreground and core were fitted to."""

    rules: ObjectRules
    to: FittedTo


class Fitter:
    """Fit thresholds to the objects that are held out, or to all where these are few, again and again.

    Annotations are counted once: those of targets that stay the same objects are known.
    """

    def __init__(self) -> None:
        self._counted: dict[int, tuple[Target, Annotated | None]] = {}  # by the target's id

    def sizes(self, supply: Supply, before: ObjectRules | None = None) -> ObjectRules:
        """Return thresholds with the sizes of what is annotated; nothing is predicted."""
        self._count([*supply.validation, *supply.targets], supply.spacing)
        return sized([annotated for _, annotated in self._annotated(supply.targets)], before)

    def fit(
        self,
        supply: Supply,
        predictor: Predictor,
        before: ObjectRules | None = None,
        n_pixels: int = MAX_FIT_PIXELS,
    ) -> Generator[None, None, Fitted]:
        """Fit foreground and core to what is held out of the supply, and sizes to all that is annotated.

        Parameters
        ----------
        supply : Supply
            What is annotated, and what of it is held out.
        predictor : Predictor
        before : ObjectRules, optional
            Their foreground and core are kept where nothing can be judged.
        n_pixels : int
            Most pixels that are predicted and compared.

        Yields
        ------
        None
            Between pieces of work.
        """
        known = self.sizes(supply, before)
        held = self._annotated(supply.validation)
        is_enough = sum(len(annotated.sizes) for _, annotated in held) >= ENOUGH_OBJECTS
        # what is scored on is what is trained on where nothing is held out
        to: FittedTo = "held-out" if is_enough and supply.validation != supply.targets else "all"
        chosen = held if is_enough else self._annotated(supply.targets)
        windows = choose_windows([annotated for _, annotated in chosen], n_pixels)
        if not windows:
            return Fitted(known, "none")
        scores: list[NDArray[np.uint8]] = []
        for (target, _), window in zip(chosen, windows, strict=True):
            yield
            probabilities = yield from predict_part(predictor, target.image, window.region)
            scores.append(object_scores(probabilities))
        chance = CHANCE if to == "held-out" else LEARNT_CHANCE
        return Fitted((yield from fit_windows(scores, windows, known, chance)), to)

    def _count(self, targets: Iterable[Target], spacing: Sequence[float]) -> None:
        known, now = self._counted, {id(target): target for target in targets}
        self._counted = {
            key: known.get(key) or (target, _count(target, spacing)) for key, target in now.items()
        }

    def _annotated(self, targets: Iterable[Target]) -> list[tuple[Target, Annotated]]:
        """List the targets in which objects are annotated."""
        counted = (self._counted[id(target)] for target in targets)
        return [(target, annotated) for target, annotated in counted if annotated]


def _count(target: Target, spacing: Sequence[float]) -> Annotated | None:
    return None if target.objects is None else count_annotated(target.objects, spacing)


class ObjectThresholds:
    """Thresholds of a model of objects while it is trained.

    Parameters
    ----------
    rules : ObjectRules, optional
        Those of the model to start from.
    to : {"held-out", "all", "none"}
        What they were fitted to.
    """

    def __init__(self, rules: ObjectRules | None, to: FittedTo) -> None:
        self.rules, self.to = rules, to
        self._fitter = Fitter()

    def fit(
        self, supply: Supply, predictor: Predictor, n_pixels: int = MAX_FIT_PIXELS
    ) -> Generator[None, None, None]:
        """Fit them to what a network predicts; see `Fitter.fit`."""
        fitted = yield from self._fitter.fit(supply, predictor, self.rules, n_pixels)
        if fitted.to != "none" or self.rules is None:
            self.to = fitted.to
        self.rules = fitted.rules

    def known(self, supply: Supply) -> ObjectRules:
        """Return them, before the first fit with the sizes of what is annotated."""
        self.rules = self.rules or self._fitter.sizes(supply)
        return self.rules


def affordable_pixels(seconds: float, predicted_per_second: float) -> int:
    """Return the pixels of a fit that takes about so long."""
    for_one = 1 / max(predicted_per_second, 1.0) + N_TRIALS / TRIED_PER_SECOND
    return min(MAX_FIT_PIXELS, int(seconds / for_one))
