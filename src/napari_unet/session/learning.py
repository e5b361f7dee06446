"""The jobs that need torch: to build or change a network, to train it, and to predict what is looked at."""

from collections.abc import Callable, Generator, Sequence
from copy import deepcopy
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from napari_unet.core.devices import choose_device, describe_device
from napari_unet.core.examples import Dataset
from napari_unet.core.inference import Predictor
from napari_unet.core.layouts import SegmentConfig, object_finding
from napari_unet.core.learner import Learner
from napari_unet.core.modelfile import Model
from napari_unet.core.objects import ObjectRules, coreless_objects, find_objects, object_scores
from napari_unet.core.predicting import predict_part
from napari_unet.core.starting import fine_tune, new_model
from napari_unet.core.targets import ClassLabel
from napari_unet.core.training import TrainResult, TrainUpdate, View, Wanted, train
from napari_unet.session.learning_options import architecture, train_config
from napari_unet.session.settings import Settings
from napari_unet.session.threads import leave_a_core


@dataclass(frozen=True, eq=False)
class Look:
    """A view to predict, and which of its planes is looked at (None in 2D)."""

    view: View
    plane: int | None


@dataclass(frozen=True, eq=False)
class Ready:
    """The model that is about to be trained, and what there is to say about where it comes from."""

    model: Model
    words: str


@dataclass(frozen=True, eq=False)
class Shown:
    """News of the training, and a preview (Y, X) of the plane that is looked at.

    Its numbers are those of the likeliest classes or, for the task objects, of objects.
    """

    update: TrainUpdate | None
    look: Look | None = None
    numbers: NDArray[np.unsignedinteger] | None = None


@dataclass(frozen=True, eq=False)
class Beginning:
    """What a training begins with: the data, and the model and optimiser of before, if there are any."""

    dataset: Dataset
    settings: Settings
    model: Model | None = None
    learner: Learner | None = None


@dataclass(frozen=True, eq=False)
class Directions:
    """What the session wants now: what the core is told, and how its answer about the view is to be read."""

    wanted: Wanted
    look: Look | None = None


def training(
    beginning: Beginning, directions: Callable[[], Directions], threads: int | None
) -> Generator[Ready | Shown, None, TrainResult]:
    """Train from where it stands, on what is wanted, until that says stop or the score has settled."""
    leave_a_core(threads)
    ready = prepare_model(beginning)
    yield ready
    learner = beginning.learner if ready.model is beginning.model else None
    config = train_config(beginning.settings, beginning.dataset.spacing)
    updates = train(ready.model, lambda: directions().wanted, config, learner)
    while True:
        try:
            update = next(updates)
        except StopIteration as end:
            result: TrainResult = end.value
            return result
        yield _shown(update, directions().look, ready.model)


def _shown(update: TrainUpdate, look: Look | None, model: Model) -> Shown:
    """Turn probabilities (n_classes, *spatial) into the small array that is shown; drop a stale preview."""
    if update.preview is None or look is None or update.view is not look.view:
        return Shown(replace(update, preview=None))
    if model.task != "objects":
        return Shown(replace(update, preview=None), look, _classes(update.preview, look))
    # by the rules of this training, not of the model that it began with
    objects = _first_objects(object_scores(update.preview), update.objects)
    return Shown(replace(update, preview=None), look, _plane(objects, look))


def _classes(probabilities: NDArray[np.float32], look: Look) -> NDArray[np.uint8]:
    """Return the likeliest classes."""
    planes = probabilities if look.plane is None else probabilities[:, look.plane]
    numbers: NDArray[np.uint8] = planes.argmax(0).astype(np.uint8)
    return numbers


def _plane(objects: NDArray[np.uint32], look: Look) -> NDArray[np.uint32]:
    """Return the plane that is looked at; in 3D objects are found with what lies above and below."""
    return objects if look.plane is None else objects[look.plane]


def _first_objects(scores: NDArray[np.uint8], known: ObjectRules | None) -> NDArray[np.uint32]:
    """Find objects; while the rules are unknown or find nothing, foreground without a core counts too."""
    rules = known or ObjectRules()
    objects = find_objects(scores, rules).astype(np.uint32)
    if known is None or not objects.any():
        rest = coreless_objects(scores, rules, objects).astype(np.uint32)
        objects += np.where(rest, rest + objects.max(initial=0), 0)
    return objects


def predict_look(model: Model, look: Look, threads: int | None) -> Generator[None, None, Shown]:
    """Predict what is looked at while nothing is trained, as Segment does it of a whole plane or volume.

    Nobody else may use the model's network.
    """
    yield
    leave_a_core(threads)
    device = next(model.network.parameters()).device
    probabilities = yield from predict_part(Predictor(model.network, device), look.view.image)
    if model.task != "objects":
        return Shown(None, look, _classes(probabilities, look))
    objects = object_finding(model, SegmentConfig()).find(object_scores(probabilities))
    return Shown(None, look, _plane(objects.astype(np.uint32), look))


def prepare_model(beginning: Beginning) -> Ready:
    """Go on with the model of before; change its head where the classes changed; or build a new one."""
    model, dataset = beginning.model, beginning.dataset
    device = choose_device(beginning.settings.device)
    if model is None:
        return Ready(new_model(dataset, architecture(beginning.settings), device=device), "")
    model.network.to(device)  # another one may have been chosen; the learner follows
    same = model.classes == dataset.classes and len(model.channels) == len(dataset.channels)
    if same:
        return Ready(model, "")
    changed, _ = fine_tune(dataset, model)
    return Ready(changed, _differences(dataset, model))


def _differences(dataset: Dataset, model: Model) -> str:
    """Say what is learnt from the start."""
    new = [label.name for label in dataset.classes if label not in model.classes]
    n_channels, n_before = len(dataset.channels), len(model.channels)
    if n_channels != n_before:
        new.append(f"the first layer (for {n_channels} channels instead of {n_before})")
    return f"{' and '.join(new)} learnt from the start, the rest goes on" if new else ""


def copied(model: Model) -> Generator[None, None, Model]:
    """Copy a model to the CPU; the copy is for whoever asked, and nobody trains it."""
    yield
    return frozen(model)


def frozen(model: Model) -> Model:
    """Copy a model to the CPU, at once."""
    return replace(model, network=deepcopy(model.network).to("cpu"))


def relabelled(
    classes: Sequence[ClassLabel], before: Sequence[ClassLabel], now: Sequence[ClassLabel]
) -> tuple[ClassLabel, ...]:
    """Give classes the names and outputs of now, if they had the value and the name of before."""
    newest = {label.annotation_value: label for label in now}
    known = {(label.annotation_value, label.name): label.annotation_value for label in before}
    values = [known.get((label.annotation_value, label.name)) for label in classes]
    return tuple(newest.get(v, old) if v else old for v, old in zip(values, classes, strict=True))


def describe(model: Model) -> str:
    """Name a model in a few words."""
    config = model.network.config
    size = f"width {config.width}, depth {config.depth}"
    return f"U-Net {config.ndim}D, {size}, {len(model.classes)} classes"


def device_of(name: str) -> str:
    """Describe the device of that name for people."""
    return describe_device(choose_device(name))
