"""A real napari window, driven as a person does: mouse and keys by xdotool, photographs by scrot.

Nothing is pressed that a person could not press: it has to be visible, enabled and under the mouse. There is
no window manager, so whatever opens is given the keys by hand. No part of a test reads the clock: `wait` only
ends a test that hangs.
"""

import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import napari
import numpy as np
from napari.layers import Layer
from qtpy.QtCore import QPoint, QTimer
from qtpy.QtWidgets import QApplication, QMenu, QMenuBar, QScrollArea, QWidget

Point = tuple[int, int]

TOOLS = ("xdotool", "scrot")
PATIENCE = 60.0
"""Seconds after which something that was waited for is said not to come."""


def missing() -> str:
    """Say what stands in the way of a real window here, or ""."""
    if not sys.platform.startswith("linux") or not os.environ.get("DISPLAY"):
        return "no X display: start the tests with `make test` or xvfb-run"
    absent = [tool for tool in TOOLS if shutil.which(tool) is None]
    return f"install {' and '.join(absent)}: they move the mouse and take the photographs" * bool(absent)


class Driver:
    """What a person can do with one napari window, and a folder for the photographs of it."""

    def __init__(self, viewer: napari.Viewer, photos: Path, size: Point = (1600, 1000)) -> None:
        self.viewer = viewer
        self.window: QWidget = viewer.window._qt_window
        self.photos = photos
        self._n_photos = 0
        viewer.window.set_geometry(0, 0, *size)
        self.pump(0.5)
        self.focus(self.window)

    # time

    def pump(self, seconds: float) -> None:
        """Let the window live for a while."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            QApplication.processEvents()
            time.sleep(0.005)

    def wait(self, what: str, condition: Callable[[], Any], patience: float = PATIENCE) -> Any:
        """Let the window live until the condition holds, and return what it gave."""
        end = time.monotonic() + patience
        while not (found := condition()):
            if time.monotonic() > end:
                photograph = self.photograph(f"waited for {what}")
                raise AssertionError(f"{what}: not within {patience:.0f} seconds, see {photograph}")
            self.pump(0.02)
        return found

    # places

    def widget(self, name: str, kind: type[QWidget] = QWidget, root: QWidget | None = None) -> Any:
        """Find a widget of the window by its object name."""
        found = (root or self.window).findChild(kind, name)
        assert found is not None, f"the window has no {kind.__name__} named {name!r}"
        return found

    def place(self, widget: QWidget) -> Point:
        """Tell where on the screen the middle of a widget is; a person has to see and reach it."""
        _scroll_to(widget)
        self.pump(0.05)
        named = widget.objectName() or type(widget).__name__
        assert widget.isVisible(), f"{named} is not visible"
        self.wait(f"{named} is enabled", widget.isEnabled)
        middle = widget.mapToGlobal(widget.rect().center())
        on_top = QApplication.widgetAt(middle)
        assert on_top is widget or widget.isAncestorOf(on_top), f"{named} is covered by {on_top}"
        return middle.x(), middle.y()

    def on_canvas(self, layer: Layer, position: Sequence[float]) -> Point:
        """Tell where on the screen a pixel of a layer is; the last two numbers are Y and X."""
        full = np.zeros(layer.ndim)
        full[-len(position) :] = position
        canvas: QWidget = self.viewer.window._qt_viewer.canvas.native
        camera = self.viewer.scene.camera
        shown = np.asarray(layer.data_to_world(full))[list(self.viewer.dims.displayed[-2:])]
        from_middle = (shown - np.asarray(camera.center)[-2:]) * camera.zoom
        middle = canvas.mapToGlobal(QPoint(canvas.width() // 2, canvas.height() // 2))
        place = QPoint(round(middle.x() + from_middle[1]), round(middle.y() + from_middle[0]))
        assert canvas.rect().contains(canvas.mapFromGlobal(place)), f"{tuple(position)} is out of sight"
        return place.x(), place.y()

    # mouse

    def click(self, place: QWidget | str | Point) -> None:
        """Click once, in the middle of a widget or at a point of the screen."""
        self._xdotool("mousemove", *self._point(place), "sleep", 0.05, "click", 1)

    def stroke(self, layer: Layer, *corners: Sequence[float]) -> None:
        """Drag the mouse through pixels of a layer, a few pixels of the screen at a time."""
        places = [self.on_canvas(layer, corner) for corner in corners]
        words: list[object] = ["mousemove", *places[0], "sleep", 0.1, "mousedown", 1, "sleep", 0.05]
        for start, end in pairwise(places):
            for point in _line(start, end):
                words += ["mousemove", *point, "sleep", 0.01]
            words += ["sleep", 0.05]  # a busy window sees only some of the moves, but each corner
        self._xdotool(*words, "mouseup", 1)

    def wheel(self, turn: int, held: str) -> None:
        """Turn the wheel one notch up (1) or down (-1) while a key is held."""
        self._xdotool("keydown", held, "sleep", 0.05, "click", 4 if turn > 0 else 5, "keyup", held)

    def menu(self, *words: str) -> None:
        """Choose from the menu bar: each word begins the text of an entry."""
        menu: QMenuBar | QMenu = self.window.menuBar()
        for word in words:
            entry = self.wait(f"menu entry {word!r}", lambda menu=menu, word=word: _entry(menu, word), 5)
            middle = menu.mapToGlobal(menu.actionGeometry(entry).center())
            self.click((middle.x(), middle.y()))
            if entry.menu() is not None:
                menu = entry.menu()
                self.wait(f"menu {word!r} opens", menu.isVisible, 5)

    # keys

    def key(self, *keys: str) -> None:
        """Press keys one after the other, such as "1", "ctrl+z", "Right"."""
        self._xdotool("key", "--delay", 30, *keys)

    def type(self, text: str) -> None:
        """Type a text where the cursor is."""
        self._xdotool("type", "--delay", 10, text)

    def focus(self, window: QWidget) -> None:
        """Give the keys to a window, as a window manager does when one opens."""
        window.activateWindow()
        self._xdotool("windowfocus", int(window.winId()))

    def over(self, layer: Layer, position: Sequence[float]) -> None:
        """Move the mouse over a pixel of a layer."""
        self._xdotool("mousemove", *self.on_canvas(layer, position))

    # dialogs

    @contextmanager
    def answering(self, answer: Callable[[QWidget], None]) -> Iterator[None]:
        """Answer the dialog that what is done in this block opens; it may hold up the block until then."""
        answered: list[str] = []

        def look() -> None:
            dialog = QApplication.activeModalWidget()
            if dialog is None or not dialog.isVisible():
                return
            timer.stop()
            self.pump(0.2)
            self.focus(dialog)
            try:
                answer(dialog)
                answered.append(dialog.windowTitle())
            finally:
                if dialog.isVisible():
                    dialog.reject()  # else whoever opened it would wait for ever

        timer = QTimer()
        timer.timeout.connect(look)
        timer.start(50)
        yield
        self.wait("a dialog opens", lambda: answered, 10)

    def file_name(self, path: Path) -> Callable[[QWidget], None]:
        """Answer a file dialog with a path."""

        def answer(dialog: QWidget) -> None:
            self.key("ctrl+a")
            self.type(str(path))
            self.wait("the file dialog closes", lambda: self.key("Return") or not dialog.isVisible(), 10)

        return answer

    # photographs

    def photograph(self, name: str) -> Path:
        """Photograph the screen as it is now; the numbers keep the photographs in their order."""
        self.pump(0.3)
        self._n_photos += 1
        self.photos.mkdir(parents=True, exist_ok=True)
        path = self.photos / f"{self._n_photos:02d}-{re.sub('[^a-z0-9]+', '-', name.lower()).strip('-')}.png"
        subprocess.run(["scrot", "--overwrite", path], check=True)
        return path

    def close(self) -> None:
        """Close the window as its cross does."""
        self.viewer.close()
        self.pump(0.2)

    def _point(self, place: QWidget | str | Point) -> Point:
        if isinstance(place, str):
            place = self.widget(place)
        return self.place(place) if isinstance(place, QWidget) else place

    def _xdotool(self, *words: object) -> None:
        """Run xdotool while the window goes on, and let it take in what happened."""
        hand = subprocess.Popen(["xdotool", *map(str, words)])
        while hand.poll() is None:
            self.pump(0.005)
        assert hand.returncode == 0, f"xdotool {words[0]} failed"
        self.pump(0.1)


def _scroll_to(widget: QWidget) -> None:
    """Scroll as a person does who looks for a widget in a long dock."""
    parent = widget.parentWidget()
    while parent is not None:
        if isinstance(parent, QScrollArea):
            parent.ensureWidgetVisible(widget)
        parent = parent.parentWidget()


def _entry(menu: QMenuBar | QMenu, word: str) -> Any:
    """Find an entry by how its text begins."""
    actions = (action for action in menu.actions() if action.isVisible() and action.isEnabled())
    return next((each for each in actions if each.text().replace("&", "").startswith(word)), None)


def _line(start: Point, end: Point, stride: float = 12) -> list[Point]:
    """Points of the screen on the way to the end, a few pixels apart."""
    n_points = max(1, round(np.hypot(*np.subtract(end, start)) / stride))
    return [(round(x), round(y)) for x, y in np.linspace(start, end, n_points + 1)[1:]]
