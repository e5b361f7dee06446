"""The session of one viewer: what the dock asks for becomes jobs, and what they find becomes layers."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Any

from napari.components import ViewerModel
from psygnal import Signal

from napari_unet.core.results import Kind
from napari_unet.core.targets import Task
from napari_unet.session.classes import BACKGROUND, Classes, checked
from napari_unet.session.correcting import Correcting
from napari_unet.session.desk import Desk
from napari_unet.session.files import Files
from napari_unet.session.images import ImageChoice
from napari_unet.session.jobs import Failure, Jobs, Listener, Start, run_now
from napari_unet.session.keeping import Keeping
from napari_unet.session.measuring import Measuring
from napari_unet.session.pointing import Pointing
from napari_unet.session.preparing import load_torch
from napari_unet.session.previews import Previews
from napari_unet.session.segmenting import Segmenting
from napari_unet.session.settings import ALL_OBJECTS, Settings, WantedObjects
from napari_unet.session.state import SessionState, Tool
from napari_unet.session.summary import summarise
from napari_unet.session.teaching import Teaching
from napari_unet.session.weight_view import WeightView

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
        self.viewer = viewer
        self._jobs = Jobs(start, Listener(self.updated.emit, self.said.emit, self._fail), threads)
        self.desk = Desk(viewer)
        self.teaching = Teaching(self.desk, Previews(viewer, preview_pause), self._jobs)
        self.correcting = Correcting(viewer, self.desk, self.teaching, self._jobs)
        self.weights = WeightView(viewer, self.desk, self.teaching, self._jobs)
        self.segmenting = Segmenting(viewer, start, self._fail)
        self.segmenting.threads = threads
        self.segmenting.said.connect(self.said.emit)
        self.segmenting.changed.connect(self._share_the_computer)
        shown = self.teaching.previews.holds
        self.measuring = Measuring(viewer, self.desk, self.segmenting, shown, self._jobs, self._verb)
        predicted = self.teaching.previews.objects_of, self.segmenting.objects_of
        self.pointing = Pointing(viewer, self.desk, predicted, self._act, lambda: self.teaching.ndim == 3)
        self.keeping = Keeping(self._jobs)
        self._files = Files(self.desk, self.teaching, self.keeping, self._jobs, self._verb)
        self.device = ""
        self._synced_at = 0.0
        self._shown = SessionState()

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
        with self._verb():
            if monotonic() - self._synced_at >= SYNC_SECONDS:
                self.follow_painting()
            self.teaching.follow_camera()
            self.weights.follow()
            self.keeping.tick(self.teaching)

    def _look_around(self) -> None:
        """Let go of layers that have been deleted or do not fit any more, and find an image."""
        gone = self.desk.drop_gone()
        if gone:
            self.keeping.let_go(gone, self.desk.classes)
            self.teaching.learn()
        self.teaching.previews.drop_gone()
        self.segmenting.drop_gone()
        self.desk.find_image()
        self.pointing.follow()
        self.measuring.follow()
        self.keeping.look_for(self.desk.choice)

    def follow_painting(self) -> None:
        """Take over what has just been painted: it is learnt, and it is kept."""
        self._synced_at = monotonic()
        changed = self.desk.changed_planes()
        for image in changed:
            self.keeping.note(image, self.desk.classes)
        if changed:
            self.teaching.learn()
            self.desk.refuse_surplus()

    def load_torch(self) -> None:
        """Import torch in the background, so that Train finds it loaded."""
        self._jobs.run(load_torch(self.settings.device), self._found_device)

    def _found_device(self, words: str) -> None:
        self.device = words
        self._refresh()

    def choose(self, choice: ImageChoice | None) -> None:
        """Work on this image."""
        with self._verb():
            self.desk.choose(choice)
            self.teaching.learn()

    def annotate(self) -> None:
        """Make the annotation layer of the chosen image ready to paint."""
        with self._verb():
            self.desk.annotate()

    def set_task(self, task: Task) -> None:
        """Annotate classes, or objects."""
        if task == self.desk.task:
            return
        with self._verb():
            self.teaching.stop()
            self.desk.set_task(task)
            self.teaching.look_anew()

    def set_classes(self, classes: Classes) -> None:
        """Take over names, colours, the background, added and removed classes."""
        with self._verb():
            self.teaching.set_classes(checked(classes))
            for image in self.desk.images:
                self.keeping.note(image, self.desk.classes)
            self.teaching.learn()

    def select_class(self, value: int) -> None:
        """Paint with this value."""
        with self._verb():
            self.desk.select_class(value)

    def next_object(self) -> None:
        """Paint another object from now on."""
        with self._verb():
            self.follow_painting()
            self.desk.next_object()

    def paint_background(self) -> None:
        """Paint what is no object from now on."""
        self.paint_label(BACKGROUND)

    def paint_label(self, number: int) -> None:
        """Paint the background, or an object, of this label from now on."""
        with self._verb():
            self.desk.paint_with(number)

    def use_tool(self, tool: Tool) -> None:
        """Let the mouse accept, split or merge objects; once more gives the brush back."""
        with self._verb():
            self.pointing.use(tool)
            if self.pointing.tool == "accept":
                self.teaching.previews.show_layers(True)

    def _act(self, edit: Callable[[], str]) -> None:
        """Change what is painted, say what was done, and learn it; a click that misses is no failure."""
        with self._verb():
            self.follow_painting()
            try:
                words = edit()
            except ValueError as slip:
                self._fail(Failure(str(slip), details=""))
                return
            self.said.emit(words)
            self.follow_painting()

    def set_settings(self, settings: Settings) -> None:
        """Train like this from the next start on; the weight map follows at once."""
        other_device = settings.device != self.settings.device
        self.teaching.settings = settings
        if other_device:
            self.load_torch()
        self._refresh()

    def toggle_complete(self) -> None:
        """Mark the plane complete, or no longer: what is unlabelled there means background."""
        with self._verb():
            plane, image = self.desk.shown_plane(), self.desk.at_hand()
            image.mark_complete(plane, plane not in image.complete)
            self.keeping.note(image, self.desk.classes)
            self.teaching.learn()

    def show_weight_map(self, on: bool) -> None:
        """Show what each pixel of the plane weighs in the training, or stop showing it."""
        with self._verb():
            self.weights.show(on)

    def train(self) -> None:
        """Train on what is painted, from where the last training stood."""
        with self._verb():
            self.follow_painting()
            self.teaching.train()
            self.teaching.previews.show_layers(True)

    def pause(self) -> None:
        """Take no more steps until resumed."""
        with self._verb():
            self.teaching.pause()

    def resume(self) -> None:
        """Go on where it was paused."""
        with self._verb():
            self.teaching.resume()

    def stop(self) -> None:
        """End the training, to go on later."""
        with self._verb():
            self.teaching.stop()

    def new_model(self) -> None:
        """Forget what has been learnt; what is painted stays."""
        with self._verb():
            self.teaching.forget()
            self.keeping.forget_model(self.desk.task)

    def take_prediction(self) -> None:
        """Paint what is predicted on what is unlabelled, in the drawn box or on the whole plane."""
        with self._verb():
            self.correcting.take(self.follow_painting)

    def draw_box(self) -> None:
        """Let the user draw a box that limits what is taken over."""
        with self._verb():
            self.correcting.draw_box()

    def toggle_prediction(self) -> None:
        """Show the predictions, or hide them."""
        self.teaching.previews.toggle()

    def segment_slice(self, objects: WantedObjects = ALL_OBJECTS) -> None:
        """Segment the plane that is shown."""

        def segment(model: "Model") -> None:
            seen = self.teaching.intensity(choice), self.teaching.colours, self.settings.device
            self.segmenting.segment_plane(model, choice, plane, *seen, objects)

        with self._verb():
            choice, plane = self.desk.chosen(), self.desk.shown_plane()
            self.teaching.with_model(choice, segment)

    def segment_stack(
        self, path: Path | None = None, kind: Kind | None = None, objects: WantedObjects = ALL_OBJECTS
    ) -> None:
        """Segment the whole image in the background, into a layer and, if there is a path, a file."""

        def segment(model: "Model") -> None:
            intensity, colours = self.teaching.intensity(choice), self.teaching.colours
            how: dict[str, Any] = {"path": path, "kind": kind, "device": self.settings.device}
            self.segmenting.segment_stack(model, choice, intensity, colours, **how, objects=objects)

        with self._verb():
            choice = self.desk.chosen()
            self.teaching.with_model(choice, segment)

    def cancel(self) -> None:
        """Stop segmenting."""
        self.segmenting.cancel()

    def _share_the_computer(self) -> None:
        self.teaching.hold(self.segmenting.busy)
        if self.segmenting.busy and self.teaching.phase in ("idle", "settled"):
            self.teaching.previews.show_layers(False)  # it would lie over the result
        self._refresh()

    def save_model(self, path: Path) -> None:
        """Write the model to a file."""
        with self._verb():
            self._files.save_model(path)

    def load_model(self, path: Path) -> None:
        """Go on from a model in a file: to segment with it, or to train it further."""
        self._files.load_model(path)

    def save_annotation(self, path: Path) -> None:
        """Write the annotation of the chosen image to a TIFF that the command line trains from alike."""
        with self._verb():
            self._files.save_annotation(path)

    def restore(self) -> None:
        """Put back what was kept of this image: strokes, classes and the model."""
        with self._verb():
            self._files.restore()
            self.follow_painting()

    def discard_kept(self) -> None:
        """Remove what was kept of this image."""
        with self._verb():
            self.keeping.discard()

    def close(self) -> None:
        """End what runs, and keep what has been painted; whoever ticks next goes on from here."""
        self.teaching.close()
        self.segmenting.cancel()
        self.measuring.cancel()
        with self._jobs.telling():
            self.follow_painting()
        self.keeping.close(self.teaching)

    @contextmanager
    def _verb(self) -> Iterator[None]:
        """Do what is inside, or tell why it cannot be done; show what has changed by it."""
        with self._jobs.telling():
            self._look_around()  # a layer may have gone since the last tick
        with self._jobs.telling():
            yield
        self._refresh()

    def _fail(self, problem: Failure) -> None:
        self.failed.emit(problem)
        self._refresh()

    def _refresh(self) -> None:
        """Tell the dock, if anything that it shows has changed."""
        state = self.state
        if state != self._shown:
            self._shown = state
            self.changed.emit()
