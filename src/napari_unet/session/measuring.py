"""Objects are measured in the background; their table becomes the features of their layer."""

from collections.abc import Callable, Generator
from contextlib import AbstractContextManager, closing
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.components import ViewerModel
from napari.layers import Labels, Shapes

from napari_unet.core.io import Image
from napari_unet.session.boxes import make_boxes
from napari_unet.session.classes import BACKGROUND
from napari_unet.session.desk import OURS, Desk, is_same
from napari_unet.session.images import ImageChoice, full_shape, labels_axes, open_layers, open_objects
from napari_unet.session.jobs import Failure, Jobs
from napari_unet.session.measured import Measured, n_undone
from napari_unet.session.picking import is_click
from napari_unet.session.progress import Progress
from napari_unet.session.segmenting import Segmenting
from napari_unet.session.state import MeasureState

if TYPE_CHECKING:
    from napari_unet.core.measuring import MeasureUpdate, Table

NOTHING = "there are no objects to measure: segment, or select a Labels layer of objects"


@dataclass(eq=False)
class _Job:
    """A measurement that goes on; `changed` tells that its objects are no longer those of the beginning."""

    layer: Labels
    objects: Image
    image: Image | None
    planes: bool
    data: Any = None
    n_undone: int = 0
    changed: bool = False
    cancelled: Event = field(default_factory=Event)

    def __post_init__(self) -> None:
        self.data, self.n_undone = self.layer.data, n_undone(self.layer)

    def look(self, written: Labels | None) -> None:
        """Notice another array, what was undone, and what is being written."""
        now = self.layer
        is_same = now.data is self.data and n_undone(now) == self.n_undone and now is not written
        self.changed |= not is_same


class Measuring:
    """One measurement at a time; what was measured stays as long as its layer is not changed.

    `is_prediction` tells the layers that change while a network is trained. `verb` tells why something cannot
    be done, and what has changed by it.
    """

    def __init__(
        self,
        viewer: ViewerModel,
        desk: Desk,
        segmenting: Segmenting,
        is_prediction: Callable[[Labels], bool],
        jobs: Jobs,
        verb: Callable[[], AbstractContextManager[None]],
    ) -> None:
        self._viewer, self._desk, self._segmenting = viewer, desk, segmenting
        self._is_prediction, self._jobs, self._verb = is_prediction, jobs, verb
        self._job: _Job | None = None
        self._progress: Progress | None = None
        self._measured: dict[Labels, Measured] = {}

    @property
    def state(self) -> MeasureState:
        """What the dock shows."""
        layer, job = self._layer(), self._job
        found = self._measured.get(layer) if layer else None
        return MeasureState(
            layer=str(layer.name) if layer else "",
            why_not=self._why_not(layer),
            count=found.count if found else "",
            has_planes=layer is not None and "Z" in _axes(layer, self._image_of(layer)),
            busy=job is not None,
            ending=job is not None and job.cancelled.is_set(),
        )

    def measure(self, planes: bool = False) -> None:
        """Measure the objects of the selected Labels layer, or else of the uppermost result."""
        with self._verb():
            layer = self._layer()
            if layer is None or (why_not := self._why_not(layer)):
                raise ValueError(NOTHING if layer is None else why_not)
            choice = self._image_of(layer)
            axes = _axes(layer, choice)
            image = None if choice is None else _open(choice)
            is_painted = layer.metadata.get(OURS) == "annotation"
            objects = open_objects(layer, axes, BACKGROUND if is_painted else 0)
            self._begin(_Job(layer, objects, image, planes and "Z" in axes))

    def cancel(self) -> None:
        """Stop after the block at work."""
        if self._job is not None and not self._job.cancelled.is_set():
            self._job.cancelled.set()
            self._close_progress()

    def save(self, path: Path) -> None:
        """Write the table; whoever chose the name has agreed to replace what was there."""
        with self._verb():
            found = self._found()
            words = f"the table of {found.layer.name} is saved as {path.name}"
            self._jobs.run(_save(found.table, path), lambda _: self._jobs.listener.said(words))

    def show_boxes(self) -> None:
        """Add a layer with the bounding boxes of the measured objects."""
        with self._verb():
            found = self._found()
            place = found.place(self._viewer.dims.point)
            self._jobs.run(make_boxes(found, place), partial(self._show_boxes, found))

    def follow(self) -> None:
        """Show the rows of the place that the viewer is at; forget what is not so any more."""
        job, written = self._job, self._segmenting.at_work
        if job is not None:
            job.look(written)
        for layer, found in tuple(self._measured.items()):
            if layer not in self._viewer.layers:
                del self._measured[layer]
            elif layer is written or not found.is_so_still:
                self._forget(layer)
            else:
                found.show(self._viewer.dims.point)

    def _layer(self) -> Labels | None:
        """Return what would be measured: what is selected, a result, or else what is painted."""
        layers, here = self._viewer.layers, self._desk.choice
        active = layers.selection.active
        if isinstance(active, Labels) and active.metadata.get(OURS) != "annotation":
            return active
        every = self._segmenting.objects().items()
        results = (layer for layer, choice in every if here and is_same(choice, here))
        painted = _painted_objects(self._desk)
        found = {*results, *self._measured} - {painted}  # it would lie over every result
        there = [each for each in found if each in layers and each.visible]
        return max(there, key=layers.index, default=painted)

    def _image_of(self, layer: Labels) -> ImageChoice | None:
        """Return the image beneath: that of a result, or the chosen one if it fits."""
        choice = self._segmenting.objects().get(layer, self._desk.choice)
        return choice if choice and choice.annotation_shape == full_shape(layer) else None

    def _why_not(self, layer: Labels | None) -> str:
        if layer is None:
            return NOTHING
        if self._job is not None:
            return "it is measuring already"
        if not _axes(layer, self._image_of(layer)):
            return f"{layer.name} has {layer.ndim} axes, more than time, z, y and x: select a part of it"
        if self._is_prediction(layer):
            return "the prediction changes while you train: segment this slice first"
        is_written = layer is self._segmenting.at_work
        return f"{layer.name} is being segmented" if is_written else ""

    def _found(self) -> Measured:
        layer = self._layer()
        if layer is None or layer not in self._measured:
            raise ValueError("nothing is measured: press Measure first")
        return self._measured[layer]

    def _begin(self, job: _Job) -> None:
        self._job = job
        self._progress = Progress(f"measuring {job.layer.name}", self.cancel, "%")
        self._listen(job.layer)
        self._jobs.run(measure(job), partial(self._done, job), partial(self._shown, job), self._broken)

    def _shown(self, job: _Job, news: "MeasureUpdate") -> None:
        if self._progress is not None:
            share = (news.scene + news.n_done / max(1, news.n_pixels)) / news.n_scenes
            what = {"crossing": "measuring large objects of"}.get(news.phase, "measuring")
            self._progress.show(int(100 * share), 100, f"{what} {job.layer.name}")

    def _done(self, job: _Job, table: "Table | None") -> None:
        self._end()
        with self._verb():
            name = job.layer.name
            if table is None:
                self._jobs.listener.said(f"measuring {name} was cancelled")
                return
            _check(job, table, self._viewer)
            found = Measured(job.layer, job.objects.axes, table)
            self._measured[job.layer] = found
            found.show(self._viewer.dims.point)
            self._viewer.layers.selection.active = job.layer  # clicks and napari's table go to it
            self._jobs.listener.said(f"{name}: {found.count}, {_about(job, found)}")

    def _broken(self, failure: Failure) -> None:
        self._end()
        self._jobs.listener.failed(failure)

    def _end(self) -> None:
        self._job = None
        self._close_progress()

    def _close_progress(self) -> None:
        progress, self._progress = self._progress, None
        if progress is not None:
            progress.close()

    def _show_boxes(self, found: Measured, boxes: Shapes) -> None:
        layers = self._viewer.layers
        if found.layer not in layers:
            return
        selected, mine = set(layers.selection), {OURS: "boxes"}.items()
        for old in [each for each in layers if each.name == boxes.name and mine <= each.metadata.items()]:
            layers.remove(old)
        layers.insert(layers.index(found.layer) + 1, boxes)
        layers.selection = selected & set(layers)
        self._jobs.listener.said(f"{boxes.name}: {boxes.nshapes:,} boxes{_where(found, boxes)}")

    def _listen(self, layer: Labels) -> None:
        """Hear of clicks and of changes; napari connects a method once only."""
        if self._on_mouse not in layer.mouse_drag_callbacks:
            layer.mouse_drag_callbacks.append(self._on_mouse)
        layer.events.selected_label.connect(self._on_selected)
        layer.events.paint.connect(self._on_painted)

    def _on_mouse(self, layer: Labels, event: Any) -> Generator[None, None, None]:
        """Select the object that is clicked on, and say its row."""
        pressed_at, position = tuple(event.pos), event.position
        if layer.mode != "pan_zoom" or layer not in self._measured or event.button != 1:
            return
        yield
        while event.type == "mouse_move":
            yield
        if not is_click(pressed_at, event.pos):
            return
        looks = {"view_direction": event.view_direction, "dims_displayed": list(event.dims_displayed)}
        value = layer.get_value(position, **looks, world=True)
        label = int((value[1] if layer.multiscale else value) or 0)
        if label and label == layer.selected_label:
            self._say_row(layer)
        elif label:
            layer.selected_label = label

    def _on_selected(self, event: Any) -> None:
        """Say the row of an object that was selected by a click, in napari's table or by its picker."""
        self._say_row(event.source)

    def _say_row(self, layer: Labels) -> None:
        found = self._measured.get(layer)
        if found is not None and layer.selected_label:
            self._jobs.listener.said(found.words(int(layer.selected_label)))

    def _on_painted(self, event: Any) -> None:
        layer = event.source
        if self._job is not None and self._job.layer is layer:
            self._job.changed = True
        if layer in self._measured:
            self._forget(layer)
            self._jobs.listener.said(f"{layer.name} changed since it was measured: measure it again")

    def _forget(self, layer: Labels) -> None:
        del self._measured[layer]
        layer.features = {}


def measure(job: _Job) -> "Generator[MeasureUpdate, None, Table | None]":
    """Measure a block at a time; None where it was cancelled."""
    from napari_unet.core.measuring import measure_objects  # scikit-image

    with closing(measure_objects(job.objects, job.image, planes=job.planes)) as updates:
        while not job.cancelled.is_set():
            try:
                yield next(updates)
            except StopIteration as end:
                table: Table = end.value
                return table
    return None


def _save(table: "Table", path: Path) -> Generator[None, None, None]:
    from napari_unet.core.measuring import write_table

    yield
    write_table(table, path, overwrite=True)


def _painted_objects(desk: Desk) -> Labels | None:
    """Return the chosen image's annotation layer where it is shown and holds objects."""
    image = desk.current if desk.task == "objects" else None
    if image is None or not image.layer.visible:
        return None
    return image.layer if any(image.values(index) - {BACKGROUND} for index in image.planes) else None


def _open(choice: ImageChoice) -> Image:
    """Return an image with all of its channels; a single one needs no name in the columns."""
    image = open_layers(replace(choice, channels=None))
    return image if image.n_channels > 1 else replace(image, channels=("",))


def _axes(layer: Labels, choice: ImageChoice | None) -> str:
    return labels_axes(layer) if choice is None else f"{choice.plane_axes}YX"


def _check(job: _Job, table: "Table", viewer: ViewerModel) -> None:
    """Raise a ValueError where there is nothing to show."""
    name = job.layer.name
    if job.layer not in viewer.layers:
        raise ValueError(f"{name} was deleted while it was measured: measure another layer")
    job.look(None)
    if job.changed:
        raise ValueError(f"{name} changed while it was measured: measure it again")
    if not len(table["label"]):
        raise ValueError(f"{name} holds no object, all its values are 0: measure another layer")


def _about(job: _Job, found: Measured) -> str:
    if found.is_flat:
        return "all in one slice each: tick Slice by slice for their areas"
    if job.image is None:
        return "without intensities: no image of its shape is chosen"
    return f"with the intensities of {job.image.name}"


def _where(found: Measured, boxes: Shapes) -> str:
    outer = np.array([corners[0] for corners in boxes.data])[:, : len(found.axes) - 2]
    has_one_place = found.layer.ndim > 2 and len(boxes.data) and (outer == outer[0]).all()
    return " on this slice only" if has_one_place else ""
