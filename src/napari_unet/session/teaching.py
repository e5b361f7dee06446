"""How painting becomes training: what is painted is learnt, what is looked at is predicted first."""

from collections.abc import Callable
from dataclasses import replace
from importlib import import_module
from typing import TYPE_CHECKING, Literal

from napari.utils.colormaps import DirectLabelColormap

from napari_unet.core.examples import Dataset
from napari_unet.core.normalise import Intensity
from napari_unet.core.targets import ClassLabel, Example, Task
from napari_unet.session.classes import OBJECT_STYLES, Classes, prediction_colormap, with_outputs, written
from napari_unet.session.desk import Desk
from napari_unet.session.images import ImageChoice
from napari_unet.session.jobs import Jobs
from napari_unet.session.latest import Latest
from napari_unet.session.preparing import Intensities, Reading, Scale, gather
from napari_unet.session.previews import Previews
from napari_unet.session.settings import Settings
from napari_unet.session.state import Phase
from napari_unet.session.views import Piece, fetch

if TYPE_CHECKING:
    from napari_unet.core.modelfile import Model
    from napari_unet.session.learning import Shown
    from napari_unet.session.trainer import Trainer


class Teaching:
    """Keep what is trained, painted and looked at together; each task has a model of its own."""

    def __init__(self, desk: Desk, previews: Previews, jobs: Jobs) -> None:
        self.settings = Settings()
        self.previews = previews
        self._desk, self._jobs = desk, jobs
        self.intensities = Intensities(jobs)
        self._trainers: dict[Task, Trainer] = {}
        self._piece: Piece | None = None
        self._is_preparing = False
        self._begins_again = self._is_held = False
        self._audience = object()
        self._is_beginning = self._is_learning = self._has_ended = False
        self._reading = Reading(jobs, desk, self.intensities, lambda: self._scale)
        self.when_ready = self._reading.when_ready
        self._pieces = Latest(jobs.start, fetch, lambda _, piece: self._take(piece), jobs.listener.failed)

    @property
    def trainer(self) -> "Trainer | None":
        """What trains for this task, None before the first time."""
        return self._trainers.get(self._desk.task)

    @property
    def model(self) -> "Model | None":
        """The model of this task."""
        return self.model_of(self._desk.task)

    def model_of(self, task: Task) -> "Model | None":
        """Return the model of a task."""
        return self._trainers[task].model if task in self._trainers else None

    @property
    def phase(self) -> Phase:
        """Where the training stands."""
        if self._is_preparing:
            return "preparing"
        return self.trainer.phase if self.trainer else "idle"

    @property
    def description(self) -> str:
        """The model in a line, "" where there is none."""
        if self.trainer is None or self.trainer.model is None:
            return ""
        return self.trainer.description

    @property
    def labels(self) -> tuple[ClassLabel, ...]:
        """What the model tells apart."""
        return self.model.classes if self.model else self._desk.labels

    @property
    def colours(self) -> DirectLabelColormap:
        """The colours of what is predicted."""
        styles = OBJECT_STYLES if self._desk.task == "objects" else self._desk.classes
        return prediction_colormap(styles, self.labels)

    def train(self) -> None:
        """Train on what is painted, from where the last training stood."""
        if self.phase not in ("idle", "settled"):
            return
        if why := self._desk.cannot_train():
            raise ValueError(why)
        if self.model and len(self.model.axes) != self.settings.ndim:
            raise ValueError(
                f"the model is {len(self.model.axes)}D and the options say {self.settings.ndim}D: "
                "press New model, or change the options"
            )
        if any(trainer.is_running for trainer in self._trainers.values()):
            self._begins_again = True  # once that of the other task has stopped
            return
        self._is_preparing = True
        self.when_ready(self._begin, self._give_up)

    def _begin(self) -> None:
        if not self._is_preparing:  # stopped meanwhile
            return
        self._is_preparing = False
        trainer = self._trainer_of(self._desk.task)
        dataset = self._dataset()
        self._see(dataset)
        self._is_beginning = True
        try:
            self._look()
        finally:
            self._is_beginning = False
        trainer.begin(dataset, self.settings, self._piece)

    def _give_up(self) -> None:
        self._is_preparing = False

    def _trainer_of(self, task: Task) -> "Trainer":
        """Return the trainer of a task; its module brings torch, which has been loaded by now."""
        if task not in self._trainers:
            module = import_module("napari_unet.session.trainer")
            jobs = replace(self._jobs, listener=replace(self._jobs.listener, updated=self._show))
            trainer: Trainer = module.Trainer(jobs, self._recolour, self._end)
            trainer.hold(self._is_held)
            self._trainers[task] = trainer
        return self._trainers[task]

    def pause(self) -> None:
        """Wait."""
        if self.trainer:
            self.trainer.pause()

    def resume(self) -> None:
        """Go on."""
        if self.trainer:
            self.trainer.resume()
            self.learn()

    def stop(self) -> None:
        """End the training; pressed again, it goes on from there."""
        self._is_preparing = self._begins_again = False
        for trainer in self._trainers.values():
            trainer.stop()

    def close(self) -> None:
        """End the training and what waits for the model: nobody looks on any more."""
        self.stop()
        self.previews.follow(None, None, 2)  # what is still under way must not add a layer now
        self._audience = object()

    def hold(self, on: bool) -> None:
        """Leave the computer to a segmentation."""
        self._is_held = on
        for trainer in self._trainers.values():
            trainer.hold(on)

    def use(self, model: "Model") -> None:
        """Go on from another model, whatever its task; the options follow it."""
        self.check_idle()
        self.settings = replace(self.settings, ndim=3 if model.axes == "ZYX" else 2)
        self._trainer_of(model.task).use(model)
        self.look_anew()

    def forget(self) -> None:
        """Begin anew, with no model."""
        self.check_idle()
        if self.trainer:
            self.trainer.use(None)
            self.look_anew()

    def check_idle(self) -> None:
        """Raise a ValueError while a training goes on."""
        if self.phase not in ("idle", "settled"):
            raise ValueError("a training is running: stop it first")

    def ask(self, answer: "Callable[[Model], object]") -> None:
        """Call back with the model as it is now; ValueError where there is none."""
        self._trainer_with_model().ask(answer)

    def with_model(self, choice: ImageChoice, then: "Callable[[Model], object]") -> None:
        """Call back with the model as it is now, once this image is measured."""
        self._trainer_with_model()
        audience = self._audience

        def go_on(model: "Model") -> None:
            if audience is self._audience:  # else it was closed meanwhile
                then(model)

        self.intensities.when_known([choice], lambda: self.ask(go_on))

    def _trainer_with_model(self) -> "Trainer":
        if self.trainer is None or self.model is None:
            raise ValueError("there is no model yet: train one, or load one")
        return self.trainer

    def set_classes(self, classes: Classes) -> None:
        """Take over what the user has changed of the classes; the model writes and calls them alike."""
        before = [label.output_value for label in self.labels]
        known, is_ours = self._desk.labels, self._desk.task == "classes"
        self._desk.set_classes(with_outputs(classes, self.labels) if is_ours else classes)
        if self.trainer and is_ours:
            self.trainer.relabel(known, self._desk.labels)
        if before != [label.output_value for label in self.labels]:
            self.look_anew()
        self._recolour()

    def _recolour(self) -> None:
        self.previews.recolour(self.colours)

    def learn(self) -> None:
        """Take over what has just been painted."""
        if self.phase not in ("training", "paused", "settled"):
            return
        if not (why := self._desk.cannot_train()):
            if not self._is_learning:  # else what is painted by then will be learnt
                self._is_learning = True
                self.when_ready(self._go_on, self._rest)
        elif self.phase != "settled":
            self.stop()
            self._jobs.listener.said(f"training has stopped: {why}")

    def _go_on(self) -> None:
        """Go on with what is painted now; a network for other classes or channels has to be made first."""
        self._is_learning = False
        trainer = self.trainer
        if trainer is None or trainer.phase not in ("training", "paused", "settled"):
            return
        dataset = self._dataset()
        fits = trainer.fits(dataset)
        if fits and trainer.knows(dataset.examples):
            return
        if trainer.phase == "settled":
            self.train()
        elif fits:
            trainer.learn_from(dataset.examples)
        elif trainer.phase == "training":  # else when it is resumed
            trainer.stop()
            self._begins_again = True

    def _rest(self) -> None:
        self._is_learning = False

    @property
    def ndim(self) -> Literal[2, 3]:
        """Spatial axes of what is trained, or will be."""
        terms = self.trainer.terms if self.trainer else None
        return self.settings.ndim if terms is None else 3 if len(terms.axes) == 3 else 2

    def examples(self) -> tuple[Example, ...]:
        """Everything that is painted, as it is trained on."""
        return self._gather().examples if self._desk.painted else ()

    def _dataset(self) -> Dataset:
        dataset = self._gather()
        if not dataset.examples:
            raise ValueError("no finite pixel is annotated: paint where the image has values")
        return dataset

    def _gather(self) -> Dataset:
        return gather(self._desk, self.intensities, self._scale, self._desk.labels)

    @property
    def _scale(self) -> Scale:
        return Scale(self.ndim, self.trainer.method if self.trainer else None)

    def follow_camera(self) -> None:
        """Predict what the user looks at now."""
        if self.trainer is None or self.trainer.terms is None or self.phase == "preparing":
            return
        if self._see(self.trainer.terms):
            self._look()
        elif self.previews.is_due and self.trainer.is_running:
            self.trainer.wake() if self.previews.is_single else self._look()

    def look_anew(self) -> None:
        """Forget what is shown: it was predicted otherwise than it would be now."""
        self.previews.forget()
        self._recolour()

    def _see(self, terms: "Dataset | Model") -> bool:
        """Look where the user looks, if that can be predicted; tell whether that has changed."""
        choice = self._desk.choice
        if choice is not None and not _can_predict(terms, choice):
            choice = None
        return self.previews.follow(choice, self._desk.plane, len(terms.axes))

    def _look(self) -> None:
        """Have read and predicted what is seen; until its image is measured, nothing."""
        choice = self.previews.choice
        if choice is not None and choice not in self.intensities:
            self._pieces.forget()
            self._take(None)
            self.intensities.when_known([choice], self._look)
            return
        sought = None if choice is None else self.previews.next_piece(self.intensity(choice))
        if sought is None or sought.is_in_memory:
            self._pieces.forget()
            self._take(None if sought is None else sought.read())
        else:
            self._take(None)  # what was seen before is not predicted meanwhile
            self._pieces.ask(sought)

    def _take(self, piece: Piece | None) -> None:
        """Have a piece predicted, as long as anything is looked at."""
        self._piece = piece if self.previews.choice else None
        if self.trainer and not self._is_beginning:  # a training begins with it
            self.trainer.look(self._piece)

    def intensity(self, choice: ImageChoice) -> Intensity:
        """Return the measured intensities of an image, to be used as the model does."""
        method = self.trainer.method if self.trainer else None
        return replace(self.intensities[choice], method=method or self.intensities[choice].method)

    def _show(self, shown: "Shown") -> None:
        trainer = self.trainer
        if trainer is None:
            return
        if shown.numbers is not None and self._piece is not None and trainer.is_looking_at(shown.look):
            if self._desk.task == "objects":
                self.previews.show(self._piece, shown.numbers, None)
            else:
                self.previews.show(self._piece, written(shown.numbers, self.labels), self.colours)
            if self.previews.has_more:
                self._look()
            else:
                trainer.rest()
        if shown.update is not None:
            self._jobs.listener.updated(shown.update)
        elif self._has_ended:
            self._has_ended = False
            if self._desk.task == "objects" and shown.numbers is not None and not shown.numbers.any():
                self._jobs.listener.said("no object is found in view yet: train on")

    def _end(self) -> None:
        if self._begins_again:
            self._begins_again = False
            self.train()
        else:
            self._has_ended = True
            self._look()  # the last preview was of other weights and rules than those that are kept


def _can_predict(terms: "Dataset | Model", choice: ImageChoice) -> bool:
    """Tell whether a network for these channels and axes takes an image."""
    n_channels = choice.n_channels if choice.channels is None else len(choice.channels)
    return n_channels == len(terms.channels) and (len(terms.axes) == 2 or "Z" in choice.plane_axes)
