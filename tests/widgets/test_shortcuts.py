import numpy as np
import pytest
from app_model.types import KeyBinding
from napari import layers
from napari.components import ViewerModel
from napari.layers import Labels
from napari.utils.key_bindings import KeymapHandler
from napari.utils.shortcuts import default_shortcuts
from qtpy.QtWidgets import QLabel

from napari_unet.session.classes import DEFAULT_CLASSES
from napari_unet.session.state import SessionState
from napari_unet.widgets.shortcuts import DIGITS, OBJECT_SHORTCUTS, SHORTCUTS, ShortcutsList, bind_shortcuts

LAYERS = ("Image", "Labels", "Layer", "Points", "Shapes", "Surface", "Tracks", "Vectors")


@pytest.fixture
def layer():
    return Labels(np.zeros((8, 8), np.uint8))


@pytest.fixture
def keys(layer, session):
    """A keyboard whose keys go to the layer first and then to the viewer, as in napari."""
    handler = KeymapHandler()
    handler.keymap_providers = [layer, ViewerModel()]
    return handler


def napari_keys():
    taken = {str(key) for keys in default_shortcuts.values() for key in keys}
    for provider in (ViewerModel, *(getattr(layers, name) for name in LAYERS)):
        taken |= {str(key) for key in provider.class_keymap}
    return taken


def test_no_key_is_one_of_napari(layer):
    ours = {str(KeyBinding.from_str(each.key)) for each in (*SHORTCUTS, *OBJECT_SHORTCUTS)}
    assert len(ours) == len(SHORTCUTS) + len(OBJECT_SHORTCUTS)
    assert ours & napari_keys() == {"M"}  # napari's next label, which it replaces


def test_digits_take_only_keys_of_modes_that_have_a_letter(layer):
    digits = {str(digit) for digit in DIGITS}
    modes = {
        name: [str(key) for key in keys]
        for name, keys in default_shortcuts.items()
        if "labels" in name and digits & {str(key) for key in keys}
    }
    assert all("activate_labels" in name for name in modes)
    without_letter = {name for name, keys in modes.items() if not set(keys) - digits}
    assert without_letter == {
        "napari:activate_labels_polygon_mode",
        "napari:activate_labels_transform_mode",
    }


def test_keys_belong_to_this_layer_alone(layer, session):
    session.state = SessionState()
    before = dict(Labels.class_keymap)
    bind_shortcuts(layer, session)
    bind_shortcuts(layer, session)
    assert len(layer.keymap) == len(SHORTCUTS) + len(DIGITS)
    assert Labels.class_keymap == before
    assert not Labels(np.zeros((8, 8), np.uint8)).keymap


@pytest.mark.parametrize(
    ("key", "state", "asked"),
    [
        ("K", SessionState(), "toggle_complete"),
        ("G", SessionState(), "take_prediction"),
        ("H", SessionState(), "toggle_prediction"),
        ("U", SessionState(), "train"),
        ("U", SessionState(phase="training"), "pause"),
        ("U", SessionState(phase="paused"), "resume"),
        ("U", SessionState(phase="settled"), "train"),
        ("W", SessionState(task="objects"), "show_weight_map"),
        ("Q", SessionState(task="objects"), "use_tool"),
        ("N", SessionState(task="objects"), "use_tool"),
        ("J", SessionState(task="objects"), "use_tool"),
        ("M", SessionState(task="objects"), "next_object"),
        ("0", SessionState(task="objects"), "paint_background"),
    ],
)
def test_a_key_asks_the_session(layer, keys, session, key, state, asked):
    session.state = state
    bind_shortcuts(layer, session)
    keys.press_key(key)
    getattr(session, asked).assert_called_once()


@pytest.mark.parametrize(
    ("key", "state", "not_asked"),
    [
        ("U", SessionState(can_train="paint first"), "train"),
        ("U", SessionState(phase="stopping"), "train"),
        ("W", SessionState(task="classes"), "show_weight_map"),
        ("Q", SessionState(task="classes"), "use_tool"),
        ("9", SessionState(), "select_class"),
        ("0", SessionState(), "paint_background"),
    ],
)
def test_a_key_that_makes_no_sense_does_nothing(layer, keys, session, key, state, not_asked):
    session.state = state
    bind_shortcuts(layer, session)
    keys.press_key(key)
    getattr(session, not_asked).assert_not_called()


def test_digits_choose_classes_and_labels_of_objects(layer, keys, session):
    session.state = SessionState(classes=DEFAULT_CLASSES)
    bind_shortcuts(layer, session)
    keys.press_key("2")
    session.select_class.assert_called_once_with(2)
    session.state = SessionState(task="objects")
    bind_shortcuts(layer, session)
    keys.press_key("1")  # napari's own is the eraser
    session.paint_label.assert_called_once_with(1)


def test_the_list_tells_every_key(qtbot):
    listed = ShortcutsList()
    qtbot.addWidget(listed)
    words = " ".join(label.text() for label in listed.findChildren(QLabel))
    for shortcut in (*SHORTCUTS, *OBJECT_SHORTCUTS):
        assert f"<b>{shortcut.key}</b>" in words
        assert shortcut.words in words
