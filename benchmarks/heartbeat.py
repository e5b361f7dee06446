"""A heart that beats in the window, and a hand that paints there without a rest."""

from collections.abc import Callable, Iterator, Sequence
from itertools import cycle
from time import perf_counter

import numpy as np
from qtpy.QtCore import QEvent, QEventLoop, QPointF, Qt, QTimer
from qtpy.QtGui import QMouseEvent
from qtpy.QtWidgets import QApplication
from user import Line, User

BEAT_MS = 10
MOUSE_MS = 16
"""A mouse reports its place about 60 times a second."""
POINTS, REST = 30, 12
"""Mouse reports in a stroke, and between two: half a second and a fifth."""


class Heartbeat:
    """Time how late a timer of 10 ms fires: what a person feels as stutter."""

    def __init__(self) -> None:
        self._timer = QTimer(timerType=Qt.TimerType.PreciseTimer)
        self._timer.timeout.connect(self._beat)
        self._last = 0.0
        self.gaps: list[float] = []

    def listen(self, seconds: float) -> np.ndarray:
        """Return the milliseconds between the beats of the next seconds."""
        self.gaps, self._last = [], perf_counter()
        self._timer.start(BEAT_MS)
        live(seconds)
        self._timer.stop()
        return np.array(self.gaps)

    def _beat(self) -> None:
        now = perf_counter()
        self.gaps.append(1000 * (now - self._last))
        self._last = now


class Hand:
    """Paint stroke after stroke of both classes, and go on to the next slice after a few."""

    def __init__(self, user: User, strokes: Sequence[Sequence[tuple[int, Line]]]) -> None:
        self._user = user
        self._canvas = user.viewer.window._qt_viewer.canvas.native
        self._strokes = strokes
        self._timer = QTimer(timerType=Qt.TimerType.PreciseTimer)
        self._timer.timeout.connect(lambda: next(self._moves))
        self.released_at: list[float] = []
        self._moves = self._paint()

    def start(self) -> None:
        self._timer.start(MOUSE_MS)

    def rest(self) -> None:
        self._timer.stop()

    def _paint(self) -> Iterator[None]:
        """Yield after each thing that a hand does in one report of the mouse."""
        rng = np.random.default_rng(0)
        for plane in cycle(range(len(self._strokes))):
            self._user.viewer.dims.set_current_step(0, plane)
            yield from [None] * REST
            for value, stroke in self._strokes[plane]:
                self._user.annotation.selected_label = value
                elsewhere = np.array(stroke) + rng.uniform(-30, 30, 2)  # the same again would be nothing new
                yield from self._drag(elsewhere)
                yield from [None] * REST

    def _drag(self, stroke: np.ndarray) -> Iterator[None]:
        start, end = (np.array(self._user.on_canvas(self._user.annotation, corner)) for corner in stroke)
        self._send(QEvent.Type.MouseButtonPress, start)
        for share in np.linspace(0, 1, POINTS):
            yield
            self._send(QEvent.Type.MouseMove, start + share * (end - start))
        self._send(QEvent.Type.MouseButtonRelease, end)
        self.released_at.append(perf_counter())
        yield

    def _send(self, kind: QEvent.Type, place: np.ndarray) -> None:
        button, none = Qt.MouseButton.LeftButton, Qt.MouseButton.NoButton
        on_screen = QPointF(*map(float, place))
        at = self._canvas.mapFromGlobal(on_screen)
        pressed = none if kind == QEvent.Type.MouseButtonRelease else button
        cause = none if kind == QEvent.Type.MouseMove else button
        event = QMouseEvent(kind, at, on_screen, cause, pressed, Qt.KeyboardModifier.NoModifier)
        QApplication.sendEvent(self._canvas, event)


def live(seconds: float) -> None:
    """Let the window live for a while, in a real event loop as napari's own."""
    loop = QEventLoop()
    QTimer.singleShot(int(1000 * seconds), loop.quit)
    loop.exec()


def live_until(condition: Callable[[], object]) -> None:
    while not condition():
        live(0.01)
