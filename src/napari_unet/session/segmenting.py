"""Segment a plane or a whole stack in the background, into a layer that fills in as it goes."""

from collections.abc import Callable, Generator
from contextlib import nullcontext, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING, TypeAlias

from napari.components import ViewerModel
from napari.utils.colormaps import CyclicLabelColormap, DirectLabelColormap
from psygnal import Signal

from napari_unet.core.io import Image, create_output
from napari_unet.core.io.layout import Sink
from napari_unet.core.io.output import Output
from napari_unet.core.normalise import Intensity
from napari_unet.core.results import ArraySink, Kind, ResultLayout
from napari_unet.core.tiling import Region
from napari_unet.session.desk import is_same
from napari_unet.session.images import ImageChoice, Index, open_layers, zeros
from napari_unet.session.jobs import Failure, Start, failure
from napari_unet.session.overlays import Overlay, ScoreOverlay
from napari_unet.session.progress import Progress
from napari_unet.session.sinks import Both, NumberedSink, Numbers, PlaneSink, as_result, in_layer
from napari_unet.session.subimage import around_plane
from napari_unet.session.threads import leave_a_core

if TYPE_CHECKING:
    from napari_unet.core.modelfile import Model
    from napari_unet.core.stacks import SegmentConfig, StackUpdate

Colormap: TypeAlias = DirectLabelColormap | CyclicLabelColormap


@dataclass(eq=False)
class Result:
    """A segmentation in the viewer: its layer, and the name that we gave it."""

    choice: ImageChoice
    layout: ResultLayout
    overlay: Overlay
    name: str
    numbers: Numbers = field(default_factory=Numbers)

    def suits(self, choice: ImageChoice, layout: ResultLayout) -> bool:
        """Tell whether another result can be written here: not where the user renamed it, to keep it."""
        same = self.layout.kind == layout.kind and self.layout.dtype == layout.dtype
        n_classes = len(self.layout.classes), len(layout.classes)
        alike = same and (layout.kind != "probabilities" or n_classes[0] == n_classes[1])
        shape = choice.annotation_shape
        alike = alike and self.overlay.layer.data.shape[-len(shape) :] == shape  # else it was another image
        kept = self.overlay.is_shown and self.overlay.layer.name == self.name
        return alike and kept and is_same(self.choice, choice)


@dataclass(frozen=True, eq=False)
class Order:
    """What is to be segmented, with which model: what does not depend on how much of it.

    The intensities are those of the whole image, also where only a part is segmented.
    """

    model: "Model"
    choice: ImageChoice
    intensity: Intensity
    colormap: Colormap | None
    device: str = "auto"
    kind: Kind | None = None


@dataclass(frozen=True, eq=False)
class Job:
    """A segmentation that goes on; `region` tells where in its layer, if any, a region of the result lies."""

    order: Order
    whole: Image
    part: Image
    sink: Sink
    result: Result | None = None
    region: Callable[[Region], Region] = tuple
    output: Output | None = None
    cancelled: Event = field(default_factory=Event)


class Segmenting:
    """One segmentation at a time; its layer survives in the viewer, complete or not."""

    changed = Signal()
    said = Signal(str)

    def __init__(self, viewer: ViewerModel, start: Start, failed: Callable[[Failure], object]) -> None:
        self._viewer, self._start, self._failed = viewer, start, failed
        self._results: list[Result] = []
        self._job: Job | None = None
        self._progress: Progress | None = None
        self.threads: int | None = None

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
    ) -> None:
        """Segment one plane; the layer keeps what it has of the others."""
        order = Order(model, choice, intensity, colormap, device)
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
    ) -> None:
        """Segment all of an image, into a layer and, if there is a path, also into a file."""
        order = Order(model, choice, intensity, colormap, device, kind)
        self._begin(lambda: self._stack_job(order, path))

    def cancel(self) -> None:
        """Stop after the tile at work; what is done stays in the layer, and no file remains."""
        if self._job is not None:
            self._job.cancelled.set()

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
        result = self._result(order, part)
        data = result.overlay.layer.data
        place = (*(slice(i, i + 1) for i in index), *(slice(0, size) for size in data.shape[-2:]))
        result_axes = result.layout.axes
        sink = PlaneSink(as_result(data[place], axes.replace("C", "c"), result_axes), result_axes, z)
        return Job(order, whole, part, _numbered(sink, result), result, lambda _: place)

    def _stack_job(self, order: Order, path: Path | None) -> Job:
        whole = open_layers(order.choice)
        check_fit(order.model, whole)
        layout = _layout(order, whole)
        output = None if path is None else _output(path, layout, order.choice)
        try:
            data = zeros(_layer_shape(order.choice, layout), layout.dtype)
        except OSError:
            if output is None:
                raise
            return Job(order, whole, whole, output, output=output)  # too large to be shown
        result = self._result(order, whole)
        result.overlay.begin_anew(data)
        result.numbers.highest = 0
        axes = "C" * (layout.kind == "probabilities") + order.choice.plane_axes.replace("C", "c") + "YX"
        sink: Sink = ArraySink(as_result(data, axes, layout.axes))
        sink = _numbered(sink if output is None else Both((sink, output)), result)
        region = partial(in_layer, axes=axes, result_axes=layout.axes)
        return Job(order, whole, whole, sink, result, region, output)

    def _result(self, order: Order, image: Image) -> Result:
        """Return where results of this image and kind go: a layer of before, or a new one."""
        layout = _layout(order, image)
        self.drop_gone()
        found = next((each for each in self._results if each.suits(order.choice, layout)), None)
        if found is None:
            overlay = self._new_overlay(order, layout)
            found = Result(order.choice, layout, overlay, overlay.layer.name)
            self._results.append(found)
        elif layout.kind == "labels" and order.colormap is not None:
            found.overlay.layer.colormap = order.colormap
        found.layout = layout
        for each in self._results:  # one over another could not be told apart
            if is_same(each.choice, order.choice):
                each.overlay.layer.visible = each is found
        return found

    def drop_gone(self) -> None:
        """Forget results whose layers, or whose images, have been deleted."""
        layers = self._viewer.layers
        self._results = [
            each for each in self._results if each.overlay.is_shown and each.choice.layers[0] in layers
        ]

    def _new_overlay(self, order: Order, layout: ResultLayout) -> Overlay:
        name = order.choice.name
        if layout.kind == "probabilities":
            scores = f"{name} probabilities"
            return ScoreOverlay(self._viewer, order.choice, scores, len(layout.classes))
        colours = order.colormap if layout.kind == "labels" else None  # objects: napari's cycle
        return Overlay(self._viewer, order.choice, f"{name} segmentation", layout.dtype, colours)

    def _shown(self, job: Job, update: "StackUpdate") -> None:
        if self._progress is not None and not job.cancelled.is_set():
            self._progress.show(update.n_done, update.n_tasks)
        if job.result is not None and update.region is not None:
            job.result.overlay.touched(job.region(update.region))

    def _done(self, job: Job, whole: bool) -> None:
        self._end()
        self.said.emit(_words(job, whole))

    def _broken(self, failure: Failure) -> None:
        self._end()
        self._failed(failure)

    def _end(self) -> None:
        job, self._job = self._job, None
        progress, self._progress = self._progress, None
        if progress is not None:
            progress.close()
        if job is not None and job.result is not None and job.result.overlay.is_shown:
            job.result.overlay.refresh()
        self.changed.emit()


class Cancelled(Exception):
    """Ends a job inside its file's `with` block, so that nothing of the file remains."""


def work(job: Job, threads: int | None) -> Generator["StackUpdate", None, bool]:
    """Segment a tile at a time; tell whether it got to the end."""
    from napari_unet.core.stacks import segment_into  # torch

    leave_a_core(threads)
    order = job.order
    with suppress(Cancelled), job.output or nullcontext():
        for update in segment_into(order.model, job.part, job.sink, _config(order), order.intensity):
            yield update
            if job.cancelled.is_set():
                raise Cancelled
        return True
    return False


def _config(order: Order) -> "SegmentConfig":
    from napari_unet.core.stacks import SegmentConfig  # torch

    return SegmentConfig(kind=order.kind, device=order.device)


def _layout(order: Order, image: Image) -> ResultLayout:
    from napari_unet.core.stacks import result_layout  # torch

    return result_layout(order.model, image, _config(order))


def check_fit(model: "Model", image: Image) -> None:
    """Raise a ValueError, with what the user can do, where a model is not for images like this one."""
    n_channels = model.network.config.in_channels
    if image.n_channels != n_channels:
        raise ValueError(
            f"{image.name} has {image.n_channels} channels and the model was trained with {n_channels}: "
            "choose as many of them"
        )
    if model.axes == "ZYX" and "Z" not in image.axes:
        raise ValueError(f"{image.name} has no Z axis and the model is 3D: choose a volume, or train in 2D")


def _output(path: Path, layout: ResultLayout, choice: ImageChoice) -> Output:
    """Prepare a file; whoever chose the name has agreed to replace what was there, except the image."""
    sources = [Path(layer.source.path).resolve() for layer in choice.layers if layer.source.path]
    if path.resolve() in sources:
        raise FileExistsError(f"{path.name} is the image itself: choose another name")
    names = [label.name for label in layout.classes] if layout.kind == "probabilities" else ()
    image = layout.image
    return create_output(
        path,
        layout.shape,
        layout.dtype,
        axes=layout.axes,
        spacing=image.spacing,
        unit=image.unit,
        channels=names,
        overwrite=True,
    )


def _numbered(sink: Sink, result: Result) -> Sink:
    if result.layout.kind != "objects":
        return sink
    return NumberedSink(sink, result.numbers, result.numbers.highest)


def _layer_shape(choice: ImageChoice, layout: ResultLayout) -> tuple[int, ...]:
    classes = (len(layout.classes),) if layout.kind == "probabilities" else ()
    return (*classes, *choice.annotation_shape)


def _words(job: Job, whole: bool) -> str:
    """Say how it ended."""
    name = job.whole.name if job.part is job.whole else f"this slice of {job.whole.name}"
    file = job.output.path.name if job.output else ""
    if whole:
        hidden = "" if job.result else "; it is too large for a layer"
        return f"{name} is segmented" + (f" and saved as {file}" if file else "") + hidden
    kept = ": what is done stays in the layer" if job.result else ""
    return f"segmenting {name} was cancelled{kept}" + (f", {file} was not written" if file else "")
