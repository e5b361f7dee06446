"""What is predicted becomes annotation, to be corrected with the brush and learnt from."""

from collections.abc import Callable, Generator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.components import ViewerModel
from napari.layers import Shapes
from numpy.typing import NDArray

from napari_unet.core.normalise import Intensity
from napari_unet.core.targets import ClassLabel
from napari_unet.session.accepting import accepted_numbers
from napari_unet.session.annotated import Annotated
from napari_unet.session.desk import OURS, Desk
from napari_unet.session.images import ImageChoice, Index, open_layers, placement
from napari_unet.session.jobs import Jobs
from napari_unet.session.picking import BACKGROUND
from napari_unet.session.segmenting_job import check_fit
from napari_unet.session.sinks import PlaneSink, as_result
from napari_unet.session.subimage import around_plane
from napari_unet.session.teaching import Teaching
from napari_unet.session.threads import leave_a_core

if TYPE_CHECKING:
    from napari_unet.core.modelfile import Model

NOTHING_NEW = "nothing is annotated: nothing is predicted here, or it does not fit to what is painted already"
Box = tuple[slice, slice]
"""Rows and columns of a plane."""


class Correcting:
    """Take over predictions: what is unlabelled is painted as predicted, what is painted stays."""

    def __init__(self, viewer: ViewerModel, desk: Desk, teaching: Teaching, jobs: Jobs) -> None:
        self._viewer, self._desk, self._teaching, self._jobs = viewer, desk, teaching, jobs

    def take(self, then: Callable[[], object]) -> None:
        """Predict the plane that is shown, and paint it, or the part of it in the drawn box."""
        plane, image = self._desk.shown_plane(), self._desk.at_hand()
        box = drawn_box(self._viewer, image, plane)

        def predict(model: "Model") -> None:
            check_fit(model, open_layers(image.choice))
            intensity = self._teaching.intensity(image.choice)
            device = self._teaching.settings.device
            job = predict_plane(model, image.choice, plane, intensity, self._jobs.threads, device)
            self._jobs.run(job, lambda found: paint(model, found))

        def paint(model: "Model", predicted: NDArray[Any]) -> None:
            if not self._is_at_hand(image, predicted.shape):
                name = image.choice.name
                raise ValueError(f"{name} or its annotation has changed meanwhile: take the prediction again")
            values = self._values(model, image, plane, predicted, box)
            n_pixels = take_over(image, plane, values, box)
            forget_box(self._viewer)
            if image is self._desk.current:
                self._desk.annotate()  # the box may have been selected; now the brush is wanted
            words = f"{n_pixels} pixels are annotated as predicted: correct them with the brush"
            self._jobs.listener.said(words if n_pixels else NOTHING_NEW)
            then()

        self._teaching.with_model(image.choice, predict)

    def _values(
        self, model: "Model", image: Annotated, plane: Index, predicted: NDArray[Any], box: Box | None
    ) -> NDArray[np.int64]:
        """Return what is painted where a model has predicted a plane; 0 where nothing is."""
        if model.task == "classes":
            here = {each.annotation_value for each in self._desk.labels}  # others have been removed
            return as_annotation(predicted, [each for each in model.classes if each.annotation_value in here])
        highest = max((v for index in image.planes for v in image.values(index)), default=BACKGROUND)
        slices = image.beside(plane) if model.axes == "ZYX" else []
        found = predicted if box is None else whole_in(predicted, box)
        # objects of a whole stack have high numbers on each of its planes: no table as long as those
        few = np.unique(found, return_inverse=True)[1].reshape(found.shape) + int(found.min(initial=1) > 0)
        numbers: NDArray[np.int64] = accepted_numbers(image.plane(plane), few, slices, highest)[few]
        return numbers

    def _is_at_hand(self, image: Annotated, shape: tuple[int, ...]) -> bool:
        """Tell whether an image is still annotated here, and has planes of this shape."""
        is_there = image in self._desk.images and image.layer in self._viewer.layers
        return is_there and image.fits and image.choice.annotation_shape[-2:] == shape

    def draw_box(self) -> None:
        """Let the user draw the box that limits what is taken over."""
        draw_box(self._viewer, self._desk.chosen())


def predict_plane(
    model: "Model",
    choice: ImageChoice,
    index: Index,
    intensity: Intensity,
    threads: int | None,
    device: str,
) -> Generator[None, None, NDArray[Any]]:
    """Return the labels, or objects, of one plane (Y, X)."""
    from napari_unet.core.arrays import segment_into  # torch
    from napari_unet.core.layouts import SegmentConfig, result_layout  # torch

    leave_a_core(threads)
    at = dict(zip(choice.plane_axes, index, strict=True))
    part, z = around_plane(open_layers(choice), at.get("T", 0), at.get("Z", 0), model.network)
    config = SegmentConfig(device=device)
    layout = result_layout(model, part, config)
    found = np.zeros((*(1 for _ in index), *choice.annotation_shape[-2:]), layout.dtype)
    plane = as_result(found, choice.plane_axes.replace("C", "c") + "YX", layout.axes)
    for _ in segment_into(model, part, PlaneSink(plane, layout.axes, z), config, intensity):
        yield
    found_plane: NDArray[Any] = found[(0,) * len(index)]
    return found_plane


def as_annotation(predicted: NDArray[Any], labels: Sequence[ClassLabel]) -> NDArray[np.int64]:
    """Map the classes that a model writes to the values that are painted; 0 for those that have none.

    Examples
    --------
    >>> as_annotation(np.array([0, 1, 2]), [ClassLabel(1, 0, "background"), ClassLabel(3, 1, "cell")])
    array([1, 3, 0])
    """
    annotation = np.zeros(predicted.shape, np.int64)
    for label in labels:
        annotation[predicted == label.output_value] = label.annotation_value
    return annotation


def whole_in(predicted: NDArray[Any], box: Box) -> NDArray[Any]:
    """Leave out the objects that go on beyond a box: half of one would teach that it ends there.

    Examples
    --------
    >>> whole_in(np.array([[1, 1, 0, 2, 2, 3]]), (slice(0, 1), slice(1, 5)))
    array([[0, 0, 0, 2, 2, 0]])
    """
    outside = np.ones(predicted.shape, bool)
    outside[box] = False
    whole: NDArray[Any] = np.where(np.isin(predicted, np.unique(predicted[outside])), 0, predicted)
    if predicted[box].any() and not whole.any():
        raise ValueError("no object is whole in the box: draw a larger one")
    return whole


def take_over(annotated: Annotated, index: Index, values: NDArray[Any], box: Box | None) -> int:
    """Paint values on what is unlabelled, in the box or the whole plane, and count the pixels; undo works."""
    inside = box or (slice(None), slice(None))
    free = np.zeros(values.shape, bool)
    free[inside] = np.asarray(annotated.plane(index))[inside] == 0
    free &= values != 0
    if values[free].max(initial=0) > np.iinfo(annotated.layer.dtype).max:
        raise ValueError(
            f"{annotated.layer.name} cannot hold {values[free].max()}: take a part of it in a box"
        )
    places = np.nonzero(free)
    outer = tuple(np.full_like(places[0], at) for at in index)
    if len(places[0]):
        annotated.layer.data_setitem((*outer, *places), values[free].astype(annotated.layer.dtype))
    return len(places[0])


def draw_box(viewer: ViewerModel, choice: ImageChoice) -> Shapes:
    """Return a layer on which a box can be drawn, ready for it; the one of before is gone."""
    forget_box(viewer)
    placing = placement(choice)
    shapes = Shapes(
        ndim=len(choice.annotation_shape),
        name="box",
        metadata={OURS: "box"},
        face_color="transparent",
        edge_color="white",
        edge_width=1,
        **placing,
    )
    viewer.add_layer(shapes)
    shapes.mode = "add_rectangle"
    return shapes


def drawn_box(viewer: ViewerModel, annotated: Annotated, index: Index) -> Box | None:
    """Return the last box that was drawn on this plane, None where there is none."""
    for layer in [layer for layer in viewer.layers if layer.metadata.get(OURS) == "box"]:
        for corners in reversed(layer.data):  # (n, ndim)
            if tuple(np.round(corners[0][:-2]).astype(int)) == index:
                return _inside(corners[:, -2:], annotated.choice.annotation_shape[-2:])
    return None


def _inside(corners: NDArray[Any], shape: Sequence[int]) -> Box | None:
    first, last = np.round(corners.min(0)).astype(int), np.round(corners.max(0)).astype(int)
    rows, columns = (
        slice(max(0, int(a)), min(n, int(b) + 1)) for a, b, n in zip(first, last, shape, strict=True)
    )
    is_empty = rows.start >= rows.stop or columns.start >= columns.stop
    return None if is_empty else (rows, columns)


def forget_box(viewer: ViewerModel) -> None:
    """Take the box away once it has been used."""
    for layer in [layer for layer in viewer.layers if layer.metadata.get(OURS) == "box"]:
        viewer.layers.remove(layer)
