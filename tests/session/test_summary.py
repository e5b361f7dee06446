"""What the dock shows, in each state that a session can be in."""

from dataclasses import FrozenInstanceError, replace

import pytest

from napari_unet.session.state import SessionState


def test_an_empty_viewer_shows_an_empty_state(viewer, new_session):
    session = new_session(viewer)
    expected = SessionState(can_train="open an image first", verdict=session.state.verdict)
    found = session.state
    expected = replace(
        expected, settings=session.settings, measure=found.measure, cannot_link=found.cannot_link
    )
    assert found == expected and found.measure.why_not and found.cannot_link
    assert session.state.verdict.startswith("not trained yet")


def test_the_state_cannot_be_changed(session):
    with pytest.raises(FrozenInstanceError):
        session.state.phase = "training"


def test_annotated_and_complete_planes_are_listed(viewer, blobs, new_session):
    viewer.add_image(blobs(3, 64, 64), name="stack")
    session = new_session(viewer)
    session.paint_both((2,))
    viewer.dims.set_point(0, 0)
    session.toggle_complete()
    (image,) = session.state.images
    assert image.name == "stack"
    assert [(plane.index, plane.complete) for plane in image.planes] == [((0,), True), ((2,), False)]
    assert session.state.plane == (0,) and session.state.plane_complete
    session.toggle_complete()
    assert not session.state.plane_complete and len(session.state.images[0].planes) == 1


def test_every_phase_has_its_words(live, by_hand, settle):
    assert (live.state.phase, live.state.verdict) == ("idle", "not trained yet: press Train")
    live.train()
    assert (live.state.phase, live.state.verdict) == ("training", "starting")
    by_hand.until(lambda: live.trainer.scores)
    assert live.state.verdict.startswith("improving")
    live.pause()
    assert (live.state.phase, live.state.verdict) == ("paused", "paused: press Resume to go on")
    live.resume()
    live.stop()
    assert (live.state.phase, live.state.verdict) == ("stopping", "stopping")
    by_hand.finish()
    assert (live.state.phase, live.state.verdict) == ("idle", "stopped: press Train to go on")
    live.train()
    settle()
    by_hand.finish()
    assert live.state.phase == "settled" and live.state.verdict.startswith("settled")


def test_a_class_without_strokes_is_asked_for(live, by_hand):
    live.set_classes((*live.state.classes, replace(live.state.classes[1], value=3, name="membrane")))
    live.train()
    by_hand.until(lambda: live.trainer.scores)
    assert live.state.verdict.startswith("needs strokes of membrane")


def test_objects_count_as_one_class(session):
    session.set_task("objects")
    session.paint(1, (2, 14), (2, 62))
    session.paint(9, (17, 31), (17, 31))
    session.tick()
    assert session.state.verdict == "not trained yet: press Train" and session.state.can_train == ""


def test_the_device_and_the_options_are_shown(session):
    session.load_torch()
    assert session.state.device.startswith("CPU")
    session.set_settings(replace(session.settings, device="auto", w0=3.0))
    assert session.state.settings.w0 == 3.0 and session.state.device
