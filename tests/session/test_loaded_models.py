"""Models from elsewhere: from masks of 0 and 255 or of 16 bits, or with classes of other names."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from napari.components import ViewerModel

from napari_unet.core.modelfile import load_model, save_model
from napari_unet.core.targets import ClassLabel
from napari_unet.session.classes import add_class, without_class


@pytest.fixture(params=[255, 300])
def highest(request):
    return request.param


@pytest.fixture
def model_of(session, tmp_path):
    """Save a model that tells squares from ground and has these classes."""

    def make(*labels):
        session.paint_both()
        session.train_for(40)
        path = tmp_path / "model.safetensors"
        save_model(replace(session.teaching.model, classes=labels), path)
        return path

    return make


@pytest.fixture
def dense(model_of, highest):
    """A model as the command line trains it from masks of 0 and one other value."""
    return model_of(ClassLabel(1, 0, "class 0"), ClassLabel(highest + 1, highest, f"class {highest}"))


@pytest.fixture
def other(blobs, new_session):
    viewer = ViewerModel()
    viewer.add_image(blobs(64, 64, seed=5), name="other")
    return new_session(viewer)


def layer_named(session, word):
    return next(layer for layer in session.viewer.layers if word in layer.name)


def outputs(session):
    return [label.output_value for label in session.teaching.labels]


def test_a_model_of_dense_masks_is_corrected_and_trained_further(other, dense, highest, tmp_path):
    other.load_model(dense)
    assert [(each.value, each.output) for each in other.desk.classes] == [(1, None), (2, highest)]
    other.annotate()
    other.select_class(2)
    other.paint(2, (17, 31), (17, 31))
    other.tick()
    other.take_prediction()
    assert set(np.unique(layer_named(other, "annotation").data)) == {1, 2}
    other.set_classes(tuple(replace(each, colour="#123456") for each in other.desk.classes))
    network = other.teaching.model.network
    other.train_for(2)
    other.tick()
    assert other.teaching.model.network is network and outputs(other) == [0, highest]
    assert set(np.unique(layer_named(other, "prediction").data)) == {0, highest}
    other.segment_stack()
    assert set(np.unique(layer_named(other, "segmentation").data)) == {0, highest}
    other.save_model(tmp_path / "further.safetensors")
    assert [each.output_value for each in load_model(tmp_path / "further.safetensors").classes] == [
        0,
        highest,
    ]
    assert not other.failures


def test_a_model_of_dense_masks_meets_strokes(other, dense, highest):
    other.paint_both()
    other.load_model(dense)
    names = f"class 0, class {highest} of the model is background, foreground here"
    assert names in other.sentences[-1]
    ground, square = other.desk.classes
    other.set_classes((replace(ground, name="class 0"), replace(square, name=f"class {highest}")))
    network = other.teaching.model.network
    other.train_for(1)
    assert other.teaching.model.network is network and outputs(other) == [0, highest]


def test_masks_of_0_and_1_stay_so(other, model_of):
    other.load_model(model_of(ClassLabel(1, 0, "background"), ClassLabel(2, 1, "foreground")))
    other.paint_both()
    other.set_classes(tuple(replace(each, colour="#123456") for each in other.desk.classes))
    other.train_for(1)
    assert outputs(other) == [0, 1]
    ground, square = other.desk.classes
    other.set_classes((replace(ground, is_background=False), square))
    assert len(set(outputs(other))) == 2 and outputs(other)[1] == 1
    other.set_classes((replace(ground, is_background=True), square))
    assert outputs(other) == [0, 1]


def test_classes_of_other_names_are_said_and_learnt_anew(other, model_of):
    other.paint_both()
    other.load_model(model_of(ClassLabel(1, 0, "background"), ClassLabel(2, 2, "membrane")))
    assert "membrane of the model is foreground here" in other.sentences[-1]
    network = other.teaching.model.network
    other.train_for(1)
    assert other.sentences[-1] == "foreground learnt from the start, the rest goes on"
    assert other.teaching.model.network is not network
    assert [each.name for each in other.teaching.labels] == ["background", "foreground"]


def test_classes_that_are_renamed_alike_go_on(other, model_of):
    other.paint_both()
    other.load_model(model_of(ClassLabel(1, 0, "background"), ClassLabel(2, 2, "membrane")))
    ground, square = other.desk.classes
    other.set_classes((ground, replace(square, colour="#123456")))
    assert [each.name for each in other.teaching.labels] == ["background", "membrane"]
    other.set_classes((ground, replace(square, name="membrane")))
    network = other.teaching.model.network
    other.train_for(1)
    assert other.teaching.model.network is network


def test_a_class_that_is_renamed_is_the_same_class(session):
    session.paint_both()
    session.train_for(1)
    network = session.teaching.model.network
    ground, square = session.desk.classes
    session.set_classes((ground, replace(square, name="nucleus")))
    session.train_for(1)
    assert session.teaching.model.network is network
    assert [each.name for each in session.teaching.labels] == ["background", "nucleus"]


def test_a_class_that_is_renamed_before_its_network_is_built_keeps_the_new_name(live, by_hand):
    live.train()
    ground, square = live.desk.classes
    live.set_classes((ground, replace(square, name="nucleus")))
    by_hand.step(4)
    live.tick()
    by_hand.step(4)
    assert [each.name for each in live.teaching.labels] == ["background", "nucleus"]
    assert live.state.phase == "training"


def test_a_removed_class_is_not_predicted_back(session):
    session.set_classes(add_class(session.desk.classes))
    session.paint_both()
    session.paint(3, (40, 60), (0, 20))
    session.tick()
    session.train_for(2)
    session.set_classes(without_class(session.desk.classes, 3))
    with torch.no_grad():
        session.teaching.model.network.head.bias[2] += 100  # it sees nothing else
    session.take_prediction()
    session.tick()
    assert [each.value for each in session.desk.classes] == [1, 2]
    assert 3 not in layer_named(session, "annotation").data
