"""The session of one viewer: what the dock asks for becomes jobs, and what they find becomes layers."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Any
from weakref import WeakValueDictionary

from napari.components import ViewerModel
from numpy.typing import NDArray
from psygnal import Signal

from napari_unet.core.results import Kind
from napari_unet.core.targets import TargetOptions, Task
from napari_unet.session.annotated import Annotated
from napari_unet.session.classes import Classes, checked, class_styles
from napari_unet.session.correcting import (
    as_annotation,
    draw_box,
    drawn_box,
    forget_box,
    predict_plane,
    take_over,
)
from napari_unet.session.desk import Desk
from napari_unet.session.files import load, save, write_annotation
from napari_unet.session.images import ImageChoice, Index
from napari_unet.session.jobs import Failure, Listener, Start, failure, run_now
from napari_unet.session.keeping import Keeping, put_back
from napari_unet.session.overlays import WeightMap
from napari_unet.session.preparing import load_torch
from napari_unet.session.previews import Previews
from napari_unet.session.segmenting import Segmenting
from napari_unet.session.settings import Settings
from napari_unet.session.state import SessionState
from napari_unet.session.summary import summarise
from napari_unet.session.teaching import Teaching
from napari_unet.session.weighing import Wish

if TYPE_CHECKING:
    from napari_unet.core.modelfile import Model

SYNC_SECONDS = 0.4
"""How often strokes are looked for: each find makes new targets."""


class Session:
    """One viewer's desk, teaching, segmenting and keeping; the dock shows `state` and calls the verbs.

    A verb that cannot be done tells why through `failed`. Whoever owns the session calls `tick` a few times
    a second: strokes, the camera and deleted layers are found there, and nowhere else.
    """

    changed = Signal()
    updated = Signal(object)
    failed = Signal(object)
    said = Signal(str)

    def __init__(
        self,
        viewer: ViewerModel,
        start: Start = run_now,
        *,
        threads: int | None = None,
        preview_pause: float = 0.0,
    ) -> None:
        self.viewer, self._start, self._threads = viewer, start, threads
        self.desk = Desk(viewer)
        listener = Listener(self.updated.emit, self.said.emit, self._fail)
        self.teaching = Teaching(self.desk, Previews(viewer, preview_pause), start, threads, listener)
        self.segmenting = Segmenting(viewer, start, self._fail)
        self.segmenting.threads = threads
        self.keeping = Keeping(start, self._fail)
        self._weight_map = WeightMap(viewer, start, self._fail)
        self.device = ""
        self.shows_weights = False
        self._synced_at = 0.0
        self._shown = SessionState()
        self.segmenting.said.connect(self._say)
        self.segmenting.changed.connect(self._share_the_computer)

    @property
    def settings(self) -> Settings:
        """The advanced options."""
        return self.teaching.settings

    @property
    def state(self) -> SessionState:
        """Everything that the dock shows."""
        return summarise(self)

    def tick(self) -> None:
        """Look what has been painted, where the camera is, which layers have gone, and what is due."""
        self._try(self._look_around)
        self._refresh()

    def _look_around(self) -> None:
        for gone in self.desk.drop_gone():
            self.keeping.seal(gone)
            self.said.emit(f"the annotation of {gone.choice.name} was deleted: what it held is kept")
            self.teaching.learn()
        self.desk.find_image()
        self.keeping.look_for(self.desk.choice)
        if monotonic() - self._synced_at >= SYNC_SECONDS:
            self.follow_painting()
        self.teaching.follow_camera()
        self._weigh()
        self.keeping.tick(self.teaching)

    def follow_painting(self) -> None:
        """Take over what has just been painted: it is learnt, and it is kept."""
        self._synced_at = monotonic()
        changed = self.desk.changed_planes()
        for image, planes in changed.items():
            self.keeping.note(image, self.desk.classes, planes)
        if changed:
            self.teaching.learn()

    def load_torch(self) -> None:
        """Import torch in the background, so that Train finds it loaded."""

        def name(device: str) -> None:
            self.device = device
            self._refresh()

        self._start(load_torch(self.settings.device), _ignore, name, self._fail)

    def choose(self, choice: ImageChoice | None) -> None:
        """Work on this image."""
        self._do(lambda: self.desk.choose(choice))

    def annotate(self) -> None:
        """Make the annotation layer of the chosen image ready to paint."""
        self._do(self.desk.annotate)

    def set_task(self, task: Task) -> None:
        """Annotate classes, or objects."""
        self.teaching.stop()
        self._do(lambda: self.desk.set_task(task))

    def set_classes(self, classes: Classes) -> None:
        """Take over names, colours, the background, added and removed classes."""
        self._do(lambda: self._set_classes(checked(classes)))

    def _set_classes(self, classes: Classes) -> None:
        self.desk.set_classes(classes)
        self.teaching.relabel()
        for image in self.desk.images:
            self.keeping.note(image, classes)
        self.teaching.learn()

    def select_class(self, value: int) -> None:
        """Paint with this value."""
        self._do(lambda: self.desk.select_class(value))

    def set_settings(self, settings: Settings) -> None:
        """Train like this from the next start on; the weight map follows at once."""
        other_device = settings.device != self.settings.device
        self.teaching.settings = settings
        if other_device:
            self.load_torch()
        self._refresh()

    def toggle_complete(self) -> None:
        """Mark the plane complete, or no longer: what is unlabelled there means background."""
        self._do(self._toggle_complete)

    def _toggle_complete(self) -> None:
        plane, image = self._plane(), self.desk.annotate()
        image.mark_complete(plane, plane not in image.complete)
        self.keeping.note(image, self.desk.classes, {plane})
        self.teaching.learn()

    def _plane(self) -> Index:
        plane = self.desk.plane
        if plane is None:
            raise ValueError("no slice of the image is shown: go to one, in 2D view")
        return plane

    def show_weight_map(self, on: bool) -> None:
        """Show what each pixel of the plane weighs in the training, or stop showing it."""
        self.shows_weights = on
        if not on:
            self._weight_map.remove()
        self.tick()

    def _weigh(self) -> None:
        """Keep the weight map up to date with plane, strokes and settings."""
        image, plane = self.desk.current, self.desk.plane
        if self.shows_weights and self._weight_map.is_deleted:
            self.show_weight_map(False)
        if not self.shows_weights or image is None or plane is None:
            return
        choices = [each.choice for each in self.desk.images]
        self.teaching.intensities.when_known(choices, lambda: self._weigh_plane(image, plane))

    def _weigh_plane(self, image: Annotated, plane: Index) -> None:
        settings = self.settings
        options = TargetOptions(self.desk.task, self.desk.labels, settings.w0, settings.sigma)
        examples = self.teaching.examples()
        own = tuple(each for each in examples if each.source == image.image.name)
        others = tuple(each for each in examples if each.source != image.image.name)
        balanced = settings.loss == "weighted-ce"
        self._weight_map.update(Wish(image.choice, plane, own, options, balanced, others))

    def train(self) -> None:
        """Train on what is painted."""
        self._do(self._train)

    def _train(self) -> None:
        self.follow_painting()
        self.teaching.train()

    def pause(self) -> None:
        """Take no more steps until resumed."""
        self._do(self.teaching.pause)

    def resume(self) -> None:
        """Go on where it was paused."""
        self._do(self.teaching.resume)

    def stop(self) -> None:
        """End the training, to go on later."""
        self._do(self.teaching.stop)

    def new_model(self) -> None:
        """Forget what has been learnt; what is painted stays."""
        self._do(lambda: self.teaching.use(None))

    def take_prediction(self) -> None:
        """Paint what is predicted on what is unlabelled, in the drawn box or on the whole plane."""
        self._do(self._take_prediction)

    def _take_prediction(self) -> None:
        plane, image = self._plane(), self.desk.annotate()
        task, box = self.desk.task, drawn_box(self.viewer, image, plane)

        def paint(model: "Model", predicted: NDArray[Any]) -> None:
            highest = max((v for index in image.planes for v in image.values(index)), default=1)
            n_pixels = take_over(image, plane, as_annotation(predicted, task, model.classes, highest), box)
            forget_box(self.viewer)
            self.said.emit(f"{n_pixels} pixels are annotated as predicted: correct them with the brush")
            self.follow_painting()
            self._refresh()

        def predict(model: "Model") -> None:
            intensity = self.teaching.intensity(image.choice)
            job = predict_plane(model, image.choice, plane, intensity, self._threads)
            self._start(job, _ignore, lambda found: self._try(lambda: paint(model, found)), self._fail)

        self._with_model(predict)

    def draw_box(self) -> None:
        """Let the user draw a box that limits what is taken over."""
        self._do(lambda: draw_box(self.viewer, self._choice()))

    def _choice(self) -> ImageChoice:
        if self.desk.choice is None:
            raise ValueError("there is no image layer: open an image first")
        return self.desk.choice

    def _with_model(self, then: "Callable[[Model], object]") -> None:
        """Call back with the model as it is, once the chosen image is measured."""
        self.teaching.intensities.when_known(
            [self._choice()], lambda: self._try(lambda: self.teaching.ask(then))
        )

    def segment_slice(self) -> None:
        """Segment the plane that is shown."""
        self._do(lambda: self._segment_slice(self._plane(), self._choice()))

    def _segment_slice(self, plane: Index, choice: ImageChoice) -> None:
        def segment(model: "Model") -> None:
            intensity, colours = self.teaching.intensity(choice), self.teaching.colours
            self.segmenting.segment_plane(model, choice, plane, intensity, colours, self.settings.device)

        self._with_model(segment)

    def segment_stack(self, path: Path | None = None, kind: Kind | None = None) -> None:
        """Segment the whole image in the background, into a layer and, if there is a path, a file."""
        self._do(lambda: self._segment_stack(self._choice(), path, kind))

    def _segment_stack(self, choice: ImageChoice, path: Path | None, kind: Kind | None) -> None:
        def segment(model: "Model") -> None:
            intensity, colours, device = (
                self.teaching.intensity(choice),
                self.teaching.colours,
                self.settings.device,
            )
            self.segmenting.segment_stack(
                model, choice, intensity, colours, path=path, kind=kind, device=device
            )

        self._with_model(segment)

    def cancel(self) -> None:
        """Stop segmenting."""
        self.segmenting.cancel()

    def _share_the_computer(self) -> None:
        self.teaching.hold(self.segmenting.busy)
        self._refresh()

    def save_model(self, path: Path) -> None:
        """Write the model to a file."""

        def tell(_: Path) -> None:
            self.said.emit(f"the model is saved as {path.name}")

        self._do(
            lambda: self.teaching.ask(lambda model: self._start(save(model, path), _ignore, tell, self._fail))
        )

    def load_model(self, path: Path) -> None:
        """Go on from a model in a file: to segment with it, or to train it further."""
        self._start(load(path, self.settings.device), _ignore, partial(self._adopt, path.name), self._fail)

    def _adopt(self, name: str, model: "Model") -> None:
        self._do(lambda: self._use(name, model))

    def _use(self, name: str, model: "Model") -> None:
        if self.teaching.phase not in ("idle", "settled"):
            raise ValueError("a training is running: stop it first, then load a model")
        self.desk.set_task(model.task)
        is_painted = any(image.planes for image in self.desk.images)
        if model.task == "classes" and not is_painted:
            self.desk.set_classes(class_styles(model.classes, self.desk.classes))
        self.teaching.use(model)
        self.said.emit(f"{name} is loaded{self._differences(model)}")

    def _differences(self, model: "Model") -> str:
        here = {label.annotation_value: label.name for label in self.desk.labels}
        new = [
            name for value, name in here.items() if value not in {c.annotation_value for c in model.classes}
        ]
        return f"; it does not know {', '.join(new)} yet: train it further" if new else ""

    def save_annotation(self, path: Path) -> None:
        """Write the annotation of the chosen image to a TIFF that the command line trains from alike."""
        self._do(lambda: self._save_annotation(path))

    def _save_annotation(self, path: Path) -> None:
        image = self.desk.current
        if image is None or not image.planes:
            raise ValueError("nothing is annotated on this image: paint something first")
        job = write_annotation(image, self.desk.labels, path)
        self._start(
            job, _ignore, lambda _: self.said.emit(f"the annotation is saved as {path.name}"), self._fail
        )

    def restore(self) -> None:
        """Put back what was kept of this image: strokes, classes and the model."""
        self._do(self._restore)

    def _restore(self) -> None:
        kept = self.keeping.offer
        if kept is None:
            return
        self.desk.set_task(kept.task)
        self.desk.set_classes(kept.classes)
        put_back(kept, self.desk.annotate())
        self.keeping.accept()
        self.follow_painting()
        if kept.model is not None:
            self.load_model(kept.model)

    def discard_kept(self) -> None:
        """Remove what was kept of this image."""
        self._do(self.keeping.discard)

    def toggle_prediction(self) -> None:
        """Show the predictions, or hide them."""
        self.teaching.previews.toggle()

    def close(self) -> None:
        """End what runs, and keep what has been painted."""
        self.teaching.stop()
        self.segmenting.cancel()
        self._try(self.follow_painting)
        self.keeping.flush()

    def _say(self, sentence: str) -> None:
        self.said.emit(sentence)

    def _do(self, verb: Callable[[], object]) -> None:
        self._try(verb)
        self._refresh()

    def _try(self, verb: Callable[[], object]) -> None:
        """Do it, or say why it cannot be done."""
        try:
            verb()
        except (ValueError, TypeError, OSError, MemoryError) as error:
            self._fail(failure(error))

    def _fail(self, problem: Failure) -> None:
        self.failed.emit(problem)
        self._refresh()

    def _refresh(self) -> None:
        """Tell the dock, if anything that it shows has changed."""
        state = self.state
        if state != self._shown:
            self._shown = state
            self.changed.emit()


def _ignore(_: object) -> None:
    """Nobody watches this job's progress."""


_SESSIONS: WeakValueDictionary[int, Session] = WeakValueDictionary()


def session_of(viewer: ViewerModel) -> Session | None:
    """Return the session of a viewer, if one is open."""
    return _SESSIONS.get(id(getattr(viewer, "__wrapped__", viewer)))


def open_session(viewer: ViewerModel, start: Start = run_now, **preferences: Any) -> Session:
    """Return the session of a viewer, a new one if there is none: two docks share it."""
    viewer = getattr(viewer, "__wrapped__", viewer)  # plugins are handed a proxy
    session = session_of(viewer)
    if session is None:
        session = _SESSIONS[id(viewer)] = Session(viewer, start, **preferences)
    return session
