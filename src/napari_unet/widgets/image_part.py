"""Which image is worked on: its layer, what its axes mean, and which channels the network sees."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from napari.layers import Image as ImageLayer
from qtpy.QtCore import QSignalBlocker, Signal
from qtpy.QtWidgets import QComboBox, QSizePolicy, QWidget

from napari_unet.session.desk import is_image
from napari_unet.session.images import ImageChoice, guess_axes, possible_axes
from napari_unet.session.state import SessionState
from napari_unet.widgets.button import Button
from napari_unet.widgets.channels_menu import ChannelsMenu
from napari_unet.widgets.layouts import column, heading, row
from napari_unet.widgets.wheel import leave_wheel

if TYPE_CHECKING:
    from napari_unet.session.session import Session

LAYER = "The image layer that you annotate and segment. Several images can be annotated, one after the other."
AXES = "What the axes of the image mean: T time, C channel, Z depth, Y and X the plane that you see."
ANNOTATE = "Put an annotation layer over the image and take the brush. What stays unpainted teaches nothing."


class ImagePart(QWidget):
    """Choose an image, and begin to annotate it."""

    valueChanged = Signal(object)

    def __init__(self, session: "Session") -> None:
        super().__init__()
        self._session = session
        self._images: tuple[ImageLayer, ...] = ()
        self._choice: ImageChoice | None = None
        self._layer, self._axes, self._channels = _combo("image", LAYER), _combo("axes", AXES), ChannelsMenu()
        self._annotate = Button("Annotate", "annotate", ANNOTATE, session.annotate, first=True)
        column(
            self,
            heading("Image"),
            row(self._layer, self._axes, stretch=(1, 0)),
            row(self._channels, self._annotate, stretch=(1, 1)),
        )
        self._layer.activated.connect(self._on_layer)
        self._axes.activated.connect(self._on_axes)
        self._channels.valueChanged.connect(self._on_channels)
        self.setValue(None)
        self.valueChanged.connect(session.choose)

    def value(self) -> ImageChoice | None:
        """Return what is chosen."""
        return self._choice

    def setValue(self, choice: ImageChoice | None) -> None:
        """Show a choice, without telling anybody."""
        self._choice = choice
        with QSignalBlocker(self._layer), QSignalBlocker(self._axes):
            self._layer.setCurrentIndex(self._images.index(choice.layers[0]) if choice else -1)
            self._axes.clear()
            self._axes.addItems(possible_axes(choice.layers[0]) if choice else ())
            self._axes.setCurrentText(choice.axes if choice else "")
        self._axes.setVisible(self._axes.count() > 1)
        self._channels.setValue(choice, self._images)

    def show_images(self, images: Sequence[ImageLayer]) -> None:
        """List the images that there are to choose from."""
        self._images = tuple(images)
        with QSignalBlocker(self._layer):
            self._layer.clear()
            self._layer.addItems([layer.name for layer in images])

    def show_state(self, state: SessionState) -> None:
        """Follow the session and its layers."""
        images = [layer for layer in self._session.viewer.layers if is_image(layer)]
        names = [self._layer.itemText(i) for i in range(self._layer.count())]
        listed = tuple(images) == self._images and names == [layer.name for layer in images]
        if not listed:
            self.show_images(images)
        choice = state.choice if state.choice and state.choice.layers[0] in images else None
        if not listed or choice is not self._choice:
            self.setValue(choice)
        self._annotate.allow("" if choice else "there is no image: File > Open Sample > napari-unet has some")

    def _on_layer(self, position: int) -> None:
        layer = self._images[position]
        if self._choice is None or layer is not self._choice.layers[0]:
            self._choose(ImageChoice((layer,), guess_axes(layer)))

    def _on_axes(self) -> None:
        if self._choice and self._axes.currentText() != self._choice.axes:
            self._choose(ImageChoice(self._choice.layers[:1], self._axes.currentText()))

    def _on_channels(self, choice: ImageChoice) -> None:
        self._choose(choice)

    def _choose(self, choice: ImageChoice) -> None:
        self.setValue(choice)
        self.valueChanged.emit(choice)


def _combo(name: str, tooltip: str) -> QComboBox:
    combo = QComboBox()
    combo.setObjectName(name)
    combo.setToolTip(tooltip)
    combo.setMinimumContentsLength(4)  # a long name must not widen the dock
    combo.setSizePolicy(
        QSizePolicy.Policy.Ignored if name == "image" else QSizePolicy.Policy.Preferred,
        QSizePolicy.Policy.Fixed,
    )
    leave_wheel(combo)
    return combo
