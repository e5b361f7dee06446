"""How objects are found in what a network says, learnt from the objects that are annotated."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from napari_unet.core.objects import ObjectRules, object_scores
from napari_unet.core.supply import Supply
from napari_unet.core.targets import Target
from napari_unet.core.thresholds import (
    CHANCE,
    LEARNT_CHANCE,
    Annotated,
    count_annotated,
    fit_counted,
    sized,
)
from napari_unet.core.validation import Predict

ENOUGH_OBJECTS = 30
"""Fewer held-out objects do not tell one rule from another."""
MOST_SECONDS = 5.0

FittedTo = Literal["held-out", "all", "none"]


@dataclass(frozen=True)
class Fitted:
    """Rules, and the annotated objects that tell foreground and core; none where nothing could be judged."""

    rules: ObjectRules
    to: FittedTo


class Fitter:
    """Fit rules to the objects that are held out, or to all where these are few, again and again.

    Annotations are counted once: those of targets that stay the same objects are known.
    """

    def __init__(self) -> None:
        self._counted: dict[int, tuple[Target, Annotated | None]] = {}  # by the target's id

    def fit(
        self,
        supply: Supply,
        predict: Predict,
        before: ObjectRules | None = None,
        seconds: float = MOST_SECONDS,
    ) -> Fitted:
        """Fit foreground and core to what is held out of the supply, and sizes to all that is annotated.

        Parameters
        ----------
        supply : Supply
            What is annotated, and what of it is held out.
        predict : callable
            From an image (C, *spatial) to probabilities (3, *spatial).
        before : ObjectRules, optional
            Their foreground and core are kept where nothing can be judged.
        seconds : float
            About how long the search may take; at most five are of use.
        """
        self._count([*supply.validation, *supply.targets])
        known = sized([annotated for _, annotated in self._annotated(supply.targets)], before)
        held = self._annotated(supply.validation)
        is_enough = sum(len(annotated.sizes) for _, annotated in held) >= ENOUGH_OBJECTS
        # what is scored on is what is trained on where nothing is held out
        to: FittedTo = "held-out" if is_enough and supply.validation != supply.targets else "all"
        chosen = held if is_enough else self._annotated(supply.targets)
        fields = [(object_scores(predict(target.image)), annotated) for target, annotated in chosen]
        chance = CHANCE if to == "held-out" else LEARNT_CHANCE
        rules = fit_counted(fields, known, min(seconds, MOST_SECONDS), chance)
        return Fitted(rules, to) if rules else Fitted(known, "none")

    def _count(self, targets: Iterable[Target]) -> None:
        known, now = self._counted, {id(target): target for target in targets}
        self._counted = {key: known.get(key) or (target, _count(target)) for key, target in now.items()}

    def _annotated(self, targets: Iterable[Target]) -> list[tuple[Target, Annotated]]:
        """List the targets in which objects are annotated."""
        counted = (self._counted[id(target)] for target in targets)
        return [(target, annotated) for target, annotated in counted if annotated]


def _count(target: Target) -> Annotated | None:
    return None if target.objects is None else count_annotated(target.objects)
