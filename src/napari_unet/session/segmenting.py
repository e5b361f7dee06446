"""Segment a plane or a whole stack in the background, into a layer that fills in as it goes."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari.components import ViewerModel
from napari.layers import Labels
from numpy.typing import NDArray
from psygnal import Signal

from napari_unet.core.io import open_image
from napari_unet.core.io.layout import Sink
from napari_unet.core.normalise import Intensity
from napari_unet.core.results import ArraySink, Kind, ResultLayout
from napari_unet.session.images import ImageChoice, Index, open_layers, zeros
from napari_unet.session.jobs import Failure, Start, failure
from napari_unet.session.levels import find_levels
from napari_unet.session.opening import lazy_levels
from napari_unet.session.progress import Progress
from napari_unet.session.results import Begun, Colormap, Order, Result, Results, amount
from napari_unet.session.segmenting_job import Job, check_file, check_fit, layout_of, work
from napari_unet.session.settings import ALL_OBJECTS, WantedObjects
from napari_unet.session.sinks import NumberedSink, Numbers, PlaneSink, as_layer, as_result, in_layer
from napari_unet.session.subimage import around_plane

if TYPE_CHECKING:
    from napari_unet.core.modelfile import Model
    from napari_unet.core.running import StackUpdate

_PHASES = {
    "tiles": "segmenting",
    "faces": "joining the objects of",
    "seeds": "joining the objects of",
    "objects": "growing the objects of",
    "links": "linking the objects of",
    "numbers": "numbering the objects of",
}
NO_OBJECT = ": no object was found, train longer or choose a smaller size"


class Segmenting:
    """One segmentation at a time; its layer survives in the viewer, complete or not."""

    changed = Signal()
    said = Signal(str)

    def __init__(self, viewer: ViewerModel, start: Start, failed: Callable[[Failure], object]) -> None:
        self._start, self._failed = start, failed
        self._results = Results(viewer)
        self._job: Job | None = None
        self._progress: Progress | None = None
        self.threads: int | None = None

    @property
    def is_ending(self) -> bool:
        """Whether it has been cancelled, and ends after the tile at work."""
        return self._job is not None and self._job.cancelled.is_set()

    @property
    def busy(self) -> bool:
        """Whether a segmentation goes on."""
        return self._job is not None

    def segment_plane(
        self,
        model: "Model",
        choice: ImageChoice,
        index: Index,
        intensity: Intensity,
        colormap: Colormap | None,
        device: str = "auto",
        objects: WantedObjects = ALL_OBJECTS,
    ) -> None:
        """Segment one plane; the layer keeps what it has of the others."""
        here = replace(objects, link=False)  # one plane has nothing to be linked with
        order = Order(model, choice, intensity, colormap, device, objects=here)
        self._begin(lambda: self._plane_job(order, index))

    def segment_stack(
        self,
        model: "Model",
        choice: ImageChoice,
        intensity: Intensity,
        colormap: Colormap | None,
        *,
        path: Path | None = None,
        kind: Kind | None = None,
        device: str = "auto",
        objects: WantedObjects = ALL_OBJECTS,
    ) -> None:
        """Segment all of an image, into a layer and, if there is a path, also into a file."""
        order = Order(model, choice, intensity, colormap, device, kind, objects)
        self._begin(lambda: self._stack_job(order, path))

    def cancel(self) -> None:
        """Stop after the tile at work; what is done stays in the layer, and beside the file's name."""
        job = self._job
        if job is None or job.cancelled.is_set():
            return
        job.cancelled.set()
        self._close_progress()
        self.said.emit(f"{job.whole.name} is cancelled: it ends after the tile at work")
        self.changed.emit()

    def left(self, choice: ImageChoice | None) -> str:
        """Say what is there of a whole stack of this image that was left in the middle; else ""."""
        begun = None if self.busy else self._results.left(choice)
        return begun.words if begun else ""

    def objects_of(self, choice: ImageChoice) -> list[Labels]:
        """Return the layers that hold objects of this image."""
        return self._results.objects_of(choice)

    def objects(self) -> dict[Labels, ImageChoice]:
        """Return every layer that holds objects, and of which image they are."""
        return self._results.objects()

    @property
    def at_work(self) -> Labels | None:
        """The layer that is being written."""
        return self._job.result.overlay.layer if self._job and self._job.result else None

    def drop_gone(self) -> None:
        """Forget results whose layers, or whose images, have been deleted."""
        self._results.drop_gone()

    def _begin(self, prepare: Callable[[], Job]) -> None:
        if self.busy:
            self._failed(Failure("a segmentation is running: wait for it, or cancel it first", ""))
            return
        try:
            job = prepare()
        except (ValueError, TypeError, OSError, MemoryError) as error:
            self._failed(failure(error))
            return
        self._job = job
        self._progress = Progress(f"segmenting {job.whole.name}", self.cancel)
        self.changed.emit()
        self._start(
            work(job, self.threads), partial(self._shown, job), partial(self._done, job), self._broken
        )

    def _plane_job(self, order: Order, index: Index) -> Job:
        whole, axes = open_layers(order.choice), order.choice.plane_axes + "YX"
        at = dict(zip(order.choice.plane_axes, index, strict=True))
        check_fit(order.model, whole)
        part, z = around_plane(whole, at.get("T", 0), at.get("Z", 0), order.model.network)
        result = self._results.open(order, layout_of(order, part))
        if result.begun and result.begun.order.differs(order):
            result.begun = None  # else one stack would come of two models
        data = result.overlay.layer.data
        place = (*(slice(i, i + 1) for i in index), *(slice(0, size) for size in data.shape[-2:]))
        result_axes = result.layout.axes
        sink: Sink = PlaneSink(as_result(data[place], axes.replace("C", "c"), result_axes), result_axes, z)
        sink = _numbered(sink, result.layout, result.numbers)
        return Job(order, whole, part, sink, result, lambda _: place)

    def _stack_job(self, order: Order, path: Path | None) -> Job:
        whole = open_layers(order.choice)
        check_fit(order.model, whole)
        layout = layout_of(order, whole)
        if path is not None:
            check_file(path, order.choice)
        found, begun = (None, None) if path else self._begun(order, layout)
        try:
            data = begun.data if begun else zeros(_layer_shape(order.choice, layout), layout.dtype)
        except OSError:
            if path is None:
                raise
            return Job(order, whole, whole, None, path=path)  # too large for a layer but for that of the file
        if found is not None:
            result = self._results.reopen(found, order, layout)
        else:
            result = self._results.open(order, layout, spare_begun=path is not None)
        numbers = result.numbers if begun else Numbers()
        axes = _layer_axes(order.choice, layout)
        sink = _numbered(ArraySink(as_result(data, axes, layout.axes)), layout, numbers)
        region = partial(in_layer, axes=axes, result_axes=layout.axes)
        if path is not None and self._results.begun(order.choice, layout):
            self.said.emit(f"what was begun of {order.choice.name} stays in a layer of its own")
        fresh = None if begun else (data, numbers)
        return Job(order, whole, whole, sink, result, region, path, begun, fresh)

    def _begun(self, order: Order, layout: ResultLayout) -> tuple[Result, Begun] | tuple[None, None]:
        """Return what can be gone on with; say why what is there cannot."""
        found = self._results.begun(order.choice, layout)
        changes = [begun.order.differs(order) for _, begun in found]
        if "" in changes:
            return found[changes.index("")]
        if changes:
            self.said.emit(f"{order.choice.name} is begun anew: {changes[0]} changed since it was cancelled")
        return None, None

    def _shown(self, job: Job, news: "StackUpdate | str") -> None:
        if isinstance(news, str):
            if news:
                self.said.emit(news)
            return
        if self._progress is not None:
            what = _PHASES.get(news.phase, "making smaller copies of")
            self._progress.show(news.n_done, news.n_tasks, f"{what} {job.whole.name}")
        if job.result is not None:
            _fill(job, job.result)
            if news.region is not None:
                job.result.overlay.touched(job.region(news.region))

    def _done(self, job: Job, whole: bool) -> None:
        self._end(whole)
        if whole and job.result is None:
            self._show_file(job)
        self.said.emit(_words(job, whole))

    def _show_file(self, job: Job) -> None:
        """Show a result that is too large for a layer of its own as it lies in its file."""
        image = open_image(str(job.path))
        layout = layout_of(job.order, job.whole)
        axes = _layer_axes(job.order.choice, layout)
        stored = find_levels(image)
        data = [as_layer(each, image.axes, axes) for each in lazy_levels(image, stored)]
        result = self._results.open(job.order, layout, data if len(data) > 1 else data[0])
        result.overlay.layer.metadata["provenance"] = dict(stored.provenance)

    def _broken(self, failure: Failure) -> None:
        self._end(False)
        self._failed(failure)

    def _end(self, whole: bool) -> None:
        job, self._job = self._job, None
        self._close_progress()
        if job is not None and job.result is not None:
            if whole:  # of a file there may have been nothing left to do
                _fill(job, job.result)
            _keep_begun(job, job.result, whole)
            if job.result.overlay.is_shown:
                job.result.overlay.refresh()
        self.changed.emit()

    def _close_progress(self) -> None:
        progress, self._progress = self._progress, None
        if progress is not None:
            progress.close()


def _keep_begun(job: Job, result: Result, whole: bool) -> None:
    """Remember what a whole stack can be gone on with; a file remembers it by itself."""
    if job.is_whole and job.fresh is None:
        result.begun = None
        if job.plan and job.is_left and not whole:
            data = result.overlay.layer.data
            result.begun = Begun(job.order, job.plan, job.n_done, data, job.sample)


def _fill(job: Job, result: Result) -> None:
    """Let the layer show what is made once there is something: what is refused leaves it as it was."""
    if job.fresh is not None:
        data, result.numbers = job.fresh
        result.overlay.begin_anew(data)
        job.fresh = None
    if job.is_whole:
        result.overlay.layer.metadata["provenance"] = job.provenance


def _numbered(sink: Sink, layout: ResultLayout, numbers: Numbers) -> Sink:
    return NumberedSink(sink, numbers, numbers.highest) if layout.kind == "objects" else sink


def _layer_axes(choice: ImageChoice, layout: ResultLayout) -> str:
    """Axes of a layer; C are the classes of probabilities, c the one place for all channels."""
    return "C" * (layout.kind == "probabilities") + choice.plane_axes.replace("C", "c") + "YX"


def _layer_shape(choice: ImageChoice, layout: ResultLayout) -> tuple[int, ...]:
    classes = (len(layout.classes),) if layout.kind == "probabilities" else ()
    return (*classes, *choice.annotation_shape)


def _is_empty(job: Job) -> bool:
    """Tell whether objects were wanted in a layer and none was found."""
    result = job.result
    if result is None or job.path is not None or result.layout.kind != "objects":
        return False
    if job.is_whole:
        return result.numbers.highest == 0
    plane: NDArray[Any] = result.overlay.layer.data[job.region(())]
    return not plane.any()


def _words(job: Job, whole: bool) -> str:
    """Say how it ended."""
    name = job.whole.name if job.is_whole else f"this slice of {job.whole.name}"
    if whole:
        words = f"{name} is segmented" + (f" and saved as {job.path.name}" if job.path else "")
        return "; ".join([words + NO_OBJECT * _is_empty(job), *job.notes])
    if job.path:
        if job.folder is None or not job.folder.exists():
            return f"segmenting {name} was cancelled before anything was saved"
        return f"segmenting {name} was cancelled: choose {job.path.name} again to go on where it stopped"
    if job.plan and job.is_left:
        there = amount(job.plan, job.n_done)
        return f"segmenting {name} was cancelled: {there} are there, Whole stack goes on with the others"
    if job.is_whole and job.result and job.result.layout.kind == "objects" and job.order.model.axes == "ZYX":
        return f"segmenting {name} was cancelled: a layer has objects of whole volumes only; a file goes on"
    if job.is_whole and job.order.objects.link:
        return f"segmenting {name} was cancelled: linked objects are begun anew in a layer; a file goes on"
    return f"segmenting {name} was cancelled"
