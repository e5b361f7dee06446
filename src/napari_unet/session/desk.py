"""What is annotated: the chosen image, the task and its classes, and the annotation layer of every image."""

from collections.abc import Sequence
from contextlib import suppress

import numpy as np
from napari.components import ViewerModel
from napari.layers import Image as ImageLayer
from napari.layers import Labels, Layer

from napari_unet.core.targets import MAX_CLASSES, OBJECT_CLASSES, ClassLabel, Task
from napari_unet.session.annotated import Annotated
from napari_unet.session.classes import (
    BACKGROUND,
    DEFAULT_CLASSES,
    ClassStyle,
    add_class,
    background_value,
    class_labels,
    class_styles,
    colormap,
    objects_colormap,
    with_outputs,
)
from napari_unet.session.images import (
    ImageChoice,
    Index,
    guess_axes,
    placement,
    possible_axes,
    zeros,
)

OURS = "napari-unet"
"""Key in the metadata of the layers that we add: they are no images to train on."""
BRUSH_SIZE = 8
ANNOTATION_TYPE = {"classes": np.uint8, "objects": np.uint16}


class Desk:
    """Keep track of what the user has chosen and painted."""

    def __init__(self, viewer: ViewerModel) -> None:
        self._viewer = viewer
        self._annotated: list[Annotated] = []
        self.choice: ImageChoice | None = None
        self.task: Task = "classes"
        self.classes: tuple[ClassStyle, ...] = DEFAULT_CLASSES

    @property
    def images(self) -> tuple[Annotated, ...]:
        """Every image that has an annotation layer for this task."""
        return tuple(each for each in self._annotated if each.task == self.task)

    @property
    def painted(self) -> tuple[Annotated, ...]:
        """Those that hold annotation: what is trained on."""
        return tuple(each for each in self.images if each.planes)

    @property
    def current(self) -> Annotated | None:
        """The chosen image, if it has an annotation layer for this task."""
        if self.choice is None:
            return None
        return next((each for each in self.images if is_same(each.choice, self.choice)), None)

    @property
    def labels(self) -> tuple[ClassLabel, ...]:
        """What a network for this task tells apart."""
        return OBJECT_CLASSES if self.task == "objects" else class_labels(self.classes)

    @property
    def selected(self) -> int:
        """The annotation value that the brush paints with."""
        return int(self.current.layer.selected_label) if self.current else 1

    @property
    def plane(self) -> Index | None:
        """The plane of the chosen image that the viewer stands on, None outside of it."""
        if self.choice is None or self._viewer.dims.ndisplay != 2:
            return None
        if not is_there(self.choice, self._viewer.layers):
            return None
        n_outer = len(self.choice.plane_axes)
        layer = self.current.layer if self.current else self.choice.layers[0]
        if not _shows_planes(self._viewer, layer, n_outer):
            return None
        position = layer.world_to_data(self._viewer.dims.point)
        index = tuple(round(place) for place in position[:n_outer])
        index = tuple(
            0 if axis == "C" else at for axis, at in zip(self.choice.plane_axes, index, strict=True)
        )
        inside = all(0 <= at < n for at, n in zip(index, self.choice.plane_shape, strict=True))
        return index if inside else None

    def shown_plane(self) -> Index:
        """Return the plane that the viewer stands on; ValueError outside of the image."""
        plane = self.plane
        if plane is None:
            raise ValueError("no slice of the image is shown: go to one, in 2D view")
        return plane

    def chosen(self) -> ImageChoice:
        """Return the chosen image; ValueError where there is none."""
        if self.choice is None:
            raise ValueError("there is no image layer: open an image first")
        return self.choice

    def choose(self, choice: ImageChoice | None) -> None:
        """Work on this image from now on; its annotation layers, if any, go with it."""
        self.choice = None if choice is None else self._known(choice)
        if self.current:
            _select(self._viewer, self.current.layer)

    def _known(self, choice: ImageChoice) -> ImageChoice:
        """Return the choice by which the same is known already; what is annotated goes with a new one."""
        same = [each for each in self._annotated if is_same(each.choice, choice)]
        found = next((each.choice for each in same if _are_alike(each.choice, choice)), choice)
        for each in same:
            each.look_at(found)
        return found

    def find_image(self) -> None:
        """Choose the selected image layer, or the topmost one; keep a choice that is still there."""
        layers = self._viewer.layers
        if self.choice and is_there(self.choice, layers):
            return
        found = [layer for layer in layers if is_image(layer)]
        active = [layer for layer in found if layer is layers.selection.active]
        chosen = (active or found[::-1] or [None])[0]
        self.choose(ImageChoice((chosen,), guess_axes(chosen)) if chosen is not None else None)

    def annotate(self) -> Annotated:
        """Return the chosen image's annotation with the brush ready, adding its layer where there is none."""
        choice = self.chosen()
        if self.current is None:
            self._annotated.append(self._new_annotation(choice))
            self.show_classes()
        assert self.current is not None
        _select(self._viewer, self.current.layer)
        self.current.layer.mode = "paint"
        return self.current

    def at_hand(self) -> Annotated:
        """Return the chosen image's annotation with the tool as it is, a new one if there is none."""
        return self.current or self.annotate()

    def _new_annotation(self, choice: ImageChoice) -> Annotated:
        word, colours = ("annotation", None) if self.task == "classes" else ("objects", objects_colormap())
        layer = Labels(
            zeros(choice.annotation_shape, ANNOTATION_TYPE[self.task], sparse=True),
            name=f"{choice.name} {word}",
            colormap=colours,
            metadata={OURS: "annotation"},
            opacity=0.6,
            **placement(choice),
        )
        layer.brush_size = BRUSH_SIZE
        layer.selected_label = 2
        self._viewer.add_layer(layer)
        return Annotated(choice, layer, self.task)

    def set_task(self, task: Task) -> None:
        """Annotate classes or objects; each task has its own annotation layers, and only they are shown."""
        self.task = task
        for each in self._annotated:
            each.layer.visible = each.task == task
        if self.current:
            _select(self._viewer, self.current.layer)

    def set_classes(self, classes: Sequence[ClassStyle]) -> None:
        """Take over names, colours and the background mark; strokes of a class that has gone are erased."""
        gone = {each.value for each in self.classes} - {each.value for each in classes}
        self.classes = tuple(classes)
        for image in self._annotated:
            if image.task == "classes":
                image.erase(gone)
        self.show_classes()

    def follow_model(self, labels: Sequence[ClassLabel]) -> None:
        """Paint the classes of a model; where something is painted, only write the same ones alike."""
        take_over = with_outputs(self.classes, labels) if self.painted else class_styles(labels, self.classes)
        self.set_classes(take_over)

    def restore_classes(self, classes: Sequence[ClassStyle]) -> None:
        """Take over classes of before; what is painted already stays, whichever value it has."""
        restored = tuple(classes)
        for value in sorted(self.painted_values() - {each.value for each in restored}):
            restored = add_class(restored, value)
        self.set_classes(restored)

    def show_classes(self) -> None:
        """Colour the annotation layers of the task classes, and say which class is the background."""
        for each in self._annotated:
            if each.task == "classes":
                each.layer.colormap = colormap(self.classes)
                each.set_background(background_value(self.classes))

    def select_class(self, value: int) -> None:
        """Paint with this value."""
        for each in self.images:
            each.select(value)

    def next_object(self) -> None:
        """Paint with a label that no object has yet."""
        self.paint_with(self.free_number())

    def paint_with(self, number: int) -> None:
        """Take up the brush with a label; who draws outlines goes on drawing them."""
        if self.at_hand().layer.mode != "polygon":
            self.annotate()
        self.select_class(number)

    def free_number(self) -> int:
        """Return a label that no object has yet."""
        return max({BACKGROUND} | self._stroke_values()) + 1

    def changed_planes(self) -> dict[Annotated, set[Index]]:
        """Take over what was painted for any task since the last call; unknown values become classes."""
        fitting = [image for image in self._annotated if image.fits]
        changed = {image: planes for image in fitting if (planes := image.changed_planes())}
        for value in self._unknown_values()[: MAX_CLASSES - len(self.classes)]:
            self.classes = add_class(self.classes, value)
            self.show_classes()
        return changed

    def refuse_surplus(self) -> None:
        """Raise a ValueError where a painted value finds no room among the classes."""
        if why := self._surplus():
            raise ValueError(why)

    def _surplus(self) -> str:
        unknown = self._unknown_values() if len(self.classes) >= MAX_CLASSES else []
        words = f"painted and cannot become a class, {MAX_CLASSES} are the most: undo it, or remove a class"
        return f"{unknown[0]} is {words}" if unknown else ""

    def _unknown_values(self) -> list[int]:
        """Painted values that are no class, in order."""
        if self.task == "objects":
            return []
        return sorted(self._stroke_values() - {each.value for each in self.classes})

    def drop_gone(self) -> dict[Annotated, str]:
        """Forget images whose layers have been deleted; return those that held annotation, and why."""
        layers = self._viewer.layers
        self._drop_channels()
        gone = [
            each
            for each in self._annotated
            if each.layer not in layers or not is_there(each.choice, layers) or not each.fits
        ]
        self._annotated = [each for each in self._annotated if each not in gone]
        for each in gone:
            if each.fits:
                each.changed_planes()  # a stroke may have come just before
        return {each: _why_gone(each, layers) for each in gone if each.planes}

    def _drop_channels(self) -> None:
        """Go on with the channels that are left where the layers of others have been deleted."""
        known = {each.choice for each in self._annotated} | ({self.choice} if self.choice else set())
        for choice in known:
            left = _what_is_left(choice, self._viewer.layers)
            for each in self._annotated:
                if each.choice is choice:
                    each.look_at(left)
            if self.choice is choice:
                self.choice = left

    def painted_values(self) -> set[int]:
        """Every annotation value that occurs, a complete plane's background included."""
        complete = any(image.complete for image in self.images)
        return self._stroke_values() | ({self._background} if complete else set())

    def _stroke_values(self) -> set[int]:
        return {value for image in self.images for index in image.planes for value in image.values(index)}

    @property
    def _background(self) -> int:
        return BACKGROUND if self.task == "objects" else background_value(self.classes)

    def cannot_train(self) -> str:
        """Say why training cannot begin, "" if it can."""
        if self.choice is None:
            return "open an image first"
        if not self.images:
            return "press Annotate and paint a few strokes first"
        painted = self.painted_values()
        if why := self._surplus():
            return why
        if self.task == "objects":
            if not any(value >= 2 for value in painted):
                return "paint at least one object (label 2 and above)"
            return "" if 1 in painted else "paint some background (label 1), or mark the slice complete"
        if len(painted) < 2:
            return "paint at least two classes, background being one of them"
        return ""


def is_image(layer: Layer) -> bool:
    """Tell whether a layer is an image that can be segmented: not one of ours, nor one with too many axes."""
    is_theirs = isinstance(layer, ImageLayer) and OURS not in layer.metadata
    return is_theirs and bool(possible_axes(layer))


def is_same(one: ImageChoice, other: ImageChoice) -> bool:
    """Tell whether two choices have their annotation in common: the same layers, seen with the same axes."""
    return one.axes == other.axes and one.layers[0] is other.layers[0]


def _are_alike(one: ImageChoice, other: ImageChoice) -> bool:
    return (one.layers, one.channels) == (other.layers, other.channels)


def is_there(choice: ImageChoice, layers: Sequence[Layer]) -> bool:
    """Tell whether the layers of a choice are in the viewer, and still are what they were chosen as."""
    first = choice.layers[0]
    return all(each in layers and each.ndim == first.ndim for each in choice.layers) and (
        choice.axes in possible_axes(first)
    )


def _what_is_left(choice: ImageChoice, layers: Sequence[Layer]) -> ImageChoice:
    """Return a choice without the channels whose layers have gone; without its first it is another image."""
    left = tuple(each for each in choice.layers if each in layers)
    if left == choice.layers or choice.layers[0] not in left:
        return choice
    seen = choice.layers if choice.channels is None else [choice.layers[at] for at in choice.channels]
    channels = tuple(left.index(each) for each in seen if each in left) or None
    with suppress(ValueError):  # their shapes may have come to differ
        return ImageChoice(left, choice.axes, None if choice.channels is None else channels)
    return choice


def _why_gone(image: Annotated, layers: Sequence[Layer]) -> str:
    if image.layer not in layers:
        return f"the annotation of {image.choice.name} was deleted"
    if image.choice.layers[0] not in layers:
        return f"the image of {image.layer.name} was deleted"
    return f"the annotation of {image.choice.name} no longer fits its image"


def _shows_planes(viewer: ViewerModel, layer: Layer, n_outer: int) -> bool:
    """Tell whether the viewer shows (Y, X) planes of the layer rather than cuts across them."""
    offset = viewer.dims.ndim - (n_outer + 2)
    return set(viewer.dims.displayed) == {offset + n_outer, offset + n_outer + 1}


def _select(viewer: ViewerModel, layer: Layer) -> None:
    viewer.layers.selection.active = layer
