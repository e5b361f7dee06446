"""The path of a new user, as far as no window is needed; sessions beside each other."""

import gc
import weakref
from dataclasses import replace

import numpy as np
import pytest
from napari.components import ViewerModel

from napari_unet.core.io import open_image
from napari_unet.session.session import Session
from napari_unet.session.shared import open_session, session_of


def layer_named(viewer, ending):
    return next(layer for layer in viewer.layers if layer.name.endswith(ending))


def test_a_stack_is_painted_trained_corrected_and_segmented(viewer, blobs, new_session, tmp_path):
    image = viewer.add_image(blobs(4, 64, 64), name="stack", scale=(2, 0.5, 0.5), translate=(1, 2, 3))
    session = new_session(viewer)
    assert session.state.choice.layers == (image,)
    assert session.state.can_train == "press Annotate and paint a few strokes first"

    session.annotate()
    annotation = session.desk.current.layer
    assert annotation.data.shape == (4, 64, 64)
    assert np.array_equal(annotation.scale, image.scale)
    assert np.array_equal(annotation.translate, image.translate)
    assert annotation.mode == "paint" and annotation.selected_label == 2

    viewer.dims.set_point(0, 3)  # plane 1, in world units
    session.tick()
    assert session.state.plane == (1,)
    session.paint_both()
    assert session.state.can_train == ""
    session.train_for(40)
    prediction = layer_named(viewer, "prediction")
    assert np.array_equal(prediction.scale, image.scale)
    truth = image.data[1] > 150
    found = prediction.data[1] == 2
    assert 2 * (truth & found).sum() / (truth.sum() + found.sum()) > 0.8
    assert not prediction.data[0].any()
    assert session.state.verdict == "stopped: press Train to go on"

    session.segment_slice()
    segmentation = layer_named(viewer, "segmentation")
    assert segmentation.data[1].any() and not segmentation.data[2].any()
    path = tmp_path / "result.tif"
    session.segment_stack(path)
    assert all(plane.any() for plane in segmentation.data)
    assert np.array_equal(segmentation.translate, image.translate)
    saved = open_image(path)
    assert np.array_equal(saved.read((slice(0, 4), slice(0, 64), slice(0, 64)))[0], segmentation.data)
    assert saved.spacing == (2, 0.5, 0.5)

    viewer.dims.set_point(0, 5)
    session.tick()
    session.take_prediction()
    assert [plane.index for plane in session.state.images[0].planes] == [(1,), (2,)]
    session.train_for(2)
    assert not session.failures


def test_the_model_goes_through_a_file_to_another_stack(session, viewer, blobs, tmp_path):
    session.paint_both()
    session.train_for(4)
    session.save_model(tmp_path / "model.safetensors")
    assert session.sentences[-1] == "the model is saved as model.safetensors"

    other = Session(ViewerModel())
    other.viewer.add_image(blobs(3, 96, 64, seed=5), name="other")
    other.tick()
    other.load_model(tmp_path / "model.safetensors")
    assert other.state.has_model
    assert other.state.verdict == "loaded: segment with it, or paint and train it further"
    other.segment_stack()
    assert all(plane.any() for plane in layer_named(other.viewer, "segmentation").data)


def test_a_tick_without_news_changes_and_tells_nothing(session):
    session.paint_both()
    session.train_for(2)
    session.tick()
    before, n_changes, n_layers = session.state, len(session.changes), len(session.viewer.layers)
    for _ in range(5):
        session.tick()
    assert session.state == before
    assert (len(session.changes), len(session.viewer.layers)) == (n_changes, n_layers)
    assert not session.failures


@pytest.mark.parametrize(("tool", "is_shown"), [("accept", True), ("split", False), ("merge", False)])
def test_predictions_are_shown_to_accept_them(session, tool, is_shown):
    session.set_task("objects")
    session.paint(1, (2, 14), (2, 62))
    session.paint(2, (17, 31), (17, 31))
    session.tick()
    assert session.state.has_painted and not session.state.has_predicted
    assert session.state.cannot_link == "train or load a model first"
    session.train_for(2)
    assert session.state.has_predicted and session.state.cannot_link == "the image is no stack of slices"
    session.toggle_prediction()
    session.use_tool(tool)
    prediction = layer_named(session.viewer, "prediction")
    assert prediction.visible == is_shown
    prediction.visible = False
    session.use_tool(tool)  # which puts it down
    assert not prediction.visible and not session.failures


def test_a_change_is_told_once(session):
    session.tick()
    n = len(session.changes)
    session.select_class(1)
    session.set_settings(replace(session.settings, w0=3.0))
    session.set_settings(replace(session.settings, w0=3.0))
    assert len(session.changes) <= n + 2
    assert session.changes[-1].settings.w0 == 3.0


def test_nothing_can_be_done_without_an_image_and_says_so(viewer, new_session):
    session = new_session(viewer)
    assert session.state.choice is None and session.state.can_train == "open an image first"
    for verb in ("annotate", "train", "toggle_complete", "take_prediction", "draw_box", "segment_stack"):
        session.failures.clear()
        getattr(session, verb)()
        assert len(session.failures) == 1 and "image" in session.failures[0], verb
    for verb in ("pause", "resume", "stop", "new_model", "cancel", "restore", "discard_kept", "close"):
        session.failures.clear()
        getattr(session, verb)()
        assert not session.failures, verb


def test_two_viewers_have_sessions_of_their_own(session, blobs, new_session):
    other = new_session(ViewerModel())
    other.viewer.add_image(blobs(80, 64, seed=2), name="other")
    other.tick()
    session.paint_both()
    other.paint_both()
    session.train_for(2)
    assert other.state.model == "" and not any("prediction" in each.name for each in other.viewer.layers)
    other.train_for(3)
    assert session.trainer.steps != other.trainer.steps
    assert session.teaching.model.network is not other.teaching.model.network


def test_two_docks_share_the_session_of_their_viewer(quick):
    viewer = ViewerModel()
    assert session_of(viewer) is None
    first = open_session(viewer)
    assert open_session(viewer) is first and session_of(viewer) is first
    assert open_session(ViewerModel()) is not first


def test_a_session_lives_as_long_as_its_viewer(quick):
    viewer = ViewerModel()
    session = weakref.ref(open_session(viewer))
    gc.collect()
    assert session() is not None and session_of(viewer) is session()
    del viewer
    gc.collect()
    assert session() is None


def test_what_waits_for_a_model_is_dropped_at_the_close(live, by_hand):
    live.train()
    by_hand.until(lambda: live.trainer.steps > 2)
    by_hand.names = ("training", "work", "measure")
    live.teaching.intensities._found.clear()
    live.segment_stack()
    live.close()
    by_hand.finish()
    assert live.state.phase == "idle" and not live.state.segmenting and not live.failures
    assert not any("segmentation" in layer.name for layer in live.viewer.layers)
    live.segment_stack()  # after another dock has been opened
    assert live.state.segmenting


def test_a_second_task_has_a_model_of_its_own(session):
    session.paint_both()
    session.train_for(3)
    classes = session.state.model
    session.set_task("objects")
    assert session.state.model == "" and session.state.images == ()
    session.paint(1, (2, 14), (2, 62))
    session.paint(2, (17, 31), (17, 31))
    session.paint(3, (17, 31), (50, 62))
    session.tick()
    session.train_for(2)
    assert session.teaching.model.task == "objects"
    session.set_task("classes")
    assert session.state.model == classes
    visible = [layer.name for layer in session.viewer.layers if layer.visible]
    assert "blobs annotation" in visible and "blobs objects" not in visible


@pytest.mark.parametrize("task", ["classes", "objects"])
def test_closing_keeps_what_was_painted_last(session, new_session, blobs, task):
    session.set_task(task)
    session.paint(2, (17, 31), (17, 31))
    session.close()
    viewer = ViewerModel()
    viewer.add_image(blobs(64, 64), name="blobs")
    again = new_session(viewer)
    assert "1 annotated slice of blobs" in again.state.kept
    again.restore()
    assert again.state.task == task
    assert (again.desk.current.layer.data[17:31, 17:31] == 2).all()


@pytest.fixture
def saved(session, tmp_path):
    """The file of a model that tells the squares from the ground."""
    session.paint_both()
    session.train_for(20)
    session.save_model(tmp_path / "model.safetensors")
    return tmp_path / "model.safetensors"


@pytest.fixture
def other(saved, blobs, new_session):
    """Another session, on a stack of another size."""
    viewer = ViewerModel()
    viewer.add_image(blobs(3, 96, 64, seed=5), name="other")
    return new_session(viewer)


def test_a_loaded_model_brings_its_classes_where_nothing_is_painted(saved, session, other):
    background, foreground = session.state.classes
    session.set_classes((background, replace(foreground, name="nucleus", value=4, colour="#123456")))
    session.paint(4, (17, 31), (17, 31))
    session.tick()
    session.train_for(2)
    session.save_model(saved)
    other.load_model(saved)
    assert [(each.value, each.name) for each in other.state.classes] == [(1, "background"), (4, "nucleus")]
    assert other.sentences == ["model.safetensors is loaded"]


def test_a_loaded_model_is_fine_tuned_from_what_it_knows(other, saved):
    other.load_model(saved)
    other.paint_both((1,))
    other.train_for(2)
    other.tick()
    prediction = layer_named(other.viewer, "prediction").data[1]
    truth = other.state.choice.layers[0].data[1] > 150
    assert 2 * (truth & (prediction == 2)).sum() / (truth.sum() + (prediction == 2).sum()) > 0.8
    assert other.state.model.endswith("2 steps")


def test_classes_that_a_loaded_model_does_not_know_are_said_and_learnt(other, saved):
    other.paint_both((1,))
    other.paint(6, (49, 60), (49, 60), (1,))
    other.tick()
    other.load_model(saved)
    known = "model.safetensors is loaded; it does not know class 6 yet: train it further"
    assert other.sentences == [known]
    before = other.teaching.model.network.head.weight.detach().clone()
    other.train_for(1)
    assert other.sentences[1:] == ["class 6 learnt from the start, the rest goes on"]
    after = other.teaching.model.network.head.weight
    assert after.shape[0] == before.shape[0] + 1
    assert abs(after[:2] - before).max() < 0.1  # one step away from where it was


def test_classes_that_only_a_loaded_model_knows_are_said(session, other, saved):
    session.paint(3, (49, 60), (49, 60))
    session.tick()
    session.train_for(1)
    session.save_model(saved)
    other.paint_both((1,))
    other.load_model(saved)
    assert "trained further it will forget class 3, which is no class here" in other.sentences[0]
    other.segment_slice()
    other.train_for(1)
    assert len(other.teaching.model.classes) == 2


def test_a_loaded_model_of_another_task_switches_to_it(session, other, saved):
    session.set_task("objects")
    session.paint(1, (2, 14), (2, 62))
    session.paint(2, (17, 31), (17, 31))
    session.tick()
    session.train_for(2)
    session.save_model(saved)
    other.load_model(saved)
    assert other.state.task == "objects" and other.state.has_model
    other.segment_slice()
    assert not other.failures


def test_a_loaded_model_for_other_channels_is_adapted_by_training(saved, blobs, new_session):
    viewer = ViewerModel()
    viewer.add_image(np.stack([blobs(64, 64) / 300] * 3, -1), name="colours", rgb=True)
    session = new_session(viewer)
    session.load_model(saved)
    session.tick()
    assert not session.failures
    session.segment_slice()
    assert len(session.failures) == 1 and "3 channels" in session.failures.pop()
    session.paint_both(())
    session.train_for(2)
    assert "the first layer (for 3 channels instead of 1) learnt from the start" in session.sentences[-1]
    session.segment_slice()
    assert not session.failures


def test_a_loaded_volume_model_sets_the_options(viewer, blobs, new_session, tmp_path):
    viewer.add_image(blobs(8, 48, 48), name="volume")
    session = new_session(viewer)
    session.set_settings(replace(session.settings, ndim=3, patch_size=16))
    session.paint_both((4,))
    session.train_for(2)
    session.save_model(tmp_path / "model.safetensors")
    again = new_session(viewer)
    again.load_model(tmp_path / "model.safetensors")
    assert again.state.settings.ndim == 3 and not again.failures


@pytest.mark.parametrize("content", [None, b"", b"not a model" * 100])
def test_a_file_that_is_no_model_is_refused_in_a_sentence(session, tmp_path, content):
    path = tmp_path / "model.safetensors"
    if content is not None:
        path.write_bytes(content)
    session.load_model(path)
    assert len(session.failures) == 1 and "\n" not in session.failures[0]
    assert not session.state.has_model
    session.paint_both()
    session.failures.clear()
    session.train_for(1)


def test_a_model_that_cannot_be_written_is_told(session, tmp_path):
    session.paint_both()
    session.train_for(1)
    for path in (tmp_path / "nowhere" / "model.safetensors", tmp_path):
        session.failures.clear()
        session.save_model(path)
        assert len(session.failures) == 1 and not session.sentences, path


def test_what_goes_wrong_while_looking_around_is_told_and_the_verb_is_done(session, monkeypatch):
    def break_down():
        raise ValueError("the clock is broken")

    with monkeypatch.context() as patch:
        patch.setattr(session.desk, "find_image", break_down)
        session.annotate()
    assert session.failures == ["the clock is broken"] and session.desk.current is not None
