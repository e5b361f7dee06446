"""What is wanted of a training, and what it tells."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from napari_unet.core.learner import Learner
from napari_unet.core.modelfile import Model
from napari_unet.core.objects import ObjectRules
from napari_unet.core.scoring import ValidationScore
from napari_unet.core.stopwatch import Activity
from napari_unet.core.targets import Example
from napari_unet.core.validation import HoldoutSummary


@dataclass(frozen=True, eq=False)
class View:
    """A region whose prediction somebody is looking at: normalised pixels (C, *spatial).

    A new view is predicted at once, the same one again as time allows. An untrained network has nothing to
    show: its first preview comes after five steps or a second of training, and where no number of steps is
    given, those first steps take small batches and the first score waits, so that the preview comes soon.
    """

    image: NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Wanted:
    """The whole current wish of whoever trains; a new wish replaces it.

    Parameters
    ----------
    examples : tuple of Example
        What to train on; those that are the same objects as before are known already.
    view : View, optional
        What to predict while training goes on.
    pause, stop : bool
        Whether to wait, and whether to end.
    snapshot : object, optional
        A new object asks once for the model as it is, paused or not.
    """

    examples: tuple[Example, ...] = ()
    view: View | None = None
    pause: bool = False
    stop: bool = False
    snapshot: object | None = None


@dataclass(frozen=True, eq=False)
class TrainUpdate:
    """What happened since the last update.

    Parameters
    ----------
    step : int
        Optimiser steps so far.
    seconds : float
        Time since the first step.
    progress : float or None
        Share of the training that is done, where an end is set.
    loss : float
        Mean since the last update; NaN before the first step.
    steps_per_second : float
    score : ValidationScore or None
        Where the network has just been scored.
    message : str
        One sentence for the user, or "".
    view : View or None
        The view that ``preview`` belongs to.
    preview : ndarray of float32, shape (n_classes, *spatial), or None
        Probabilities over the view.
    objects : ObjectRules or None
        How objects are found in a preview, as far as is known.
    model : Model or None
        The model as it is, where a snapshot was asked for: a copy on the CPU that nobody changes.
    holdout : HoldoutSummary or None
        What is held out, where that has just been chosen.
    spent : mapping of str to float
        Seconds of each activity so far: "targets", "steps", "previews", "scores", "thresholds", "snapshots".
    """

    step: int
    seconds: float
    progress: float | None = None
    loss: float = float("nan")
    steps_per_second: float = 0.0
    score: ValidationScore | None = None
    message: str = ""
    view: View | None = None
    preview: NDArray[np.float32] | None = None
    objects: ObjectRules | None = None
    model: Model | None = None
    holdout: HoldoutSummary | None = None
    spent: Mapping[Activity, float] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class TrainResult:
    """The trained model, its score on the held-out pixels, how many steps it took, and who goes on."""

    model: Model
    score: ValidationScore | None
    steps: int
    seconds: float
    learner: Learner
