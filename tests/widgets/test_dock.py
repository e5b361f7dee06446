import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from napari.layers import Labels
from napari.utils.notifications import notification_manager
from qtpy.QtWidgets import QApplication, QComboBox, QLabel, QMainWindow, QPushButton

from napari_unet.session.jobs import Failure, run_now
from napari_unet.session.kept import find_kept
from napari_unet.session.settings import Settings
from napari_unet.session.shared import session_of
from napari_unet.widgets import dock as dock_module
from napari_unet.widgets.dock import Dock
from napari_unet.widgets.message import Message
from napari_unet.widgets.preferences import Preferences

IMAGE = np.random.default_rng(0).integers(0, 255, (3, 64, 64), np.uint8)


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    """Strokes are kept here."""
    monkeypatch.setenv("NAPARI_UNET_HOME", str(tmp_path))


@pytest.fixture
def at_once(monkeypatch):
    """Jobs run to their end where they are started."""
    monkeypatch.setattr(dock_module, "start_in_thread", run_now)


@pytest.fixture
def viewer(make_napari_viewer_proxy):
    viewer = make_napari_viewer_proxy()
    viewer.add_image(IMAGE, name="cells", scale=(2, 0.5, 0.5), translate=(1, 2, 3), units=("um",) * 3)
    return viewer


@pytest.fixture
def dock(at_once, viewer):
    return viewer.window.add_plugin_dock_widget("napari-unet")[1]


@pytest.fixture
def closed(monkeypatch):
    """Which sessions have been closed."""
    sessions = []
    monkeypatch.setattr(dock_module.Session, "close", lambda session: sessions.append(session))
    return sessions


def press(dock, name):
    button = dock.findChild(QPushButton, name)
    assert button.isEnabled(), button.toolTip()
    button.click()


def words(dock):
    """What the message says, "" where none is shown."""
    message = dock.findChild(Message)
    return "" if message.isHidden() else message.findChild(QLabel, "message_words").text()


def raw(layer):
    """The layer behind napari's proxy."""
    return getattr(layer, "__wrapped__", layer)


def paint(session):
    """Two classes on the first slice."""
    session.desk.annotate()
    layer = session.desk.current.layer
    for row, value in ((10, 1), (40, 2)):
        layer.selected_label = value
        layer.paint((0, row, 20), value)
    session.follow_painting()
    session.tick()


def test_the_dock_has_chosen_the_image_that_is_there(dock, viewer):
    (layer,) = dock.session.state.choice.layers
    assert layer is raw(viewer.layers["cells"])
    assert dock.findChild(QComboBox, "image").currentText() == "cells"


def test_annotate_adds_a_layer_that_lies_on_the_image_with_the_brush_ready(dock, viewer):
    press(dock, "annotate")
    image, layer = viewer.layers["cells"], raw(viewer.layers[-1])
    assert isinstance(layer, Labels)
    assert layer is raw(viewer.layers.selection.active)
    assert layer.mode == "paint"
    assert layer.data.shape == IMAGE.shape
    for name in ("scale", "translate"):
        np.testing.assert_array_equal(getattr(layer, name), getattr(image, name))
    assert layer.units == raw(image).units


def test_the_keys_work_on_the_annotation_layer(dock):
    press(dock, "annotate")
    layer = dock.session.desk.current.layer
    assert {"K", "1", "2"} <= {str(key) for key in layer.keymap}
    assert "K" not in {str(key) for key in Labels(IMAGE).keymap}


def test_a_button_says_why_it_cannot_be_pressed(dock):
    train = dock.findChild(QPushButton, "train")
    assert not train.isEnabled()
    assert "press Annotate" in train.toolTip()
    paint(dock.session)
    assert train.isEnabled()


def test_images_that_come_go_or_are_renamed_are_listed(dock, viewer):
    images = dock.findChild(QComboBox, "image")
    other = viewer.add_image(IMAGE[0], name="other")
    assert {images.itemText(i) for i in range(images.count())} == {"cells", "other"}
    other.name = "another"
    assert {images.itemText(i) for i in range(images.count())} == {"cells", "another"}
    viewer.layers.remove("another")
    assert [images.itemText(i) for i in range(images.count())] == ["cells"]


def test_a_second_dock_shares_the_session_and_only_the_last_one_closes_it(dock, viewer, closed):
    second = Dock(viewer)
    frame = viewer.window.add_dock_widget(second)
    assert second.session is dock.session
    viewer.window.remove_dock_widget(frame)
    assert closed == []
    viewer.window.remove_dock_widget(dock)
    assert closed == [dock.session]


def test_two_viewers_have_a_session_each(at_once, make_napari_viewer):
    viewers = [make_napari_viewer(), make_napari_viewer()]
    docks = [viewer.window.add_plugin_dock_widget("napari-unet")[1] for viewer in viewers]
    assert docks[0].session is session_of(viewers[0])
    assert docks[1].session is session_of(viewers[1])
    assert docks[0].session is not docks[1].session


def test_hiding_the_dock_closes_nothing(dock, closed):
    dock.parentWidget().close()
    assert closed == []


class Window(QMainWindow):
    """A window that may refuse to close, as napari's does when its question is answered by no."""

    refuses = False

    def closeEvent(self, event):
        event.setAccepted(not self.refuses)


@pytest.mark.parametrize("is_shown", [True, False], ids=["shown", "never shown"])
def test_a_closed_window_closes_the_session(is_shown, at_once, viewer, closed, qtbot):
    window, dock = Window(), Dock(viewer)
    qtbot.addWidget(window)
    window.setCentralWidget(dock)
    window.setVisible(is_shown)
    qtbot.wait(150)  # the first tick finds the window
    window.close()
    assert closed == [dock.session]


def test_a_window_that_refuses_to_close_keeps_the_session(at_once, viewer, closed, qtbot):
    window, dock = Window(), Dock(viewer)
    qtbot.addWidget(window)
    window.setCentralWidget(dock)
    window.show()
    qtbot.wait(150)
    window.refuses = True
    window.close()
    assert closed == []
    assert window.isVisible()
    window.refuses = False
    window.close()
    assert closed == [dock.session]


def test_a_dock_that_is_a_window_of_its_own_ends_with_it(at_once, viewer, closed, qtbot):
    dock = Dock(viewer)
    qtbot.addWidget(dock)
    dock.show()
    dock.close()
    dock.end()
    assert closed == [dock.session]


def test_after_the_end_the_session_is_left_alone(dock, viewer):
    session = dock.session
    viewer.window.remove_dock_widget(dock)
    assert len(session.changed) == len(session.updated) == len(session.failed) == len(session.said) == 0
    viewer.add_image(IMAGE)  # the dock does not hear of it


@pytest.mark.parametrize("error", [RuntimeError("the clock is broken"), OSError("the clock is broken")])
def test_what_goes_wrong_at_every_tick_is_one_sentence_that_can_be_closed(error, dock, monkeypatch):
    def break_down():
        raise error

    now = 1000.0
    monkeypatch.setattr(dock_module, "monotonic", lambda: now)
    monkeypatch.setattr(dock.session.desk, "find_image", break_down)
    dock._tick()
    assert words(dock).endswith("he clock is broken")
    press(dock, "close_message")
    dock._tick()
    now += 1
    dock._tick()
    assert words(dock) == ""
    now += 5
    dock._tick()
    assert words(dock).endswith("he clock is broken")


def test_a_session_that_cannot_close_says_why(dock, viewer, monkeypatch):
    def break_down():
        raise OSError("the disk is full: free some space")

    monkeypatch.setattr(dock.session, "close", break_down)
    notification_manager.records.clear()
    viewer.window.remove_dock_widget(dock)
    assert [each.message for each in notification_manager.records] == ["the disk is full: free some space"]


def test_a_dock_that_is_opened_again_goes_on_with_what_was_painted(dock, viewer):
    dock.session.annotate()
    paint(dock.session)
    images = dock.session.state.images
    viewer.window.remove_dock_widget(dock)
    again = viewer.window.add_plugin_dock_widget("napari-unet")[1]
    assert again is not dock
    assert again.session.state.images == images


def test_a_closed_dock_gives_its_keys_back_until_it_is_opened_again(dock, viewer):
    layers = []
    for task in ("classes", "objects"):
        dock.session.set_task(task)
        dock.session.annotate()
        layers.append(dock.session.desk.current.layer)
    theirs = raw(viewer.add_labels(IMAGE, name="theirs"))
    theirs.bind_key("K", print)
    assert all(layer.keymap for layer in layers)
    second = Dock(viewer)
    frame = viewer.window.add_dock_widget(second)
    viewer.window.remove_dock_widget(frame)
    assert all(layer.keymap for layer in layers)
    viewer.window.remove_dock_widget(dock)
    assert not any(layer.keymap for layer in layers) and len(theirs.keymap) == 1
    viewer.window.add_plugin_dock_widget("napari-unet")
    assert layers[1].keymap


def test_an_error_in_a_job_is_one_sentence_with_details_to_copy(dock):
    dock.session.failed.emit(Failure("the disk is full: free some space", "Traceback …"))
    assert words(dock) == "The disk is full: free some space"
    press(dock, "copy_details")
    assert "Traceback …" in QApplication.clipboard().text()


def test_what_the_session_says_is_shown(dock):
    dock.session.said.emit("the model is saved as cells.safetensors")
    assert words(dock) == "The model is saved as cells.safetensors"


def test_the_preferences_reach_the_session(at_once, viewer, monkeypatch):
    asked = {}
    real = dock_module.open_session
    monkeypatch.setattr(dock_module, "preferences", lambda: Preferences("cpu", 3, 2.5))
    monkeypatch.setattr(
        dock_module, "open_session", lambda *args, **wishes: asked.update(wishes) or real(*args, **wishes)
    )
    dock = Dock(viewer)
    assert asked == {"threads": 3, "preview_pause": 2.5}
    assert dock.session.settings.device == "cpu"
    dock.end()


def test_torch_is_loaded_in_the_background(viewer, qtbot):
    dock = viewer.window.add_plugin_dock_widget("napari-unet")[1]
    assert dock.session.device == ""
    qtbot.waitUntil(lambda: dock.session.device != "", timeout=60_000)
    assert "CPU" in dock.session.device or "GPU" in dock.session.device or "NVIDIA" in dock.session.device


def test_a_viewer_closed_during_training_loses_nothing(viewer, qtbot):
    dock = viewer.window.add_plugin_dock_widget("napari-unet")[1]
    session = dock.session
    session.set_settings(Settings(width=2, depth=1, device="cpu"))
    paint(session)
    painted = session.desk.current.layer.data.copy()
    key = session.desk.current.key
    seen = []
    session.updated.connect(seen.append)
    press(dock, "train")
    qtbot.waitUntil(lambda: len(seen) > 1, timeout=60_000)
    viewer.close()
    qtbot.waitUntil(lambda: session.teaching.phase == "idle", timeout=60_000)
    kept = find_kept(key)
    np.testing.assert_array_equal(dict(kept.cells())[0,][0, 0], painted[0])


@pytest.mark.parametrize("how", ["cross", "quit", "script"])
def test_napari_ends_while_it_trains_and_the_last_stroke_is_kept(how):
    script = Path(__file__).with_name("close_while_training.py")
    ended = subprocess.run(
        [sys.executable, str(script), how], capture_output=True, text=True, timeout=200, check=False
    )
    assert (ended.returncode, ended.stderr) == (0, "")
    key, last_words = ended.stdout.splitlines()
    assert last_words == "ended"
    assert set(find_kept(key).corners) == {(0,), (1,)}
