"""The dock: a column of parts around one session, the clock that drives it, and its end."""

from collections.abc import Callable, Generator
from dataclasses import replace
from math import inf
from time import monotonic
from typing import TYPE_CHECKING
from weakref import WeakSet

from napari.utils.events import EventEmitter
from napari.utils.notifications import show_error
from qtpy.QtCore import QEvent, QObject, Qt, QTimer
from qtpy.QtGui import QCloseEvent
from qtpy.QtWidgets import QFrame, QMainWindow, QScrollArea, QWidget

from napari_unet.session.jobs import Failure, run_now
from napari_unet.session.session import Session
from napari_unet.session.shared import open_session, session_of
from napari_unet.widgets.background import start_in_thread
from napari_unet.widgets.classes_form import ClassesForm
from napari_unet.widgets.correct_part import CorrectPart
from napari_unet.widgets.image_part import ImagePart
from napari_unet.widgets.layouts import Folded, column
from napari_unet.widgets.measure_part import MeasurePart
from napari_unet.widgets.message import Message, RestoreBanner
from napari_unet.widgets.model_part import ModelPart
from napari_unet.widgets.planes_part import PlanesPart
from napari_unet.widgets.preferences import preferences
from napari_unet.widgets.segment_part import SegmentPart
from napari_unet.widgets.settings_form import SettingsForm
from napari_unet.widgets.shortcuts import ShortcutsList, bind_shortcuts, unbind_shortcuts
from napari_unet.widgets.task_part import TaskPart
from napari_unet.widgets.training_part import TrainingPart

if TYPE_CHECKING:
    from napari.viewer import Viewer

TICK_MILLISECONDS = 100
REPEAT_SECONDS = 2.0
"""An error of a tick that comes again sooner is the same one."""
WIDTH = 300

_open_docks: "WeakSet[Dock]" = WeakSet()


class Dock(QWidget):
    """Everything between an image and its segmentation. Docks of one viewer share its session."""

    def __init__(self, napari_viewer: "Viewer") -> None:
        super().__init__()
        self.session = session_of(napari_viewer) or _new_session(napari_viewer)
        self._message, self._training = Message(), TrainingPart(self.session)
        banner, settings = RestoreBanner(self.session), SettingsForm(self.session)
        parts = (
            ImagePart(self.session),
            TaskPart(self.session),
            ClassesForm(self.session),
            PlanesPart(self.session),
            self._training,
            CorrectPart(self.session),
            SegmentPart(self.session),
            MeasurePart(self.session),
            ModelPart(self.session),
        )
        self._parts = (banner, *parts, settings)
        folded = (Folded("Advanced", "advanced", settings), ShortcutsList())
        column(self, banner, self._message, _scrolled(*parts, *folded)).setContentsMargins(4, 0, 4, 0)
        self._is_watching = self._window_asked = False
        self._is_ticking = False
        self._failed_at: dict[str, float] = {}
        self._begin()

    def _begin(self) -> None:
        """Follow the session, and let it look around."""
        _open_docks.add(self)
        self.session.changed.connect(self._show_state)
        self.session.updated.connect(self._training.show_update)
        self.session.failed.connect(self._on_failed)
        self.session.said.connect(self._message.show_words)
        for event in self._layer_events():
            event.connect(self._show_state)
        self._show_state()
        self._timer = QTimer(self)
        self._timer.timeout.connect(self._tick)
        self._timer.start(TICK_MILLISECONDS)
        self._tick()

    def end(self) -> None:
        """Take leave of the session; the last dock of a viewer closes it, and what was painted is kept."""
        if self not in _open_docks:
            return
        self._timer.stop()
        for event in self._layer_events():
            event.disconnect(self._show_state)
        self.session.changed.disconnect(self._show_state)
        self.session.updated.disconnect(self._training.show_update)
        self.session.failed.disconnect(self._on_failed)
        self.session.said.disconnect(self._message.show_words)
        _open_docks.discard(self)
        if all(dock.session is not self.session for dock in _open_docks):
            unbind_shortcuts(self.session.viewer.layers)
            run_now(_job(self.session.close), _ignore, _ignore, lambda failure: show_error(failure.sentence))

    def _layer_events(self) -> tuple[EventEmitter, ...]:
        """Return what changes the list of images to choose from."""
        events = self.session.viewer.layers.events
        return events.inserted, events.removed, events.renamed

    def _show_state(self, _: object = None) -> None:
        state = self.session.state
        for part in self._parts:
            part.show_state(state)
        for image in self.session.desk.images:
            bind_shortcuts(image.layer, self.session)

    def _tick(self) -> None:
        self._watch_window()
        self._is_ticking = True
        run_now(_job(self.session.tick), _ignore, _ignore, self._on_failed)
        self._is_ticking = False

    def _on_failed(self, failure: Failure) -> None:
        """Show an error; one that every tick repeats is shown once, or it could never be closed."""
        now, last = monotonic(), self._failed_at.get(failure.sentence, -inf)
        if self._is_ticking:
            self._failed_at[failure.sentence] = now
        if not self._is_ticking or now - last > REPEAT_SECONDS:
            self._message.show_failure(failure)

    def _watch_window(self) -> None:
        """Watch the main window, once the dock has been put into it."""
        window = self._main_window()
        if window is not None and not self._is_watching:
            self._is_watching = True
            window.installEventFilter(self)

    def _main_window(self) -> QMainWindow | None:
        """Find the window; holding it would keep it alive after napari has let it go."""
        at = self.parentWidget()
        while at is not None and not isinstance(at, QMainWindow):
            at = at.parentWidget()
        return at

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        """See the window go: asked to close it hides, unless napari's question is answered by no."""
        if isinstance(watched, QMainWindow):
            is_asked = event.type() == QEvent.Type.Close
            self._window_asked |= is_asked
            hides = event.type() == QEvent.Type.Hide and not event.spontaneous()
            if self._window_asked and (hides or (is_asked and not watched.isVisible())):
                self.end()
        return False

    def event(self, event: QEvent) -> bool:
        """See the cross of the frame pressed: napari takes the dock out of its frame then."""
        if event.type() == QEvent.Type.ParentChange and self.parent() is None:
            self.end()
        return bool(super().event(event))

    def closeEvent(self, event: QCloseEvent) -> None:
        """End where the dock is a window of its own."""
        super().closeEvent(event)
        self.end()


def _new_session(viewer: "Viewer") -> Session:
    """Begin a session as the user prefers, and load torch before it is needed."""
    wishes = preferences()
    threads, pause = wishes.threads or None, wishes.preview_seconds
    session = open_session(viewer, start_in_thread, threads=threads, preview_pause=pause)
    session.set_settings(replace(session.settings, device=wishes.device))
    session.load_torch()
    return session


def _job(call: Callable[[], object]) -> Generator[None, None, None]:
    """Make a job of a call, so that its errors become sentences as those of all jobs do."""
    call()
    return
    yield


def _ignore(_: None) -> None:
    """Nobody waits for this."""


def _scrolled(*parts: QWidget) -> QScrollArea:
    """Put the parts into a column that scrolls where the window is low."""
    inner, area = QWidget(), QScrollArea()
    layout = column(inner, *parts)
    layout.addStretch(1)  # parts keep their height, though tables and curves would grow
    layout.setContentsMargins(0, 0, 4, 0)
    area.setWidget(inner)
    area.setWidgetResizable(True)
    area.setFrameShape(QFrame.Shape.NoFrame)
    area.setFocusPolicy(Qt.FocusPolicy.NoFocus)  # a click in the dock leaves the arrow keys to the slices
    area.setMinimumWidth(WIDTH)
    return area
