"""A menu with a tick for each channel that the network sees."""

from collections.abc import Sequence
from dataclasses import replace

from napari.layers import Image as ImageLayer
from qtpy.QtCore import Qt, Signal
from qtpy.QtGui import QAction
from qtpy.QtWidgets import QMenu, QPushButton

from napari_unet.session.images import ImageChoice

TOOLTIP = (
    "Which channels the network looks at. They are the channels of this image or, where it has none, "
    "other image layers of the same size."
)
COLOURS = ("red", "green", "blue")


class ChannelsMenu(QPushButton):
    """A button that tells the channels and opens the menu; hidden where there is nothing to choose."""

    valueChanged = Signal(object)

    def __init__(self) -> None:
        super().__init__()
        self.setObjectName("channels")
        self.setToolTip(TOOLTIP)
        self.setFocusPolicy(Qt.FocusPolicy.TabFocus)
        self.setMenu(QMenu(self))
        self._choice: ImageChoice | None = None
        self._others: tuple[ImageLayer, ...] = ()

    def value(self) -> ImageChoice | None:
        """Return the choice with the channels that have a tick."""
        ticks = [i for i, action in enumerate(self.menu().actions()) if action.isChecked()]
        if self._choice is None or not ticks:
            return self._choice
        if self._has_channels:
            every = len(ticks) == self._choice.n_channels
            return replace(self._choice, channels=None if every else tuple(ticks))
        layers = tuple((self._choice.layers[0], *self._others)[i] for i in ticks)
        return replace(self._choice, layers=layers, channels=None)

    def setValue(self, choice: ImageChoice | None, images: Sequence[ImageLayer] = ()) -> None:
        """Offer the channels of a choice, or the images that could be its other channels."""
        self._choice, self._others = choice, ()
        self.menu().clear()
        if choice is not None:
            self._others = () if self._has_channels else _alike(choice.layers[0], images)
            for words, ticked in self._offers(choice):
                self._add(words, ticked)
        self.setVisible(len(self.menu().actions()) > 1)
        self._show_words()

    @property
    def _has_channels(self) -> bool:
        return self._choice is not None and "C" in self._choice.axes

    def _offers(self, choice: ImageChoice) -> list[tuple[str, bool]]:
        if not self._has_channels:
            return [(layer.name, layer in choice.layers) for layer in (choice.layers[0], *self._others)]
        seen = range(choice.n_channels) if choice.channels is None else choice.channels
        words = COLOURS if choice.layers[0].rgb else [f"channel {i}" for i in range(choice.n_channels)]
        return [(name, i in seen) for i, name in enumerate(words)]

    def _add(self, words: str, ticked: bool) -> None:
        action = QAction(words, self.menu(), checkable=True, checked=ticked)
        action.triggered.connect(lambda _: self._on_ticked(action))
        self.menu().addAction(action)

    def _on_ticked(self, action: QAction) -> None:
        ticks = [each for each in self.menu().actions() if each.isChecked()]
        first = self.menu().actions()[0]
        if not ticks:
            action.setChecked(True)  # a network sees at least one channel
        elif not self._has_channels and not first.isChecked():
            first.setChecked(True)  # the layer that is annotated stays the first channel
        else:
            self.valueChanged.emit(self.value())
        self._show_words()

    def _show_words(self) -> None:
        names = [each.text() for each in self.menu().actions()]
        ticked = [each.text() for each in self.menu().actions() if each.isChecked()]
        every = len(ticked) == len(names) and self._has_channels
        self.setText(f"all {len(names)} channels" if every else _shortened(ticked))


def _shortened(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{len(names)} channels"


def _alike(layer: ImageLayer, images: Sequence[ImageLayer]) -> tuple[ImageLayer, ...]:
    """Other images of the same size that could be further channels."""
    shape = tuple(layer.level_shapes[0])
    return tuple(
        each
        for each in images
        if each is not layer and each.rgb == layer.rgb and tuple(each.level_shapes[0]) == shape
    )
