"""Layers over an image that we write: what is predicted there, and what its pixels weigh in the training."""

from collections.abc import Callable, Mapping
from time import monotonic
from typing import Any

import numpy as np
from napari.components import ViewerModel
from napari.layers import Image, Labels, Layer
from napari.utils.colormaps import CyclicLabelColormap, DirectLabelColormap
from napari.utils.transforms import Affine
from numpy.typing import DTypeLike, NDArray

from napari_unet.core.tiling import Region
from napari_unet.session.desk import OURS, is_there
from napari_unet.session.images import ImageChoice, Index, placement, zeros
from napari_unet.session.jobs import Failure, Start
from napari_unet.session.latest import Latest
from napari_unet.session.numbering import join_pieces, numbered_as_before, part_pieces, settle_numbers
from napari_unet.session.picking import Edit, Plane
from napari_unet.session.views import Place
from napari_unet.session.weighing import Wish, weigh

OPACITY = 0.4
BRIGHT = 11.0
"""The default w0 on top of a class: so much is shown bright, and gaps stand out from what weighs 1."""
PIECES = "predicted pieces"
"""Key in the metadata of a layer of objects: the view of the latest ones, and its pieces so far."""
REST = 10
"""In 3D a refresh loads the whole volume: so many times its own duration pass before the next one."""


class Overlay:
    """Labels over an image, just above it: a prediction, or a segmentation.

    It is ours to write and not to be edited. The user may hide, rename, move or delete its layer at any time;
    what is written afterwards is kept, and seen where there still is a layer. `data` that are given are those
    of a file: they are shown, and nothing is written.
    """

    def __init__(
        self,
        viewer: ViewerModel,
        choice: ImageChoice,
        name: str,
        dtype: DTypeLike,
        colormap: DirectLabelColormap | CyclicLabelColormap | None = None,
        data: Any = None,
    ) -> None:
        self.is_file = data is not None
        data = data if self.is_file else zeros(choice.annotation_shape, dtype, sparse=True)
        layer = Labels(data, name=name, opacity=OPACITY, metadata={OURS: "overlay"}, **placement(choice))
        if colormap is not None:
            layer.colormap = colormap
        self._show(viewer, choice, layer)

    def _show(self, viewer: ViewerModel, choice: ImageChoice, layer: Layer) -> None:
        self._viewer, self.layer = viewer, layer
        self._rests_until = 0.0
        layer.editable = False
        insert_above(viewer, choice, layer)

    @property
    def is_shown(self) -> bool:
        """Whether the user has left it in the viewer."""
        return self.layer in self._viewer.layers

    def write(self, region: Region, values: NDArray[Any]) -> None:
        """Store values at a region, one slice for each axis of the layer, and show them if in sight."""
        self.layer.data[region] = values
        self.touched(region)

    def plane(self, index: Index) -> NDArray[Any]:
        """Return the plane (Y, X) at this index: a view."""
        plane: NDArray[Any] = self.layer.data[(..., *index, slice(None), slice(None))]
        return plane

    def clear(self) -> None:
        """Show nothing, until something is written."""
        self.begin_anew(zeros(self.layer.data.shape, self.layer.data.dtype, sparse=True))

    def begin_anew(self, data: NDArray[Any]) -> None:
        """Show another array from now on; the one before stays with whoever writes to it still."""
        self.layer.data = data
        self.layer.editable = False  # new data makes a layer editable

    def touched(self, region: Region) -> None:
        """Show what has been written to a region, if that is in sight."""
        resting = self._viewer.dims.ndisplay == 3 and monotonic() < self._rests_until
        if not resting and self._sees(region):
            self.refresh()

    def refresh(self) -> None:
        """Show what has been written; neither extent, thumbnail nor highlight change by that."""
        began = monotonic()
        self.layer.refresh(extent=False, thumbnail=False, highlight=False)
        self._rests_until = began + (1 + REST) * (monotonic() - began)

    def _sees(self, region: Region) -> bool:
        """Tell whether a region meets the slice that the viewer shows."""
        if not self.is_shown:
            return False
        dims, layer = self._viewer.dims, self.layer
        displayed = {axis - dims.ndim + layer.ndim for axis in dims.displayed}
        places = np.round(layer.world_to_data(dims.point))
        return all(
            axis in displayed or place in range(*part.indices(size))
            for axis, (place, part, size) in enumerate(zip(places, region, layer.data.shape, strict=True))
        )


class ObjectsOverlay(Overlay):
    """Objects over an image, each with a number and a colour that it keeps from prediction to prediction."""

    def __init__(self, viewer: ViewerModel, choice: ImageChoice, name: str) -> None:
        super().__init__(viewer, choice, name, np.uint32)
        self._above = self._highest = 0
        self.layer.metadata[PIECES] = None, []

    def show(self, place: Place, view: Place, found: NDArray[Any]) -> None:
        """Show the objects (Y, X) that were found in a place, which is a piece of a view."""
        plane = self.plane(place.index)[slice(*view.rows), slice(*view.columns)]
        rows, columns = (
            (span[0] - whole[0], span[1] - whole[0])
            for span, whole in ((place.rows, view.rows), (place.columns, view.columns))
        )
        piece = plane[slice(*rows), slice(*columns)]
        if view != self.layer.metadata[PIECES][0]:  # what lies beyond this view keeps its numbers
            self._above = max(self._above, self._highest)
        top = int(plane.max(initial=0))
        piece[...] = numbered_as_before(found, piece, top)
        part_pieces(plane, rows, columns)
        join_pieces(plane, rows, columns)
        settle_numbers(plane, top, self._above)
        self._highest = max(self._highest, int(plane.max(initial=0)))
        self._note(place, view)
        self.touched(view.region)

    @property
    def is_clear(self) -> bool:
        """Whether nothing has been predicted since it was cleared."""
        return self.layer.metadata[PIECES][0] is None

    def clear(self) -> None:
        """Show nothing, until something is written."""
        super().clear()
        self._above = self._highest = 0
        self.layer.metadata[PIECES] = None, []

    def _note(self, place: Place, view: Place) -> None:
        """Remember the pieces of this view: what was found beyond it before is of other objects."""
        before, places = self.layer.metadata[PIECES]
        known = [each for each in places if before == view and each != place]
        self.layer.metadata[PIECES] = view, [*known, place]


def is_cut(layer: Labels, index: Index, edit: Edit, annotation: Plane) -> bool:
    """Tell whether objects of a layer are accepted that may go on beyond what is predicted of a plane."""
    if PIECES not in layer.metadata:  # a segmentation is whole
        return False
    view, places = layer.metadata[PIECES]
    known = [(slice(*each.rows), slice(*each.columns)) for each in places if view.index == index]
    return edit.is_cut(annotation, layer.data[index], known)


class ScoreOverlay(Overlay):
    """Probabilities over an image: one more axis before the others, one position for each class."""

    def __init__(
        self, viewer: ViewerModel, choice: ImageChoice, name: str, n_classes: int, data: Any = None
    ) -> None:
        self.is_file = data is not None
        shape = n_classes, *choice.annotation_shape
        layer = Image(
            data if self.is_file else zeros(shape, np.float32, sparse=True),
            rgb=False,
            name=name,
            contrast_limits=(0, 1),
            colormap="viridis",
            blending="additive",
            metadata={OURS: "overlay"},
            **_with_classes(placement(choice)),
        )
        self._show(viewer, choice, layer)


class WeightMap:
    """The loss weights of one plane, over that plane only: nothing shows where the viewer moves on.

    What is wanted is computed in the background; unlabelled pixels weigh 0, which is transparent.
    """

    def __init__(self, viewer: ViewerModel, start: Start, failed: Callable[[Failure], object]) -> None:
        self._viewer = viewer
        self._weighing = Latest(start, weigh, self._show, failed)
        self._choice: ImageChoice | None = None
        self.layer: Image | None = None

    @property
    def is_deleted(self) -> bool:
        """Whether the user has deleted the layer, and so wants no weight map."""
        return self.layer is not None and self.layer not in self._viewer.layers

    def update(self, wish: Wish) -> None:
        """Show these weights soon; nothing happens where they are what was wanted last."""
        self._weighing.ask(wish)

    def remove(self) -> None:
        """Take the layer away, and forget what was wanted."""
        self._weighing.forget()
        if self.layer in self._viewer.layers:
            self._viewer.layers.remove(self.layer)
        self.layer = self._choice = None

    def _show(self, wish: Wish, weights: NDArray[np.float32]) -> None:
        if self.is_deleted or not is_there(wish.choice, self._viewer.layers):
            return
        data = weights[(np.newaxis,) * len(wish.index)]  # (1, …, 1, Y, X): one plane of the image
        placing = _at_plane(placement(wish.choice), wish.index)
        limits = (0.0, float(weights.max(initial=BRIGHT)))
        if self.layer is None or self._choice is not wish.choice:
            self._replace(wish.choice, data, placing)
        assert self.layer is not None
        self.layer.translate = placing["translate"]
        self.layer.data = data
        self.layer.contrast_limits_range = self.layer.contrast_limits = limits

    def _replace(self, choice: ImageChoice, data: NDArray[np.float32], placing: Mapping[str, Any]) -> None:
        if self.layer is not None:
            self._viewer.layers.remove(self.layer)
        self._choice = choice
        self.layer = Image(
            data,
            rgb=False,
            name="weight map",
            colormap="magma",
            blending="additive",
            metadata={OURS: "weight map"},
            **placing,
        )
        insert_above(self._viewer, choice, self.layer)


def insert_above(viewer: ViewerModel, choice: ImageChoice, layer: Layer) -> None:
    """Add a layer just above its image, beneath what is painted; whatever is selected stays so."""
    layers = viewer.layers
    selected = set(layers.selection)
    places = [layers.index(each) + 1 for each in choice.layers if each in layers]
    layers.insert(max(places, default=0), layer)
    layers.selection.update(selected)
    layers.selection.intersection_update(selected)


def _at_plane(placing: Mapping[str, Any], index: Index) -> dict[str, Any]:
    """Move where a whole image lies so that a single plane lies where it belongs."""
    return {**placing, "translate": _inner(placing)((*index, 0, 0))}


def _with_classes(placing: Mapping[str, Any]) -> dict[str, Any]:
    """Add an axis before the others to where an image lies."""
    inner = _inner({**placing, "scale": np.ones(len(placing["scale"]))})  # all that follows the scale
    affine = np.eye(len(placing["scale"]) + 2)
    affine[1:, 1:] = placing["affine"] @ inner.affine_matrix
    return {
        "scale": (1, *placing["scale"]),
        "affine": affine,
        "units": ("pixel", *placing["units"]),
        "axis_labels": ("class", *placing["axis_labels"]),
    }


def _inner(placing: Mapping[str, Any]) -> Affine:
    """Return the part of a layer's transform that napari applies before its `affine`."""
    return Affine(**{key: placing[key] for key in ("scale", "translate", "rotate", "shear")})
