"""A microscopist at the dock: what the window tests, the pictures and the benchmark do with it alike."""

from collections.abc import Iterator
from typing import Any

import numpy as np
from driver import Driver
from napari.layers import Image, Labels
from numpy.typing import NDArray
from qtpy.QtWidgets import QAbstractButton, QComboBox, QMessageBox
from scipy.ndimage import distance_transform_edt

from napari_unet.session.session import Session
from napari_unet.session.shared import session_of

Line = tuple[tuple[int, int], ...]
"""Corners (Y, X) of a stroke."""


class User(Driver):
    """Somebody who paints, trains and segments with mouse and keys, and looks at the layers."""

    def open_sample(self, name: str = "Nuclei stack") -> None:
        """Open a shipped sample from napari's menu."""
        n_layers = len(self.viewer.layers)
        self.menu("File", "Open Sample", "napari-unet", name)
        self.wait("the sample opens", lambda: len(self.viewer.layers) > n_layers)
        self.see_all()

    def open_dock(self, *menu: str) -> None:
        """Open the dock from napari's menu."""
        self.menu(*(menu or ("Plugins", "napari-unet")))
        self.wait("the dock opens", lambda: session_of(self.viewer))
        self.pump(0.5)
        self.see_all()

    def see_all(self) -> None:
        """Press napari's button that shows the whole image."""
        self.click(self.viewer.window._qt_viewer.viewerButtons.resetViewButton)

    def choose(self, name: str) -> None:
        """Choose an image in the dock's list."""
        images: QComboBox = self.widget("image", QComboBox)
        self.click(images)
        self.key(*["Up"] * images.count(), *["Down"] * images.findText(name), "Return")
        self.wait(f"{name} is chosen", lambda: self.image.name == name)

    def annotate(self) -> None:
        """Ask for an annotation layer."""
        self.click("annotate")
        self.wait("the annotation layer", lambda: self.annotation)

    def paint(self, key: str, *strokes: Line) -> None:
        """Choose a class by its key, the mouse over the canvas, and drag strokes of it."""
        self.over(self.annotation, strokes[0][0])
        self.key(key)
        for stroke in strokes:
            self.stroke(self.annotation, *stroke)

    def paint_nuclei(self, n: int = 2, first: int = 0) -> None:
        """Paint a few strokes of both classes on the slice that is shown, by the sample's truth."""
        truth = self.truth[self.plane] > 0
        self.paint("1", *strokes_in(~truth, first + n)[first:])
        self.paint("2", *strokes_in(truth, first + n)[first:])

    def paint_objects(self) -> None:
        """Paint every object of the slice that is shown with a label of its own, by the sample's truth."""
        for number, scribble in enumerate(scribbles(self.truth[self.plane])):
            self.over(self.annotation, scribble[0])
            if number > 0:
                self.key("m")  # napari's own key for the next free label
            self.stroke(self.annotation, *scribble)

    def train(self) -> None:
        """Start a training and wait for the first mask."""
        self.click("train")
        self.wait("the first mask", lambda: self.prediction and self.predicted.any())

    def stop(self) -> None:
        """End the training."""
        self.click("stop")
        self.wait("the training ends", lambda: self.phase == "idle")

    def go_to(self, plane: int) -> None:
        """Move to a slice by the wheel with Ctrl held, the mouse over the canvas."""
        self.over(self.image, (1, 1))
        while (here := self.plane[0]) != plane:
            self.wheel(-1 if plane > here else 1, "ctrl")
            self.wait("the next slice", lambda here=here: self.plane[0] != here, 5)

    def confirm(self, dialog: QMessageBox) -> None:
        """Answer a question by yes."""
        self.click(dialog.button(QMessageBox.StandardButton.Yes))

    def is_offered(self, button: str) -> bool:
        """Tell whether a button is there and can be pressed."""
        found: QAbstractButton = self.widget(button, QAbstractButton)
        return found.isVisible() and found.isEnabled()

    @property
    def session(self) -> Session:
        """What is behind the dock."""
        session = session_of(self.viewer)
        assert session is not None, "there is no dock"
        return session

    @property
    def phase(self) -> str:
        """Where the training stands."""
        return self.session.state.phase

    @property
    def steps(self) -> int:
        """What the network has learnt so far."""
        return self.session.teaching.trainer.steps if self.session.teaching.trainer else 0

    @property
    def plane(self) -> tuple[int, ...]:
        """The slice that is shown."""
        return tuple(self.viewer.dims.current_step[:-2])

    @property
    def image(self) -> Image:
        """The image layer that is worked on, the first one where there is no dock."""
        choice = self.session.state.choice if session_of(self.viewer) else None
        return choice.layers[0] if choice else self._first(lambda layer: isinstance(layer, Image))

    @property
    def truth(self) -> NDArray[Any]:
        """The sample's hidden objects."""
        return self.viewer.layers[f"{self.image.name} truth"].data

    @property
    def annotation(self) -> Labels:
        """The annotation layer that is painted on."""
        current = self.session.desk.current
        return current and current.layer

    @property
    def prediction(self) -> Labels:
        """The layer that shows the mask while training."""
        return self._first(lambda layer: layer.name == f"{self.image.name} prediction")

    @property
    def predicted(self) -> NDArray[Any]:
        """The mask of the slice that is shown."""
        return np.asarray(self.prediction.data[self.plane])

    @property
    def weights(self) -> Image:
        """The layer that shows the boundary weights."""
        return self._first(lambda layer: "weight" in layer.name)

    @property
    def result(self) -> Labels:
        """The segmentation."""
        return self._first(lambda layer: layer.name == f"{self.image.name} segmentation")

    def dice(self, mask: NDArray[Any]) -> float:
        """Compare a mask of the slice that is shown with the truth."""
        truth = self.truth[self.plane] > 0
        return float(2 * (truth & (mask > 0)).sum() / max(1, truth.sum() + (mask > 0).sum()))

    def _first(self, fits: Any) -> Any:
        return next((layer for layer in self.viewer.layers if fits(layer)), None)


def strokes_in(mask: NDArray[np.bool_], n: int) -> list[Line]:
    """Horizontal strokes through the n deepest places of a mask, well inside it and apart from each other."""
    return [((y, x - half), (y, x + half)) for y, x, half in _places(mask, n)]


def scribbles(objects: NDArray[Any]) -> Iterator[Line]:
    """One zigzag stroke for each object, which fills most of it with a brush of eight pixels."""
    for number in np.unique(objects[objects > 0]):
        inside = distance_transform_edt(np.pad(objects == number, 1))[1:-1, 1:-1] > 3
        line: list[tuple[int, int]] = []
        for row in np.flatnonzero(inside.any(1))[::5]:
            columns = np.flatnonzero(inside[row])
            ends = (int(row), int(columns[0])), (int(row), int(columns[-1]))
            line += ends if len(line) % 4 == 0 else ends[::-1]
        if line:
            yield tuple(line)


def _places(mask: NDArray[np.bool_], n: int) -> Iterator[tuple[int, int, int]]:
    """The n deepest places, each with half of its depth; the neighbourhood of one is no place for another."""
    depth = distance_transform_edt(np.pad(mask, 1))[1:-1, 1:-1]
    rows, columns = np.indices(mask.shape)
    for _ in range(n):
        y, x = np.unravel_index(depth.argmax(), depth.shape)
        reach = depth[y, x]
        yield int(y), int(x), max(1, int(reach / 2))
        depth[np.hypot(rows - y, columns - x) < 2 * reach] = 0
