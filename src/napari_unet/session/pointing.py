"""The mouse acts on objects instead of painting: it accepts, rejects, divides and merges them."""

from collections.abc import Callable, Generator, Iterable, Sequence
from typing import Any

import numpy as np
from napari.components import ViewerModel
from napari.layers import Labels

from napari_unet.session.accepting import accept, reject
from napari_unet.session.annotated import Annotated
from napari_unet.session.desk import Desk
from napari_unet.session.dividing import merge, split
from napari_unet.session.images import ImageChoice, Index
from napari_unet.session.overlays import is_cut
from napari_unet.session.picking import Edit, Plane, Spot, along, is_click, is_inside
from napari_unet.session.state import Tool

CURSORS: dict[Tool, str] = {"accept": "pointing", "split": "cross", "merge": "cross"}


class Pointing:
    """A tool for the mouse on the annotation layer, until another layer or mode of napari is taken up.

    `predicted` tell the layers that hold objects of an image. `act` does what it is given, which returns
    words for the user. `goes_through` tells whether objects go on from slice to slice, as in a 3D network.
    """

    def __init__(
        self,
        viewer: ViewerModel,
        desk: Desk,
        predicted: Sequence[Callable[[ImageChoice], Iterable[Labels]]],
        act: Callable[[Callable[[], str]], object],
        goes_through: Callable[[], bool],
    ) -> None:
        self._viewer, self._desk, self._predicted, self._act = viewer, desk, predicted, act
        self._goes_through = goes_through
        self._tool: Tool = ""
        self._layer: Labels | None = None

    @property
    def tool(self) -> Tool:
        """What a click or a stroke does, "" where napari's own mode decides."""
        image = self._desk.current
        if image is None or image.task != "objects" or image.layer.mode != "pan_zoom":
            return ""
        return self._tool if self._viewer.layers.selection.active is image.layer else ""

    def follow(self) -> None:
        """Put the tool down for good once the user has taken up something else."""
        if self._tool and not self.tool:
            self._put_down()

    def use(self, tool: Tool) -> None:
        """Take up a tool; taken up again, it gives the brush back."""
        if self._desk.task != "objects":
            raise ValueError("this is done to objects: choose the task Objects first")
        wanted: Tool = "" if tool == self.tool else tool
        self._put_down()
        layer = self._desk.annotate().layer
        layer.visible = True
        if wanted:
            self._tool, self._layer = wanted, layer
            layer.mode = "pan_zoom"
            layer.mouse_pan = tool == "accept"  # a stroke must not move the image
            layer.cursor = CURSORS[tool]
            if self._on_mouse not in layer.mouse_drag_callbacks:
                layer.mouse_drag_callbacks.append(self._on_mouse)

    def _put_down(self) -> None:
        """Give the mouse back to napari on the layer that had the tool."""
        self._tool = ""
        if self._layer is not None and self._layer.mode == "pan_zoom":  # other modes have set what is theirs
            self._layer.mouse_pan, self._layer.cursor = True, "standard"
        self._layer = None

    def _on_mouse(self, _: Labels, event: Any) -> Generator[None, None, None]:
        """Follow the mouse from press to release."""
        tool, pressed_at = self.tool, tuple(event.pos)
        if not tool or event.button != 1:
            return
        rejects, corners = "Shift" in event.modifiers, [tuple(event.position)]
        yield
        while event.type == "mouse_move":
            corners.append(tuple(event.position))
            yield
        if tool != "accept":
            self._act(lambda: self._stroke(tool, corners))
        elif is_click(pressed_at, event.pos):
            self._act(lambda: self._click(corners[0], rejects))

    def _click(self, position: Sequence[float], rejects: bool) -> str:
        image, index, (spot,) = self._at([position])
        annotation = image.plane(index)
        if not is_inside(spot, annotation.shape):
            raise ValueError("this is beside the image: click on a predicted object")
        layer = self._objects(image, index, [spot])
        predicted = _plane(layer, image, index)
        if rejects:
            return _paint(image, index, reject(annotation, predicted, spot))
        edit = accept(annotation, predicted, spot, self._desk.free_number(), self._beside(image, index))
        return _accept(image, index, edit, layer)

    def _stroke(self, tool: Tool, positions: Sequence[Sequence[float]]) -> str:
        image, index, corners = self._at(positions)
        annotation, free = image.plane(index), self._desk.free_number()
        spots = along(corners, annotation.shape)
        layer = self._objects(image, index, spots)
        divide = split if tool == "split" else merge
        edit = divide(annotation, _plane(layer, image, index), spots, free, self._beside(image, index))
        return _accept(image, index, edit, layer)

    def _beside(self, image: Annotated, index: Index) -> Sequence[Plane]:
        """Return the slices above and below, where objects go on from one to the next."""
        return image.beside(index) if self._goes_through() else ()

    def _at(self, positions: Sequence[Sequence[float]]) -> tuple[Annotated, Index, list[Spot]]:
        """Return the plane that is shown, and which of its pixels some places of the viewer are."""
        index, image = self._desk.shown_plane(), self._desk.at_hand()
        places = [np.round(image.layer.world_to_data(each))[-2:].astype(int).tolist() for each in positions]
        return image, index, [(row, column) for row, column in places]

    def _objects(self, image: Annotated, index: Index, spots: Sequence[Spot]) -> Labels | None:
        """Return the uppermost visible layer of predicted objects that has any at some pixels of a plane."""
        layers = self._viewer.layers
        there = (layer for layers_of in self._predicted for layer in layers_of(image.choice))
        visible = [layer for layer in there if layer in layers and layer.visible]
        for layer in sorted(visible, key=layers.index, reverse=True):
            plane = layer.data[index]
            if any(plane[spot] for spot in spots):
                return layer
        return None


def _plane(layer: Labels | None, image: Annotated, index: Index) -> Plane:
    if layer is None:
        return np.broadcast_to(np.zeros((), np.uint32), image.choice.annotation_shape[-2:])
    plane: Plane = layer.data[index]
    return plane


def _accept(image: Annotated, index: Index, edit: Edit, layer: Labels | None) -> str:
    """Paint what is accepted of a layer of predicted objects."""
    if layer is not None and is_cut(layer, index, edit, image.plane(index)):
        raise ValueError("only a part of this object is predicted: move it into view")
    return _paint(image, index, edit)


def _paint(image: Annotated, index: Index, edit: Edit) -> str:
    image.paint(index, *edit.places)
    return edit.words + " on this slice" * bool(index)
