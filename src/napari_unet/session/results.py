"""Segmentations in the viewer: where a new one goes, and which of them can be gone on with."""

from dataclasses import dataclass, field
from math import prod
from typing import TYPE_CHECKING, Any, TypeAlias

from napari.components import ViewerModel
from napari.layers import Labels
from napari.utils.colormaps import CyclicLabelColormap, DirectLabelColormap

from napari_unet.core.normalise import Intensity
from napari_unet.core.results import Kind, ResultLayout
from napari_unet.session.desk import is_same
from napari_unet.session.images import ImageChoice
from napari_unet.session.overlays import Overlay, ScoreOverlay
from napari_unet.session.settings import ALL_OBJECTS, WantedObjects
from napari_unet.session.sinks import Numbers

if TYPE_CHECKING:
    from napari_unet.core.modelfile import Model
    from napari_unet.core.plan import StackPlan

Colormap: TypeAlias = DirectLabelColormap | CyclicLabelColormap


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
    objects: WantedObjects = ALL_OBJECTS
    pixels: tuple[Any, ...] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "pixels", tuple(layer.data for layer in self.choice.layers))

    def differs(self, other: "Order") -> str:
        """Say what is not the same as in another order; nothing where each would get the same result."""
        ours, theirs = ((o.choice.axes, o.choice.channels, o.intensity) for o in (self, other))
        same_pixels = len(self.pixels) == len(other.pixels) and all(
            one is another for one, another in zip(self.pixels, other.pixels, strict=True)
        )
        if ours != theirs or not same_pixels:
            return "the image"
        if (self.kind, self.device, self.objects) != (other.kind, other.device, other.objects):
            return "the options"
        return "" if is_same_model(self.model, other.model) else "the model"


@dataclass(frozen=True, eq=False)
class Begun:
    """A whole stack that was left in the middle: what was ordered and decided, and how much is done.

    `sample` tells whether the pixels were edited since.
    """

    order: Order
    plan: "StackPlan"
    n_done: int
    data: Any
    sample: str

    @property
    def words(self) -> str:
        """Say how much is there."""
        return f"{amount(self.plan, self.n_done)} are there"


@dataclass(eq=False)
class Result:
    """A segmentation in the viewer: its layer, and the name that we gave it."""

    choice: ImageChoice
    layout: ResultLayout
    overlay: Overlay
    name: str
    numbers: Numbers = field(default_factory=Numbers)
    begun: Begun | None = None

    def suits(self, choice: ImageChoice, layout: ResultLayout) -> bool:
        """Tell whether another result can be written here: not where the user renamed it, to keep it."""
        return self.overlay.layer.name == self.name and self.fits(choice, layout)

    def fits(self, choice: ImageChoice, layout: ResultLayout) -> bool:
        """Tell whether it is of the same image and kind."""
        same = self.layout.kind == layout.kind and self.layout.dtype == layout.dtype
        n_classes = len(self.layout.classes), len(layout.classes)
        alike = same and (layout.kind != "probabilities" or n_classes[0] == n_classes[1])
        shape = choice.annotation_shape
        alike = alike and self.overlay.layer.data.shape[-len(shape) :] == shape  # else it was another image
        return alike and self.overlay.is_shown and not self.overlay.is_file and is_same(self.choice, choice)

    @property
    def left(self) -> Begun | None:
        """What was left in the middle, as long as it is in the layer."""
        return self.begun if self.begun and self.begun.data is self.overlay.layer.data else None


class Results:
    """The results of all images of a viewer."""

    def __init__(self, viewer: ViewerModel) -> None:
        self._viewer = viewer
        self._results: list[Result] = []

    def drop_gone(self) -> None:
        """Forget results whose layers, or whose images, have been deleted."""
        layers = self._viewer.layers
        self._results = [
            each for each in self._results if each.overlay.is_shown and each.choice.layers[0] in layers
        ]

    def objects_of(self, choice: ImageChoice) -> list[Labels]:
        """Return the layers in memory that hold objects of this image."""
        of_objects = (each for each in self._results if each.layout.kind == "objects")
        return [each.overlay.layer for each in of_objects if each.fits(choice, each.layout)]

    def objects(self) -> dict[Labels, ImageChoice]:
        """Return every layer that holds objects, and of which image they are."""
        shown = (each for each in self._results if each.layout.kind == "objects" and each.overlay.is_shown)
        return {each.overlay.layer: each.choice for each in shown}

    def left(self, choice: ImageChoice | None) -> Begun | None:
        """Return what was left in the middle of this image."""
        of_image = (each.left for each in self._results if choice and is_same(each.choice, choice))
        return next(filter(None, of_image), None)

    def begun(self, choice: ImageChoice, layout: ResultLayout) -> list[tuple[Result, Begun]]:
        """Return what was left in the middle and fits, whatever its layers are called now."""
        self.drop_gone()
        return [(each, each.left) for each in self._results if each.left and each.fits(choice, layout)]

    def open(
        self, order: Order, layout: ResultLayout, data: Any = None, *, spare_begun: bool = False
    ) -> Result:
        """Return where a result goes: a layer of before, or a new one; with data, always a new one."""
        self.drop_gone()
        suiting = (each for each in self._results if data is None and each.suits(order.choice, layout))
        found = next((each for each in suiting if not (spare_begun and each.left)), None)
        if found is None:
            overlay = self._new_overlay(order, layout, data)
            found = Result(order.choice, layout, overlay, overlay.layer.name)
            self._results.append(found)
        return self.reopen(found, order, layout)

    def reopen(self, found: Result, order: Order, layout: ResultLayout) -> Result:
        """Get a result ready to be written to, and show it alone."""
        if layout.kind == "labels" and order.colormap is not None:
            found.overlay.layer.colormap = order.colormap
        found.layout = layout
        for each in self._results:  # one over another could not be told apart
            if is_same(each.choice, order.choice):
                each.overlay.layer.visible = each is found
        return found

    def _new_overlay(self, order: Order, layout: ResultLayout, data: Any) -> Overlay:
        name = order.choice.name
        if layout.kind == "probabilities":
            scores = f"{name} probabilities"
            return ScoreOverlay(self._viewer, order.choice, scores, len(layout.classes), data)
        colours = order.colormap if layout.kind == "labels" else None  # objects: napari's cycle
        return Overlay(self._viewer, order.choice, f"{name} segmentation", layout.dtype, colours, data)


def is_same_model(one: "Model", other: "Model") -> bool:
    """Tell whether two models predict the same: their weights, and what they are for."""
    import torch

    def facts(model: "Model") -> tuple[Any, ...]:
        return model.task, model.classes, model.axes, model.normalisation, model.network.config

    weights, others = one.network.state_dict(), other.network.state_dict()
    return facts(one) == facts(other) and all(
        torch.equal(value, others[name]) for name, value in weights.items()
    )


def amount(plan: "StackPlan", n_done: int) -> str:
    """Say how many slices, or of volumes and single planes how many tiles, are done."""
    n_slices = prod(plan.outer_shape)
    if len(plan.grid.shape) == 3 or n_slices == 1:
        return f"{n_done} of {len(plan)} tiles"
    return f"{min(n_done // len(plan.grid) * plan.depth, n_slices)} of {n_slices} slices"
