"""How objects are found in what a network says, learnt from the objects that are annotated."""

from collections.abc import Sequence

import numpy as np

from napari_unet.core.objects import ObjectRules, object_scores
from napari_unet.core.supply import Supply
from napari_unet.core.targets import Target
from napari_unet.core.thresholds import fit_rules
from napari_unet.core.validation import Predict

ENOUGH_OBJECTS = 30
"""Fewer held-out objects do not tell one rule from another."""
MOST_SECONDS = 2.0


def fit_objects(supply: Supply, predict: Predict, seconds: float) -> ObjectRules:
    """Fit rules to the objects that are held out, or to all where these are few.

    Parameters
    ----------
    supply : Supply
        What is annotated, and what of it is held out.
    predict : callable
        From an image (C, *spatial) to probabilities (3, *spatial).
    seconds : float
        About how long the search may take; at most two are of use.

    Returns
    -------
    ObjectRules
        Their sizes are those of all annotated objects.
    """
    is_enough = _count(supply.validation) >= ENOUGH_OBJECTS
    fields = [
        (object_scores(predict(target.image)), target.objects)
        for target in (supply.validation if is_enough else supply.targets)
        if target.objects is not None and (target.objects > 1).any()
    ]
    annotations = [target.objects for target in supply.targets if target.objects is not None]
    return fit_rules(fields, annotations, seconds=min(seconds, MOST_SECONDS))


def _count(targets: Sequence[Target]) -> int:
    return sum(int((np.unique(target.objects) > 1).sum()) for target in targets if target.objects is not None)
