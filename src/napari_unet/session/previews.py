"""The prediction over what the user looks at: what to predict next, and the overlay that shows it."""

from time import monotonic
from typing import Any

import numpy as np
from napari.components import ViewerModel
from napari.layers import Labels
from napari.utils.colormaps import DirectLabelColormap
from numpy.typing import NDArray

from napari_unet.core.normalise import Intensity
from napari_unet.session.desk import is_same
from napari_unet.session.images import ImageChoice, Index, open_layers
from napari_unet.session.overlays import ObjectsOverlay, Overlay
from napari_unet.session.views import PIECE, Piece, Place, Sought, pieces, visible_place


class Previews:
    """Follow the camera; hand out the pieces of the visible plane in turn; show what comes back."""

    def __init__(self, viewer: ViewerModel, pause: float) -> None:
        self._viewer, self._pause = viewer, pause
        self._seen: tuple[ImageChoice, Place, int, int] | None = None
        self._places: tuple[Place, ...] = ()
        self._turn = 0
        self._began = self._due = 0.0
        self._overlays: dict[Overlay, ImageChoice] = {}

    def drop_gone(self) -> None:
        """Forget overlays that have been deleted, and those of images that have."""
        layers = self._viewer.layers
        self._overlays = {
            each: of for each, of in self._overlays.items() if each.is_shown and of.layers[0] in layers
        }

    @property
    def choice(self) -> ImageChoice | None:
        """The image that is looked at."""
        return self._seen[0] if self._seen else None

    @property
    def has_more(self) -> bool:
        """Whether another piece of the same view is to be predicted at once."""
        return self._turn % len(self._places) != 0

    @property
    def is_single(self) -> bool:
        """Whether the view is one piece."""
        return len(self._places) == 1

    @property
    def is_due(self) -> bool:
        """Whether a view that was predicted whole is to be predicted anew."""
        return 0 < self._due <= monotonic()

    def follow(self, choice: ImageChoice | None, index: Index | None, ndim: int) -> bool:
        """Look where the user looks; tell whether that has changed."""
        if choice is None or index is None:
            had, self._seen = self._seen is not None, None
            return had
        seen = choice, visible_place(choice, index), ndim, id(choice.layers[0].data)
        if seen == self._seen:
            return False
        self._seen, self._turn = seen, 0
        self._places = pieces(seen[1], PIECE[ndim])
        return True

    def next_piece(self, intensity: Intensity) -> Sought | None:
        """Return what is to be read and predicted next, None where nothing is looked at."""
        self._due = 0.0
        if self._seen is None:
            return None
        if not self.has_more:
            self._began = monotonic()
        choice, _, ndim, _ = self._seen
        place = self._places[self._turn % len(self._places)]
        return Sought(choice, open_layers(choice), place, ndim, intensity)

    def show(self, piece: Piece, labels: NDArray[Any], colormap: DirectLabelColormap | None) -> None:
        """Write a prediction into the overlay of the image that is looked at; objects have no colours."""
        if self._seen is None:
            return
        choice, view, *_ = self._seen
        overlay = self._overlay(choice, colormap, labels.dtype)
        if isinstance(overlay, ObjectsOverlay):
            overlay.show(piece.place, view, labels)
        else:
            overlay.write(piece.place.region, labels)
        self._turn += 1
        if not self.has_more:
            now = monotonic()
            # many pieces take their time: leave as much to the training
            self._due = now + (self._pause if self.is_single else max(self._pause, now - self._began))

    def _overlay(
        self, choice: ImageChoice, colormap: DirectLabelColormap | None, dtype: np.dtype[Any]
    ) -> Overlay:
        """Return the overlay of an image, a new one where there is none or the user has deleted it."""
        found = next((o for o, of in self._overlays.items() if is_same(of, choice) and o.is_shown), None)
        if found is not None and _suits(found, choice, colormap, dtype):
            return found
        if found is not None:  # the image, or what is written, is another now
            self._viewer.layers.remove(found.layer)
        self.drop_gone()
        name = f"{choice.name} prediction"
        overlay = (
            ObjectsOverlay(self._viewer, choice, name)
            if colormap is None
            else Overlay(self._viewer, choice, name, dtype, colormap)
        )
        self._overlays[overlay] = choice
        return overlay

    def holds(self, layer: Labels) -> bool:
        """Tell whether a layer shows what is predicted while a network learns."""
        return any(each.layer is layer for each in self._overlays)

    def objects_of(self, choice: ImageChoice) -> list[Labels]:
        """Return the layers that hold predicted objects of this image."""
        of_image = (o for o, of in self._overlays.items() if is_same(of, choice))
        known = (each for each in of_image if isinstance(each, ObjectsOverlay) and not each.is_clear)
        return [each.layer for each in known if each.layer.data.shape == choice.annotation_shape]

    def recolour(self, colormap: DirectLabelColormap) -> None:
        """Show the colours that the classes have now."""
        for overlay in self._overlays:
            if not isinstance(overlay, ObjectsOverlay):
                overlay.layer.colormap = colormap

    def forget(self) -> None:
        """Clear what another model has predicted, and look anew."""
        self._seen = None
        for overlay in self._overlays:
            overlay.clear()

    def show_layers(self, on: bool) -> None:
        """Show all predictions, or hide them."""
        for overlay in self._overlays:
            overlay.layer.visible = on

    def toggle(self) -> None:
        """Show the predictions, or hide them."""
        for overlay in self._overlays:
            overlay.layer.visible = not overlay.layer.visible


def _suits(
    overlay: Overlay, choice: ImageChoice, colormap: DirectLabelColormap | None, dtype: np.dtype[Any]
) -> bool:
    """Tell whether an overlay can show what is predicted of an image."""
    alike = overlay.layer.dtype == dtype and not isinstance(overlay, ObjectsOverlay)
    right = isinstance(overlay, ObjectsOverlay) if colormap is None else alike
    return right and overlay.layer.data.shape == choice.annotation_shape
