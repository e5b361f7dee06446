import subprocess
import sys

import numpy as np
import pytest
from napari._app_model import get_app_model
from napari.layers import Labels
from npe2 import PluginManifest
from qtpy.QtWidgets import QLabel, QMenu

from napari_unet.core.modelfile import Model, save_model
from napari_unet.core.networks import build_network
from napari_unet.core.networks.unet import UNetConfig
from napari_unet.core.targets import ClassLabel
from napari_unet.session.jobs import run_now
from napari_unet.session.shared import session_of
from napari_unet.widgets import commands
from napari_unet.widgets import dock as dock_module
from napari_unet.widgets.dock import Dock

IMAGE = np.random.default_rng(0).integers(0, 255, (3, 64, 64), np.uint8)
CLASSES = (ClassLabel(1, 0, "background"), ClassLabel(2, 2, "nucleus"))


@pytest.fixture(autouse=True)
def at_once(tmp_path, monkeypatch):
    """Jobs run to their end where they are started; strokes are kept in a folder of the test."""
    monkeypatch.setenv("NAPARI_UNET_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(dock_module, "start_in_thread", run_now)


@pytest.fixture
def viewer(make_napari_viewer):
    viewer = make_napari_viewer()
    viewer.add_image(IMAGE, name="cells")
    return viewer


@pytest.fixture
def with_model(viewer, tmp_path):
    """A dock that has loaded a model."""
    network = build_network("unet", UNetConfig(width=2, depth=1, n_classes=2))
    values = ("classes", CLASSES, "YX", (1.0, 1.0), "pixel", ("",), "percentile", {}, "0.1.0")
    save_model(Model(network, "unet", *values), tmp_path / "model.safetensors")
    dock = commands.open_dock(viewer)
    dock.session.load_model(tmp_path / "model.safetensors")
    return dock.session


def choose(viewer, *words):
    """Choose from the menu bar: each word begins the text of an entry."""
    entries = viewer.window._qt_window.menuBar().actions()
    for word in words:
        action = next(each for each in entries if each.text().replace("&", "").startswith(word))
        menu = action.menu()
        if isinstance(menu, QMenu):
            menu.aboutToShow.emit()
            entries = menu.actions()
    action.trigger()


@pytest.mark.parametrize("menu", [("Plugins",), ("Layers", "Segment")])
def test_the_menus_open_and_hide_the_dock(menu, viewer, qtbot):
    viewer.show()
    choose(viewer, *menu, "napari-unet (napari-unet)")
    (dock,) = viewer.window.dock_widgets.values()
    assert isinstance(dock, Dock)
    assert dock.session is session_of(viewer)
    qtbot.waitUntil(dock.isVisible)
    choose(viewer, *menu, "napari-unet (napari-unet)")
    assert dock.parentWidget().isHidden()


def test_the_menu_annotates_the_image_and_opens_the_dock(viewer):
    choose(viewer, "Layers", "Annotate", "Annotate the image for a U-Net")
    layer = viewer.layers.selection.active
    assert isinstance(layer, Labels)
    assert layer is session_of(viewer).desk.current.layer
    assert layer.mode == "paint"


def test_the_menu_segments_the_slice_that_is_shown(viewer, with_model):
    viewer.dims.set_point(0, 1)
    choose(viewer, "Layers", "Segment", "Segment this slice")
    assert "cells segmentation" in viewer.layers
    assert viewer.layers["cells segmentation"].data.shape == IMAGE.shape


def test_the_menu_segments_the_stack(viewer, with_model):
    choose(viewer, "Layers", "Segment", "Segment the whole stack")
    result = viewer.layers["cells segmentation"]
    assert result.data.shape == IMAGE.shape
    assert set(np.unique(result.data)) <= {0, 2}


def test_the_menu_measures_the_objects_of_the_selected_layer(viewer):
    layer = viewer.add_labels((IMAGE > 250).astype(np.uint8) * 3, name="objects")
    choose(viewer, "Layers", "Measure", "Measure the objects of this layer")
    assert layer.features["volume"][3] == (layer.data == 3).sum()


def test_without_a_model_the_dock_says_so(viewer):
    said = []
    commands.open_dock(viewer).session.failed.connect(said.append)
    choose(viewer, "Layers", "Segment", "Segment this slice")
    assert said[0].sentence == "there is no model yet: train one, or load one"


def test_every_command_is_in_the_command_palette(viewer):
    titles = {str(action.title) for action in get_app_model().registered_actions.values()}
    for title in ("Annotate the image for a U-Net", "Segment this slice with the U-Net"):
        assert f"{title} (napari-unet)" in titles


def test_a_dock_that_is_hidden_is_shown_again(viewer):
    dock = commands.open_dock(viewer)
    dock.parentWidget().close()
    assert commands.open_dock(viewer) is dock
    assert not dock.parentWidget().isHidden()


def test_without_a_window_there_is_nothing_to_act_on(monkeypatch):
    monkeypatch.setattr(commands, "current_viewer", lambda: None)
    with pytest.raises(ValueError, match="there is no napari window: open one first"):
        commands.annotate()


AS_TYPED = """
import sys
sys.argv = ["napari", "-w", "napari-unet"]
from napari.__main__ import _build_viewer
viewer = _build_viewer()
print(*(type(dock).__module__ for dock in viewer.window.dock_widgets.values()))
viewer.close()
"""


def test_the_command_line_of_napari_opens_the_dock():
    ended = subprocess.run([sys.executable, "-c", AS_TYPED], capture_output=True, text=True, check=False)
    assert ended.stdout == "napari_unet.widgets.dock\n", ended.stderr


def test_the_preferences_are_a_page_of_napari_s_dialog(viewer, qtbot):
    dialog = viewer.window._open_preferences_dialog()
    pages = [dialog._list.item(i).text() for i in range(dialog._list.count())]
    labels = {label.text() for label in dialog.findChildren(QLabel)}
    dialog.close()
    assert "napari-unet" in pages
    manifest = PluginManifest.from_distribution("napari-unet")
    preferences = manifest.contributions.configurations["training"].properties
    assert {each.title for each in preferences.values()} <= labels
