import numpy as np
import pytest
from napari.utils.notifications import notification_manager
from qtpy.QtCore import QMimeData, QPointF, Qt, QUrl
from qtpy.QtGui import QDropEvent
from safetensors.numpy import save_file

from napari_unet.core import modelfile
from napari_unet.core.modelfile import Model, save_model
from napari_unet.core.networks import build_network
from napari_unet.core.networks.unet import UNetConfig
from napari_unet.core.targets import ClassLabel
from napari_unet.session.jobs import run_now
from napari_unet.session.shared import session_of
from napari_unet.widgets import dock as dock_module
from napari_unet.widgets import reader

CLASSES = (ClassLabel(1, 0, "background"), ClassLabel(2, 2, "nucleus"))


@pytest.fixture(autouse=True)
def at_once(tmp_path, monkeypatch):
    """Jobs run to their end where they are started; strokes are kept in a folder of the test."""
    monkeypatch.setenv("NAPARI_UNET_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(dock_module, "start_in_thread", run_now)


@pytest.fixture
def viewer(make_napari_viewer):
    return make_napari_viewer()


@pytest.fixture
def model_file(tmp_path):
    network = build_network("unet", UNetConfig(width=2, depth=1, n_classes=2))
    values = ("classes", CLASSES, "YX", (1.0, 1.0), "pixel", ("",), "percentile", {"steps": 7}, "0.1.0")
    save_model(Model(network, "unet", *values), tmp_path / "nuclei.safetensors")
    return tmp_path / "nuclei.safetensors"


@pytest.fixture
def foreign_file(tmp_path):
    save_file({"weight": np.zeros(3)}, tmp_path / "foreign.safetensors")
    return tmp_path / "foreign.safetensors"


@pytest.fixture
def notices():
    """What napari has told the user."""
    notification_manager.records.clear()
    return notification_manager.records


def drop(viewer, path):
    """Drop a file onto the canvas."""
    data = QMimeData()
    data.setUrls([QUrl.fromLocalFile(str(path))])
    buttons, keys = Qt.MouseButton.LeftButton, Qt.KeyboardModifier.NoModifier
    event = QDropEvent(QPointF(5, 5), Qt.DropAction.CopyAction, data, buttons, keys)
    viewer.window._qt_viewer.dropEvent(event)


def test_a_model_that_is_dropped_is_loaded_in_the_dock(viewer, model_file, notices):
    drop(viewer, model_file)
    state = session_of(viewer).state
    assert state.has_model
    assert [style.name for style in state.classes] == ["background", "nucleus"]
    assert list(viewer.layers) == []
    assert notices == []


def test_the_open_dock_takes_the_model(viewer, model_file):
    dock = viewer.window.add_plugin_dock_widget("napari-unet")[1]
    viewer.open(model_file, plugin="napari-unet")
    assert dock.session.state.has_model
    assert len(viewer.window.dock_widgets) == 1


def test_a_foreign_file_is_refused_in_one_sentence_and_opens_no_dock(viewer, foreign_file, notices):
    drop(viewer, foreign_file)
    (notice,) = notices
    assert notice.message == (
        "foreign.safetensors is not a model of napari-unet: "
        "choose one that the dock or `napari-unet train` saved"
    )
    assert session_of(viewer) is None
    assert list(viewer.layers) == []


def test_a_damaged_file_is_refused_in_one_sentence(viewer, model_file, notices):
    model_file.write_bytes(model_file.read_bytes()[:20])
    drop(viewer, model_file)
    (notice,) = notices
    assert notice.message.startswith("nuclei.safetensors cannot be read (")
    assert notice.message.endswith("): copy it again")


def test_several_files_as_one_stack_are_refused(viewer, model_file, notices):
    viewer.open([model_file, model_file], stack=True, plugin="napari-unet")
    assert notices[0].message == "2 files were opened as one: open one model at a time"


def test_without_a_window_the_error_names_the_function_to_use(model_file):
    with pytest.raises(ValueError, match="load_model opens it without a napari window"):
        reader.read_model(str(model_file))


def test_the_reader_looks_for_the_name_that_model_files_bear():
    assert reader.FORMAT == modelfile.FORMAT


@pytest.mark.parametrize("answer", [False, True])
def test_a_present_model_is_replaced_only_if_the_user_agrees(viewer, model_file, monkeypatch, answer):
    drop(viewer, model_file)
    session = session_of(viewer)
    network = session.teaching.model.network
    monkeypatch.setattr(reader, "agrees", lambda *_: answer)
    drop(viewer, model_file)
    assert (session.teaching.model.network is not network) == answer
