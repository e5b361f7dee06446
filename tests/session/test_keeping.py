"""What a session keeps, another one on the same image offers and puts back."""

from dataclasses import replace

import numpy as np
import pytest
from napari.components import ViewerModel

from napari_unet.session.classes import add_class
from napari_unet.session.images import ImageChoice


@pytest.fixture
def reopen(blobs, new_session):
    """Open a session on the same image in another viewer."""

    def make(*shape):
        viewer = ViewerModel()
        viewer.add_image(blobs(*shape), name="blobs")
        return new_session(viewer)

    return make


@pytest.fixture
def at_once(monkeypatch):
    """Keep at every tick."""
    monkeypatch.setattr("napari_unet.session.autosave.PAUSE_SECONDS", 0)
    monkeypatch.setattr("napari_unet.session.autosave.BUSY_SHARE", float("inf"))
    monkeypatch.setattr("napari_unet.session.keeping.MODEL_SECONDS", 0)


def test_strokes_classes_complete_slices_and_the_model_come_back(at_once, reopen):
    session = reopen(3, 64, 64)
    session.set_classes(add_class(session.state.classes))
    classes = tuple(replace(each, name=f"my {each.name}") for each in session.state.classes)
    session.set_classes(classes)
    session.paint_both((1,))
    session.paint(3, (49, 60), (49, 60), (0,))
    session.toggle_complete()  # of the plane in the middle
    session.train_for(3)
    session.tick()  # and the process is killed

    again = reopen(3, 64, 64)
    assert again.state.kept.startswith("2 annotated slices of blobs and a model were kept on")
    again.restore()
    assert not again.failures and again.state.kept == ""
    assert np.array_equal(again.desk.current.layer.data, session.desk.current.layer.data)
    assert again.state.classes == classes
    assert again.state.images == session.state.images
    assert any(plane.complete for plane in again.state.images[0].planes)
    assert again.state.has_model
    again.train_for(2)
    assert not any("from the start" in said for said in again.sentences)


def test_what_is_restored_is_kept_on_with_its_model(at_once, reopen):
    session = reopen(64, 64)
    session.paint_both()
    session.train_for(2)
    session.tick()
    for _ in range(3):
        session = reopen(64, 64)
        assert "and a model" in session.state.kept
        session.restore()
        session.tick()


def test_a_restored_image_is_not_offered_again_when_it_is_chosen_again(at_once, reopen):
    session = reopen(64, 64)
    session.paint_both()
    session = reopen(64, 64)
    session.restore()
    (layer,) = session.state.choice.layers
    session.desk.choose(None)
    session.tick()
    session.choose(ImageChoice((layer,), "YX"))
    session.tick()
    assert session.state.kept == ""


def test_restoring_erases_nothing_that_was_painted_since(at_once, reopen):
    reopen(64, 64).paint_both()
    session = reopen(64, 64)
    session.paint(1, (17, 25), (17, 25))
    session.paint(5, (40, 45), (40, 45))
    session.tick()
    session.restore()
    data = session.desk.current.layer.data
    assert (data[17:25, 17:25] == 1).all() and (data[25:31, 17:31] == 2).all()
    assert (data[40:45, 40:45] == 5).all()
    assert [each.value for each in session.state.classes] == [1, 2, 5]


def test_both_tasks_come_back(at_once, reopen):
    session = reopen(64, 64)
    session.paint_both()
    session.train_for(1)
    session.tick()
    session.set_task("objects")
    session.paint(1, (2, 14), (2, 62))
    session.paint(300, (17, 31), (17, 31))
    session.tick()
    session.train_for(2)
    session.tick()
    again = reopen(64, 64)
    again.restore()
    assert again.state.task == "objects" and (again.desk.current.layer.data[17:31, 17:31] == 300).all()
    assert again.teaching.model.task == "objects"
    again.set_task("classes")
    assert (again.desk.current.layer.data[17:31, 17:31] == 2).all()
    assert again.teaching.model.task == "classes" and not again.failures


def test_nothing_is_restored_into_a_running_training(at_once, reopen, live, by_hand):
    live.train()
    by_hand.step(2)
    live.keeping.offer = None
    reopen(64, 64).paint_both()
    live.keeping.let_go({}, ())
    live.tick()
    assert live.state.kept
    live.restore()
    assert live.failures == ["a training is running: stop it first"] and live.state.kept


def test_what_is_discarded_is_not_offered_again(at_once, reopen):
    reopen(64, 64).paint_both()
    session = reopen(64, 64)
    session.discard_kept()
    assert session.state.kept == "" and reopen(64, 64).state.kept == ""
    session.restore()
    assert session.state.images == () and not session.failures


def test_another_image_is_offered_nothing(at_once, reopen):
    reopen(64, 64).paint_both()
    assert reopen(80, 64).state.kept == ""


def test_closing_keeps_what_was_learnt_last(reopen):
    session = reopen(64, 64)
    session.paint_both()
    session.train_for(2)
    session.close()
    assert "and a model" in reopen(64, 64).state.kept


def test_closing_while_training_keeps_the_model_when_the_training_has_ended(live, by_hand, reopen):
    live.train()
    by_hand.until(lambda: live.trainer.steps > 2)
    live.close()
    by_hand.finish()
    assert "and a model" in reopen(64, 64).state.kept and not live.failures


def test_a_disk_that_refuses_is_told_once_and_the_session_works_on(at_once, reopen, monkeypatch, tmp_path):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("NAPARI_UNET_HOME", str(tmp_path / "file"))
    session = reopen(64, 64)
    session.paint_both()
    session.paint(2, (49, 60), (17, 28))
    session.tick()
    assert len(session.failures) == 1 and "cannot be kept" in session.failures[0]
    session.failures.clear()
    session.train_for(2)


def test_the_present_model_stays_when_strokes_are_restored(at_once, reopen):
    session = reopen(64, 64)
    session.paint_both()
    session.train_for(2)
    session.tick()
    again = reopen(64, 64)
    again.paint_both()
    again.train_for(5)
    network, steps = again.teaching.model.network, again.trainer.steps
    again.restore()
    assert again.teaching.model.network is network and again.trainer.steps == steps
    assert any("the present model stays" in said for said in again.sentences)


def test_a_small_newer_session_hides_no_larger_one(at_once, reopen):
    session = reopen(6, 64, 64)
    for z in range(6):
        session.paint_both((z,))
    session = reopen(6, 64, 64)
    session.paint(1, (0, 5), (0, 5), (0,))  # and the banner is ignored
    session.close()
    session = reopen(6, 64, 64)
    assert session.state.kept.startswith("6 annotated slices")
    session.restore()
    assert len(session.state.images[0].planes) == 6


def test_a_model_that_was_thrown_away_is_not_kept_with_the_next_image(at_once, reopen, blobs):
    session = reopen(64, 64)
    session.paint_both()
    session.train_for(2)
    session.tick()
    session.new_model()
    session.viewer.layers.clear()
    other = session.viewer.add_image(blobs(80, 64), name="blobs")
    session.choose(ImageChoice((other,), "YX"))
    session.paint_both()
    session.close()
    for shape in ((64, 64), (80, 64)):
        offer = reopen(*shape).state.kept
        assert offer.startswith("1 annotated slice") and "and a model" not in offer


def test_an_image_seen_through_other_channels_is_not_looked_up_again(at_once, reopen, monkeypatch):
    reopen(64, 64).paint_both()
    session = reopen(64, 64)
    monkeypatch.setattr(session.keeping._autosave, "find", None)
    session.choose(ImageChoice(session.state.choice.layers, "YX", (0,)))
    assert session.state.kept and not session.failures


@pytest.mark.parametrize("then", ["close", "delete"])
def test_the_last_stroke_before_the_end_of_its_layer_is_kept(reopen, monkeypatch, then):
    monkeypatch.setattr("napari_unet.session.session.SYNC_SECONDS", 1000)
    session = reopen(64, 64)
    session.paint(2, (17, 31), (17, 31))
    layer = session.desk.current.layer
    session.set_task("objects")
    session.tick()
    if then == "close":
        session.close()
        session = reopen(64, 64)
    else:
        session.viewer.layers.remove(layer)
        session.tick()
    session.restore()
    assert session.state.task == "classes" and not session.failures
    assert (session.desk.current.layer.data[17:31, 17:31] == 2).all()


def test_a_deleted_annotation_is_offered_once_a_job_has_written_it(viewer, blobs, new_session, by_hand):
    by_hand.names = ("_write_all",)
    viewer.add_image(blobs(64, 64), name="blobs")
    session = new_session(viewer, by_hand)
    session.paint_both()
    by_hand.finish()
    viewer.layers.remove(session.desk.current.layer)
    session.tick()
    assert by_hand.running and session.state.kept == ""
    by_hand.finish()
    session.tick()
    assert session.state.kept.startswith("1 annotated slice")


def test_what_an_annotation_cannot_hold_is_said(at_once, reopen):
    session = reopen(64, 64)
    session.set_task("objects")
    layer = session.desk.annotate().layer
    layer.data = layer.data.astype(np.int32)
    session.paint(70_000, (17, 31), (17, 31))
    session.tick()
    again = reopen(64, 64)
    again.restore()
    assert again.failures == ["blobs objects cannot hold 70000: give it data of a wider type"]


@pytest.mark.parametrize("forgets", [True, False])
def test_a_copy_of_the_model_that_comes_late(at_once, session, by_hand, reopen, monkeypatch, forgets):
    session.paint_both()
    monkeypatch.setattr("napari_unet.session.keeping.MODEL_SECONDS", 1000)
    session.train_for(2)
    monkeypatch.setattr("napari_unet.session.keeping.MODEL_SECONDS", 0)
    by_hand.names = ("copied",)
    session.trainer._jobs = replace(session.trainer._jobs, start=by_hand)
    session.tick()
    assert by_hand.running
    if forgets:
        session.new_model()
        by_hand.finish()
    session.close()  # what has not come by now would come after the end
    assert ("and a model" in reopen(64, 64).state.kept) != forgets
