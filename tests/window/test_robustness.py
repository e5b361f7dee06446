"""What users and computers do to a dock: it goes on, or says in a sentence why not, and loses nothing."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import napari
import numpy as np
import pytest
from driver import missing
from qtpy.QtWidgets import QApplication, QLabel
from user import User

from napari_unet.core.targets import Example
from napari_unet.session import learning
from napari_unet.widgets.commands import open_dock
from napari_unet.widgets.dock import Dock

ALONE = Path(__file__).with_name("alone.py")


@pytest.fixture
def training(user: User) -> User:
    """A user whose network is learning."""
    user.open_sample()
    user.open_dock()
    user.annotate()
    user.paint_nuclei(1)
    user.train()
    return user


@pytest.mark.parametrize("layer", ["image", "annotation"])
def test_a_layer_deleted_during_training_ends_it_and_a_new_one_begins(training: User, layer: str):
    training.viewer.layers.remove(getattr(training, layer))

    training.wait("the training ends", lambda: training.phase == "idle")
    training.photograph(f"the {layer} deleted")
    if layer == "image":
        training.open_sample()
    training.annotate()
    training.paint_nuclei()
    training.train()


def test_layers_renamed_swapped_and_a_prediction_deleted_change_nothing(training: User):
    prediction = training.prediction
    training.image.name, training.annotation.name, prediction.name = "one", "two", "three"
    training.viewer.layers.reverse()
    prediction.data[training.plane] = 0

    training.wait("the prediction goes on", lambda: prediction.data[training.plane].any())
    assert training.prediction is None  # no second one under the old name

    training.viewer.layers.remove(prediction)
    training.wait("another prediction", lambda: training.prediction and training.predicted.any())


def test_two_docks_share_one_session(training: User):
    other = Dock(training.viewer)
    training.viewer.window.add_dock_widget(other, name="another dock")
    training.pump(0.3)

    assert other.session is training.session
    training.click(training.widget("stop", root=other))
    training.wait("both stop", lambda: training.phase == "idle")


def test_of_two_viewers_one_is_closed_and_the_other_trains_on(training: User):
    second = napari.Viewer()
    second.add_image(training.image.data)
    assert open_dock(second).session is not training.session

    second.close()

    steps = training.steps
    training.wait("the first goes on", lambda: training.steps > steps)


def test_an_error_in_the_training_is_one_sentence_with_details_to_copy(
    user: User, monkeypatch: pytest.MonkeyPatch
):
    def broken(*_: object) -> Iterator[Example]:
        yield from ()
        raise RuntimeError("the network fell over")

    monkeypatch.setattr(learning, "train", broken)
    user.open_sample()
    user.open_dock()
    user.annotate()
    user.paint_nuclei()

    user.click("train")

    said = "RuntimeError: the network fell over"
    user.wait(
        "the dock says so", lambda: any(said in each.text() for each in user.window.findChildren(QLabel))
    )
    user.photograph("an error as a sentence")
    user.click("copy_details")
    assert "Traceback" in QApplication.clipboard().text()
    assert user.phase == "idle"


@pytest.mark.parametrize("end", ["closed-training", "closed-segmenting", "command-line"])
def test_a_window_closes_in_the_middle_of_things(end: str):
    with _alone(end) as napari_alone:
        assert napari_alone.wait(timeout=100) == 0


def test_strokes_and_model_survive_a_kill(user: User):
    with _alone("killed") as victim:
        assert victim.stdout.readline().strip() == "kept"

    user.open_sample()
    user.open_dock()
    user.wait("restoring is offered", lambda: user.session.state.kept)
    user.photograph("restoring is offered")
    user.click("restore")
    user.wait("the model is back", lambda: user.session.state.has_model)

    user.photograph("restored")
    assert set(np.unique(user.annotation.data)) == {0, 1, 2}
    assert [each.index for each in user.session.state.images[0].planes] == [(2,)]
    user.train()


@contextmanager
def _alone(end: str) -> Iterator[subprocess.Popen[str]]:
    """A napari in a process of its own; killed, as by `kill -9`, where it has not ended by itself."""
    if reason := missing():
        pytest.skip(reason)
    environment = {**os.environ, "NAPARI_EXIT_ON_ERROR": "1", "PYTHONPATH": os.pathsep.join(sys.path)}
    words = [sys.executable, ALONE, end]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True, env=environment) as process:
        yield process
        process.kill()
