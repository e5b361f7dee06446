"""Predictions become annotation: on the slice or in a box, never over what the user has painted."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from napari.components import ViewerModel
from scipy import ndimage

from napari_unet.core.targets import ClassLabel
from napari_unet.session import correcting
from napari_unet.session.correcting import as_annotation, draw_box, drawn_box, take_over, whole_in


@pytest.fixture
def trained(session):
    """A session whose model tells the squares from the ground."""
    session.paint_both()
    session.train_for(40)
    return session


def undo(layer):
    layer.undo()
    return layer.data.copy()


def test_the_slice_is_painted_as_predicted_and_strokes_win(trained):
    layer = trained.desk.current.layer
    before = layer.data.copy()
    assert before[5, 5] == 1
    trained.paint(2, (3, 6), (3, 6))  # what the model would call background
    trained.tick()
    trained.take_prediction()
    assert (layer.data[3:6, 3:6] == 2).all()
    assert (layer.data != 0).all()
    assert layer.data[24, 24] == 2 and layer.data[40, 5] == 1
    taken = (before == 0).sum()
    assert trained.sentences[-1] == f"{taken} pixels are annotated as predicted: correct them with the brush"


def test_undo_takes_it_back(trained):
    layer = trained.desk.current.layer
    before = layer.data.copy()
    trained.take_prediction()
    assert not np.array_equal(layer.data, before)
    assert np.array_equal(undo(layer), before)
    for _ in range(3):
        trained.tick()
    assert trained.desk.current.values(()) == {1, 2}


def test_only_the_drawn_box_is_taken_and_the_box_goes(trained):
    layer = trained.desk.current.layer
    before = layer.data.copy()
    trained.draw_box()
    box = trained.viewer.layers[-1]
    assert box.mode == "add_rectangle"
    box.add([[40, 10], [40, 30], [55, 30], [55, 10]], shape_type="rectangle")
    trained.take_prediction()
    changed = np.argwhere(layer.data != before)
    assert changed.min(0).tolist() == [40, 10] and changed.max(0).tolist() == [55, 30]
    assert (layer.data[40:56, 10:31] != 0).all()
    assert box not in trained.viewer.layers
    assert trained.viewer.layers.selection.active is layer and layer.mode == "paint"


def test_a_second_box_replaces_the_first(session):
    session.draw_box()
    session.draw_box()
    assert sum(layer.name.startswith("box") for layer in session.viewer.layers) == 1


def test_what_is_taken_over_is_learnt_and_kept(trained):
    trained.take_prediction()
    assert trained.keeping._autosave._followed
    trained.train_for(2)
    assert (trained.wanted.examples[0].annotation != 0).all()


def test_the_plane_of_a_moved_and_scaled_stack_is_meant(viewer, blobs, new_session):
    viewer.add_image(blobs(4, 64, 64), name="stack", scale=(3, 0.5, 0.5), translate=(10, 5, -5))
    session = new_session(viewer)
    session.paint_both((0,))
    session.train_for(3)
    viewer.dims.set_point(0, 16)
    session.tick()
    session.draw_box()
    rectangle = [[2, 40, 10], [2, 40, 30], [2, 55, 30], [2, 55, 10]]
    viewer.layers[-1].add(rectangle, shape_type="rectangle")
    session.take_prediction()
    data = session.desk.current.layer.data
    assert (data[2, 40:56, 10:31] != 0).all()
    assert np.count_nonzero(data[2]) == 16 * 21 and not data[1].any() and not data[3].any()


def test_a_box_on_another_plane_limits_nothing(viewer, blobs, new_session):
    viewer.add_image(blobs(3, 64, 64), name="stack")
    session = new_session(viewer)
    session.paint_both((0,))
    session.draw_box()
    viewer.layers[-1].add([[1, 4, 4], [1, 4, 9], [1, 9, 9], [1, 9, 4]], shape_type="rectangle")
    choice, annotated = session.state.choice, session.desk.current
    assert drawn_box(viewer, annotated, (2,)) is None
    assert drawn_box(viewer, annotated, (1,)) == (slice(4, 10), slice(4, 10))
    assert draw_box(viewer, choice) is viewer.layers[-1]


@given(st.tuples(*[st.floats(-100, 200)] * 4))
def test_a_box_ends_at_the_border_of_the_image(corners):
    y0, x0, y1, x1 = corners
    box = _box_of(np.array([[y0, x0], [y0, x1], [y1, x1], [y1, x0]]))
    if box is not None:
        assert 0 <= box[0].start < box[0].stop <= 48
        assert 0 <= box[1].start < box[1].stop <= 64


def _box_of(corners):
    from napari_unet.session.correcting import _inside

    return _inside(corners, (48, 64))


@pytest.fixture
def objects(viewer, blobs, new_session):
    """A session whose model tells two of the squares as objects 7 and 9."""
    viewer.add_image(blobs(64, 64), name="cells")
    session = new_session(viewer)
    session.set_task("objects")
    session.paint(1, (2, 14), (2, 62))
    session.paint(7, (17, 31), (17, 31))
    session.paint(9, (17, 31), (49, 62))
    session.tick()
    session.train_for(120)
    return session


def test_objects_get_numbers_that_are_free(objects):
    objects.take_prediction()
    data = objects.desk.current.layer.data
    assert (data[17:31, 17:31] == 7).all() and not objects.failures
    assert {1, 7, 9} < set(np.unique(data)) and min(set(np.unique(data)) - {0, 1, 7, 9}) >= 10


def test_what_is_painted_of_an_object_goes_on_and_gets_no_second_one_around_it(objects):
    layer = objects.desk.current.layer
    layer.data[17:31, 17:31] = 0
    objects.paint(7, (20, 28), (20, 28))
    objects.tick()
    objects.take_prediction()
    around = ndimage.binary_dilation(layer.data == 7, iterations=2)
    assert set(np.unique(layer.data[around])) <= {0, 1, 7} and not objects.failures
    assert (layer.data == 7).sum() > 150


def test_between_objects_nothing_is_painted(objects):
    layer = objects.desk.current.layer
    before = layer.data.copy()
    objects.take_prediction()
    assert np.array_equal(layer.data == 1, before == 1) and (layer.data > 9).any()


def test_only_objects_that_are_whole_in_the_box_are_accepted(objects):
    layer = objects.desk.current.layer
    before = layer.data.copy()
    objects.take_prediction()
    whole = layer.data.copy()
    layer.undo()
    lowest = np.argwhere(whole == np.unique(whole)[-1])  # the last object that was accepted
    (top, left), (bottom, right) = lowest.min(0), lowest.max(0)
    for cut, taken in ((0, (whole == np.unique(whole)[-1]).sum()), (2, 0)):
        objects.draw_box()
        corners = [[top, left + cut], [top, right], [bottom, right], [bottom, left + cut]]
        objects.viewer.layers[-1].add(corners, shape_type="rectangle")
        objects.take_prediction()
        assert (layer.data != before).sum() == taken
        layer.undo()
    assert objects.failures == ["no object is whole in the box: draw a larger one"]


@given(st.lists(st.integers(0, 4), min_size=24, max_size=24), st.integers(0, 3), st.integers(0, 5))
def test_no_object_is_cut_by_a_box(found, row, column):
    predicted, box = np.array(found).reshape(4, 6), (slice(row, 4), slice(0, column + 1))
    try:
        whole = whole_in(predicted, box)
    except ValueError:
        whole = np.zeros_like(predicted)
    for number in range(1, 5):
        is_inside = (predicted[box] == number).sum() == (predicted == number).sum()
        assert np.array_equal(whole == number, (predicted == number) & is_inside)


def test_without_a_model_it_says_what_to_do(session):
    session.take_prediction()
    assert session.failures == ["there is no model yet: train one, or load one"]


def test_it_works_while_training_with_the_weights_of_now(live, by_hand):
    live.train()
    by_hand.until(lambda: live.trainer.steps > 3)
    live.take_prediction()
    by_hand.until(lambda: (live.desk.current.layer.data != 0).all())
    assert live.state.phase == "training"
    by_hand.step(2)
    assert (live.wanted.examples[0].annotation != 0).all() and not live.failures


@pytest.mark.parametrize("what", ["layer", "image", "shape", "task"])
def test_what_has_gone_while_it_was_predicted_is_not_painted(trained, by_hand, monkeypatch, blobs, what):
    by_hand.names = ("predict_plane",)
    monkeypatch.setattr(trained.correcting, "_jobs", replace(trained.correcting._jobs, start=by_hand))
    layer, (image,) = trained.desk.current.layer, trained.state.choice.layers
    before = layer.data.copy()
    trained.take_prediction()
    if what == "task":
        trained.set_task("objects")
    elif what == "shape":
        image.data = blobs(96, 64)
    else:
        trained.viewer.layers.remove(layer if what == "layer" else image)
        trained.tick()
    said = len(trained.sentences)
    by_hand.finish()
    assert len(trained.sentences) == said and np.array_equal(layer.data, before)
    assert trained.failures == ["blobs or its annotation has changed meanwhile: take the prediction again"], (
        trained.failures
    )


def test_it_is_predicted_on_the_device_of_the_options(trained, monkeypatch):
    seen, real = [], correcting.predict_plane
    monkeypatch.setattr(correcting, "predict_plane", lambda *of: seen.append(of[-1]) or real(*of))
    trained.set_settings(replace(trained.settings, device="auto"))
    trained.take_prediction()
    assert seen == ["auto"] and not trained.failures


def test_an_image_with_other_channels_is_refused(trained, tmp_path, blobs, new_session):
    trained.save_model(tmp_path / "model.safetensors")
    viewer = ViewerModel()
    viewer.add_image(np.stack([blobs(64, 64) / 300] * 3, -1), name="colours", rgb=True)
    other = new_session(viewer)
    other.load_model(tmp_path / "model.safetensors")
    other.tick()
    assert not other.failures
    other.take_prediction()
    assert len(other.failures) == 1 and "channels" in other.failures[0], other.failures


def test_labels_that_do_not_fit_into_the_layer_are_refused(session):
    session.annotate()
    with pytest.raises(ValueError, match="cannot hold 300: take a part of it in a box"):
        take_over(session.desk.current, (), np.full((64, 64), 300), None)
    assert not session.desk.current.layer.data.any()


@given(st.lists(st.integers(0, 3), min_size=1, max_size=30))
def test_outputs_go_back_to_the_values_that_are_painted(outputs):
    labels = (ClassLabel(5, 0, "a"), ClassLabel(1, 1, "b"), ClassLabel(2, 3, "c"), ClassLabel(9, 2, "d"))
    painted = as_annotation(np.array(outputs), labels)
    back = {label.annotation_value: label.output_value for label in labels}
    assert [back[value] for value in painted.tolist()] == outputs
