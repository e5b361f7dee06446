"""Stop and start, pause and hold, copies of the model, and predictions between trainings."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from napari_unet.session.views import Piece, Place


@pytest.fixture
def training(live, by_hand):
    live.train()
    by_hand.until(lambda: live.trainer.steps > 2)
    return live


def weights(model):
    return [value.detach().clone() for value in model.network.state_dict().values()]


def are_equal(one, other):
    return all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


def piece(size=32):
    image = np.random.default_rng(0).random((1, size, size)).astype(np.float32)
    return Piece(Place((), (0, size), (0, size)), image, None)


def test_stop_and_start_go_on_with_network_optimiser_steps_and_scores(training, by_hand):
    training.stop()
    assert training.state.phase == "stopping"
    by_hand.finish()
    assert training.state.phase == "idle"
    trainer = training.trainer
    network, learner, steps, n_scores = trainer.model.network, trainer._learner, trainer.steps, trainer.scores
    training.train()
    by_hand.until(lambda: trainer.steps > steps)
    training.stop()
    by_hand.finish()
    assert trainer.model.network is network and trainer._learner is learner
    assert learner.steps == trainer.steps > steps
    assert trainer.scores is n_scores
    assert training.state.model.endswith(f"{trainer.steps} steps")
    assert training.updates[-1].step == trainer.steps  # counted over all trainings


def test_start_is_pressed_twice_and_one_training_begins(training, by_hand):
    training.train()
    training.train()
    assert len(by_hand.running) == 1 and not training.failures


def test_while_paused_a_new_view_is_predicted(training, by_hand):
    training.pause()
    by_hand.step(2)
    overlay = training.viewer.layers["blobs prediction"]
    overlay.data[:] = 9
    training.teaching.previews._seen = None  # as if the camera had moved
    training.tick()
    by_hand.until(lambda: not (overlay.data == 9).any())
    assert training.state.phase == "paused"


def test_a_copy_of_the_model_stays_as_it_is_while_the_training_goes_on(training, by_hand):
    asked = []
    training.teaching.ask(asked.append)
    assert not asked
    by_hand.until(lambda: asked)
    (copy,) = asked
    before, steps = weights(copy), training.trainer.steps
    by_hand.until(lambda: training.trainer.steps > steps + 2)
    assert are_equal(weights(copy), before)
    assert not are_equal(weights(training.teaching.model), before)


def test_a_copy_that_was_asked_for_comes_even_when_the_training_ends(training, by_hand):
    asked = []
    training.stop()
    training.teaching.ask(asked.append)
    by_hand.finish()
    assert len(asked) == 1 and asked[0].network is not training.teaching.model.network


def test_a_training_waits_until_its_network_has_been_copied(training, by_hand):
    training.stop()
    by_hand.finish()
    by_hand.names = ("training", "copied")
    asked, before = [], weights(training.teaching.model)
    training.teaching.ask(asked.append)
    training.train()
    assert [job.work.gi_code.co_name for job in by_hand.running] == ["caught"] and not asked
    assert training.state.phase == "training"
    by_hand.until(lambda: asked)
    steps = training.trainer.steps
    by_hand.until(lambda: training.trainer.steps > steps + 2)
    assert are_equal(weights(asked[0]), before) and not training.failures


def test_a_training_stopped_before_its_network_has_been_copied_ends(training, by_hand):
    training.stop()
    by_hand.finish()
    by_hand.names = ("training", "copied")
    training.teaching.ask(print)
    training.train()
    training.stop()
    by_hand.finish()
    assert training.state.phase == "idle" and not training.failures


def test_the_device_of_the_options_is_taken_at_the_next_start(training, by_hand, monkeypatch):
    training.stop()
    by_hand.finish()
    asked, network = [], training.teaching.model.network
    choose = lambda name: asked.append(name) or torch.device("cpu")  # noqa: E731
    monkeypatch.setattr("napari_unet.session.learning.choose_device", choose)
    monkeypatch.setattr(type(network), "to", lambda self, device: asked.append(device))
    training.set_settings(replace(training.settings, device="auto"))
    asked.clear()
    training.train()
    by_hand.until(lambda: asked)
    assert asked == ["auto", torch.device("cpu")]


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_device_that_is_not_here_is_said_and_nothing_is_lost(training, by_hand):
    training.stop()
    by_hand.finish()
    steps = training.trainer.steps
    training.teaching.settings = replace(training.settings, device="cuda")
    training.train()
    by_hand.finish()
    assert len(training.failures) == 1 and "device is 'cuda', which is not here" in training.failures.pop()
    training.teaching.settings = replace(training.settings, device="cpu")
    training.train()
    by_hand.until(lambda: training.trainer.steps > steps)
    assert not training.failures


def test_a_copy_can_be_had_while_paused(training, by_hand):
    asked = []
    training.pause()
    by_hand.step(2)
    training.teaching.ask(asked.append)
    by_hand.until(lambda: asked)
    assert training.state.phase == "paused"


def test_a_training_is_held_while_segmenting_and_goes_on_afterwards(training, by_hand):
    training.segment_stack()
    by_hand.until(lambda: training.state.segmenting)
    assert training.wanted.pause and training.state.phase == "training"
    assert training.state.verdict == "waits for the segmentation"
    train = by_hand.running[0]
    train.step()
    steps = training.trainer.steps
    train.step()
    assert training.trainer.steps == steps
    by_hand.until(lambda: not training.state.segmenting)
    assert not training.wanted.pause and training.state.verdict.startswith("improving")
    by_hand.until(lambda: training.trainer.steps > steps)
    assert training.viewer.layers["blobs segmentation"].data.shape == (64, 64)
    assert not training.failures


def test_what_the_user_has_paused_stays_paused_after_segmenting(training, by_hand):
    training.pause()
    training.segment_slice()
    by_hand.until(lambda: training.state.segmenting)
    by_hand.until(lambda: not training.state.segmenting)
    assert training.wanted.pause and training.state.phase == "paused"


def test_resuming_while_segmenting_waits_for_its_end(training, by_hand):
    training.pause()
    training.segment_slice()
    by_hand.until(lambda: training.state.segmenting)
    training.resume()
    assert training.wanted.pause
    by_hand.until(lambda: not training.state.segmenting)
    assert not training.wanted.pause


def test_a_training_that_is_started_while_segmenting_waits_as_well(training, by_hand):
    training.stop()
    by_hand.finish()
    training.segment_stack()
    assert training.state.segmenting
    training.train()
    assert training.wanted.pause
    steps = training.trainer.steps
    by_hand.running[-1].step()
    assert training.trainer.steps == steps
    by_hand.until(lambda: not training.state.segmenting)
    by_hand.until(lambda: training.trainer.steps > steps)
    assert not training.failures


def test_segmenting_is_cancelled_and_the_training_goes_on(training, by_hand):
    training.segment_stack()
    by_hand.until(lambda: training.state.segmenting)
    training.cancel()
    by_hand.until(lambda: not training.state.segmenting)
    assert "segmenting blobs was cancelled" in training.sentences
    assert not training.wanted.pause


@pytest.mark.parametrize("which", ["image", "annotation", "result"])
def test_layers_deleted_while_segmenting_and_training_break_nothing(training, by_hand, which):
    training.segment_stack()
    by_hand.until(lambda: training.state.segmenting)
    layers = {
        "image": training.state.choice.layers[0],
        "annotation": training.desk.current.layer,
        "result": training.viewer.layers["blobs segmentation"],
    }
    training.viewer.layers.remove(layers[which])
    training.tick()
    by_hand.until(lambda: not training.state.segmenting)
    training.tick()
    by_hand.step(2)
    assert not training.failures
    assert training.state.phase == ("training" if which == "result" else "idle")


def test_a_slice_that_is_looked_at_after_the_training_is_predicted(viewer, blobs, new_session, by_hand):
    viewer.add_image(blobs(3, 64, 64), name="stack")
    session = new_session(viewer, by_hand)
    session.paint_both((1,))
    session.train()
    by_hand.until(lambda: session.trainer.steps > 5)
    session.stop()
    by_hand.finish()
    viewer.dims.set_point(0, 2)
    session.tick()
    assert viewer.layers["stack prediction"].data[2].any()


def test_only_the_latest_look_is_predicted_where_the_camera_is_quick(training, by_hand):
    training.stop()
    by_hand.finish()
    by_hand.names = ("predict_look",)
    trainer = training.trainer
    first, second, third = piece(), piece(), piece()
    for each in (first, second, third):
        trainer.look(each)
    assert len(by_hand.running) == 1  # one at a time
    by_hand.running[0].step()
    by_hand.running[0].step()
    assert len(by_hand.running) == 1
    assert (
        by_hand.running[0].work.gi_frame.f_locals["work"].gi_frame.f_locals["look"]
        is trainer._directions.look
    )
    by_hand.finish()


def test_a_prediction_of_a_forgotten_model_is_not_shown(training, by_hand):
    training.stop()
    by_hand.finish()
    training.tick()
    by_hand.names = ("predict_look",)
    training.teaching.previews._seen = None
    training.tick()
    assert by_hand.running
    training.new_model()
    by_hand.finish()
    training.tick()
    names = [layer.name for layer in training.viewer.layers]
    assert "blobs prediction" not in names or not training.viewer.layers["blobs prediction"].data.any()


def test_an_untrained_network_predicts_nothing(live, by_hand):
    live.train()
    by_hand.running[0].step()  # the network is built
    live.stop()
    by_hand.finish()
    live.teaching.previews._seen = None
    live.tick()
    assert "blobs prediction" not in live.viewer.layers
    assert live.state.verdict == "not trained yet: press Train"
    assert live.state.model.endswith("untrained")
