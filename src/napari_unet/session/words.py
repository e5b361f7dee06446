"""How the training goes, in words for the eye."""

from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Protocol

from napari_unet.core.targets import ClassLabel
from napari_unet.session.state import Phase

LOW_DICE, HIGH_DICE = 0.5, 0.7
"""A class that stays below the first needs strokes while another one stays above the second."""
LAST = 3
"""So many scores in a row decide: one may be low by chance."""
FEW = 12
"""Fewer scores tell no trend: the first ones come every second."""
GOOD_DICE = 0.95
MAX_LISTED = 6
"""Slices that are listed of an image."""
HARDLY = "hardly improving: paint where the mask is wrong"
GAIN = 0.01
"""The score improves while the last ones are better by this than those before."""

_TWO_CLASSES = "paint at least two classes, background being one of them"
_LOADED = "loaded: segment with it, or paint and train it further"
_FIXED: dict[Phase, str] = {
    "preparing": "preparing",
    "paused": "paused: press Resume to go on",
    "stopping": "stopping",
}


class Score(Protocol):
    """The part of a validation score that is put into words: a Dice per class, None where it is absent."""

    @property
    def dice(self) -> Sequence[float | None]: ...  # noqa: D102
    @property
    def mean_dice(self) -> float: ...  # noqa: D102


class Holdout(Protocol):
    """The part of a holdout summary that is put into words."""

    @property
    def n_places(self) -> int: ...  # noqa: D102
    @property
    def planes(self) -> Sequence[tuple[str, tuple[int, ...]]]: ...  # noqa: D102
    def doubt(self, mean_dice: float) -> str: ...  # noqa: D102


def verdict(
    scores: Sequence[tuple[int, Score]],
    painted: Mapping[str, int],
    phase: Phase,
    *,
    holdout: Holdout | None = None,
    is_ending: bool = False,
    is_held: bool = False,
    n_steps: int = 0,
    is_loaded: bool = False,
) -> str:
    """Say how the training goes, and what would help.

    The scores come with their steps. `painted` tells how much of each class is annotated, in the order of the
    scores' classes; `holdout` is what is held out to score on; `is_ending` once an end is set; `is_held`
    while a segmentation has the computer; `n_steps` counts those of the model, `is_loaded` where it was
    trained elsewhere.
    """
    latest = [score for _, score in scores]
    if phase in _FIXED:
        return _FIXED[phase]
    if phase == "idle" and (scores or n_steps):
        return "stopped: press Train to go on"
    if phase == "idle":
        return _LOADED if is_loaded else _before(painted)
    if phase == "training" and is_held:
        return "waits for the segmentation"
    how = _settled(latest) if phase == "settled" else _during(latest, is_ending=is_ending)
    wanting = _wanting(latest, painted)
    if sum(map(bool, painted.values())) < 2:
        how = _TWO_CLASSES
    elif wanting:
        how = f"needs strokes of {wanting}"
    doubt = holdout.doubt(latest[-1].mean_dice) if latest and holdout else ""
    return f"{how} ({doubt})" if doubt else how


def scored_on(holdout: Holdout | None, names: Mapping[str, str]) -> str:
    """Say what the score is measured on; `names` are those of images by the source of their examples."""
    if holdout is None or not holdout.n_places:
        return ""
    planes: dict[str, list[str]] = {}
    for source, index in holdout.planes:
        planes.setdefault(names.get(source, source), []).append(", ".join(map(str, index)))
    places = "1 place" if holdout.n_places == 1 else f"{holdout.n_places} places"
    images = "; ".join(name + _listed(found) for name, found in planes.items())
    return f"The score is measured in {places} held out of training: {images}."


def _listed(planes: Sequence[str]) -> str:
    """Write planes after the name of their image, the first few of many."""
    if planes == [""]:
        return ""
    rest = f" and {len(planes) - MAX_LISTED} more" if len(planes) > MAX_LISTED else ""
    return f" (slice {' · '.join(planes[:MAX_LISTED])}{rest})"


def differences(known: Sequence[ClassLabel], painted: Sequence[ClassLabel]) -> str:
    """Say, after a semicolon, which classes a model and an annotation do not have in common."""
    learnt = {label.annotation_value: label.name for label in known}
    wanted = {label.annotation_value: label.name for label in painted}
    new = [name for value, name in wanted.items() if value not in learnt]
    old = [name for value, name in learnt.items() if value not in wanted]
    other = [value for value, name in learnt.items() if wanted.get(value, name) != name]
    theirs, ours = (", ".join(names[value] for value in other) for names in (learnt, wanted))
    sentences = (
        f"it does not know {', '.join(new)} yet: train it further" if new else "",
        f"trained further it will forget {', '.join(old)}, which is no class here" if old else "",
        f"{theirs} of the model is {ours} here: rename to go on with it, else training starts it anew"
        if other
        else "",
    )
    return "".join(f"; {sentence}" for sentence in sentences if sentence)


def _before(painted: Mapping[str, int]) -> str:
    ready = sum(map(bool, painted.values())) >= 2
    return f"not trained yet: {'press Train' if ready else _TWO_CLASSES}"


def _during(scores: Sequence[Score], *, is_ending: bool) -> str:
    if not scores:
        return "starting"
    if is_ending:
        return "settling: nearly done"
    if len(scores) < FEW:
        return "improving"
    before, now = (
        fmean(score.mean_dice for score in part) for part in (scores[-2 * LAST : -LAST], scores[-LAST:])
    )
    if now > before + GAIN:
        return "improving"
    return "held-out score is high: check other slices" if now > GOOD_DICE else HARDLY


def _settled(scores: Sequence[Score]) -> str:
    if scores and max(score.mean_dice for score in scores) < HIGH_DICE:
        return "settled at a low score: paint where the mask is wrong and train on"
    return "settled: it is good enough to segment"


def _wanting(scores: Sequence[Score], painted: Mapping[str, int]) -> str:
    """Name the class that needs strokes most, if any: one without any, or one that is kept being missed."""
    without = [name for name, amount in painted.items() if not amount]
    if without:
        return without[0]
    last = scores[-LAST:]
    if len(last) < LAST or any(len(score.dice) != len(painted) for score in last):
        return ""  # too early to say, or scored before the classes changed
    columns = zip(painted, zip(*(score.dice for score in last), strict=True), strict=True)
    known = {name: [value for value in values if value is not None] for name, values in columns}
    known = {name: values for name, values in known.items() if len(values) == LAST}
    low = [name for name, values in known.items() if max(values) < LOW_DICE]
    others_are_high = any(min(values) > HIGH_DICE for values in known.values())
    return min(low, key=lambda name: fmean(known[name]), default="") if others_are_high else ""
