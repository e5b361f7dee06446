"""Painting while training: what is wanted, and what becomes of a training whose ground changes."""

import gc
import weakref
from dataclasses import replace

import numpy as np
import pytest

from napari_unet.core.draining import drain
from napari_unet.core.inference import Predictor
from napari_unet.core.objects import find_objects, object_scores
from napari_unet.core.predicting import predict_part
from napari_unet.session.classes import DEFAULT_CLASSES, ClassStyle, add_class, without_class
from napari_unet.session.images import ImageChoice, guess_axes


def overlay(session):
    return next(layer for layer in session.viewer.layers if layer.name.endswith("prediction"))


def predicted(session, index=()):
    """Return a plane of the overlay, an empty one before there is an overlay."""
    is_there = any(layer.name.endswith("prediction") for layer in session.viewer.layers)
    return overlay(session).data[index] if is_there else np.zeros(1)


def head(session):
    """Weights of the last layer, a row for each class."""
    return session.teaching.model.network.head.weight.detach().clone()


def sources(session):
    """Return the names of the images that are trained on."""
    names = {image.source: image.choice.name for image in session.desk.images}
    return {names[example.source] for example in session.wanted.examples}


@pytest.fixture
def training(live, by_hand):
    """A session that trains, by hand."""
    live.train()
    by_hand.until(lambda: predicted(live).any())
    assert live.state.phase == "training" and live.trainer.steps == 1
    return live


def test_strokes_are_in_the_next_wish_and_known_examples_stay_the_same(viewer, blobs, new_session, by_hand):
    viewer.add_image(blobs(3, 64, 64), name="stack")
    session = new_session(viewer, by_hand)
    session.paint_both((0,))
    session.train()
    by_hand.step(2)
    (before,) = session.wanted.examples
    session.paint(2, (49, 60), (49, 60), (2,))
    session.tick()
    same, new = session.wanted.examples
    assert same is before and new.place == (2, 0, 0)
    session.paint(2, (49, 60), (17, 28), (2,))
    session.tick()
    assert session.wanted.examples[0] is before and session.wanted.examples[1] is not new
    by_hand.step(3)
    assert session.state.phase == "training" and not session.failures


def test_a_tick_without_strokes_leaves_the_wish_as_it_is(training):
    before = training.wanted.examples
    training.tick()
    training.set_classes(tuple(replace(each, name=each.name + "s") for each in training.state.classes))
    assert training.wanted.examples is before


@pytest.mark.parametrize("task", ["classes", "objects"])
def test_once_it_has_stopped_the_mask_is_that_of_the_model_that_is_kept(session, task):
    session.set_task(task)
    session.paint_both()
    session.train_for(20)
    kept = session.teaching.model
    probabilities = drain(predict_part(Predictor(kept.network), session.look.view.image))
    if task == "classes":
        expected = probabilities.argmax(0) == 1
    else:
        expected = find_objects(object_scores(probabilities), kept.objects) > 0
    assert np.array_equal(overlay(session).data > 0, expected) and not session.failures
    said = "no object is found in view yet: train on" in session.sentences
    assert expected.any() != said  # after so few steps there is no core yet


def test_the_slice_that_is_gone_to_is_predicted_next(viewer, blobs, new_session, by_hand):
    viewer.add_image(blobs(3, 64, 64), name="stack")
    session = new_session(viewer, by_hand)
    viewer.dims.set_point(0, 0)
    session.paint_both()
    session.train()
    assert session.wanted.view is not None  # before the first step
    by_hand.until(lambda: predicted(session, 0).any())
    n_steps = session.trainer.steps
    viewer.dims.set_point(0, 2)
    session.tick()
    assert not predicted(session, 2).any()
    by_hand.until(lambda: predicted(session, 2).any())
    assert session.trainer.steps <= n_steps + 1 and not predicted(session, 1).any()


def test_a_stale_preview_is_dropped(viewer, blobs, new_session, by_hand):
    viewer.add_image(blobs(3, 64, 64), name="stack")
    session = new_session(viewer, by_hand)
    viewer.dims.set_point(0, 0)
    session.paint_both()
    session.train()
    news = []
    by_hand.jobs[0].shown, show = news.append, by_hand.jobs[0].shown
    while not (news and getattr(news[-1], "numbers", None) is not None):
        by_hand.step()
    viewer.dims.set_point(0, 1)
    session.tick()
    for each in news:
        show(each)
    assert not any(layer.name.endswith("prediction") for layer in viewer.layers)


def test_a_painted_value_that_is_no_class_becomes_one_and_the_training_goes_on(training, by_hand):
    steps, rows = training.trainer.steps, head(training)
    training.paint(7, (49, 60), (17, 28))
    training.tick()
    assert [each.value for each in training.state.classes] == [1, 2, 7]
    by_hand.until(lambda: len(training.teaching.model.classes) == 3)
    assert [label.annotation_value for label in training.teaching.model.classes] == [1, 2, 7]
    assert training.state.phase == "training" and training.trainer.steps >= steps
    assert "class 7 learnt from the start, the rest goes on" in training.sentences
    by_hand.step(20)
    training.stop()
    by_hand.finish()
    assert not training.failures
    assert head(training).shape[0] == rows.shape[0] + 1
    known = overlay(training).colormap.color_dict
    assert 7 in known and 2 in known


def test_a_class_that_is_added_keeps_the_rows_of_the_others(training, by_hand):
    training.stop()
    by_hand.finish()
    rows = head(training)
    training.set_classes(add_class(training.state.classes))
    training.train()
    by_hand.jobs[-1].step()  # the head has grown, no step was taken
    assert np.array_equal(head(training)[:2], rows)
    assert head(training).shape[0] == 3


def test_a_class_that_is_removed_is_erased_and_forgotten(training, by_hand):
    training.set_classes(add_class(training.state.classes))
    training.paint(3, (49, 60), (17, 28))
    training.tick()
    by_hand.step(5)
    assert len(training.teaching.model.classes) == 3
    training.set_classes(without_class(training.state.classes, 3))
    training.tick()
    by_hand.step(5)
    assert len(training.teaching.model.classes) == 2 and training.state.phase == "training"
    assert not (training.desk.current.layer.data == 3).any()
    assert not training.failures


def test_a_renamed_class_keeps_its_new_name_in_the_model(training, by_hand):
    background, foreground = training.state.classes
    training.set_classes((background, replace(foreground, name="nucleus")))
    asked = []
    training.teaching.ask(asked.append)
    by_hand.until(lambda: asked)
    assert [label.name for label in asked[0].classes] == ["background", "nucleus"]
    training.stop()
    by_hand.finish()
    assert [label.name for label in training.teaching.model.classes] == ["background", "nucleus"]
    assert len(by_hand.running) == 0


def test_recolouring_shows_at_once_and_trains_on(training, by_hand):
    by_hand.step(3)
    steps = training.trainer.steps
    background, foreground = training.state.classes
    training.set_classes((background, replace(foreground, colour="#123456")))
    colour = np.round(np.asarray(overlay(training).colormap.color_dict[2])[:3] * 255)
    assert colour.tolist() == [0x12, 0x34, 0x56]
    by_hand.until(lambda: training.trainer.steps > steps)
    assert len(by_hand.running) == 1


def test_the_background_may_be_another_class(training, by_hand):
    by_hand.step(30)
    assert set(np.unique(overlay(training).data)) == {0, 2}
    background, foreground = training.state.classes
    training.set_classes((replace(background, is_background=False), replace(foreground, is_background=True)))
    assert not overlay(training).data.any()  # what was predicted meant something else
    training.tick()
    by_hand.until(lambda: predicted(training).any())
    assert set(np.unique(overlay(training).data)) == {0, 1}
    training.stop()
    by_hand.finish()
    assert [label.output_value for label in training.teaching.model.classes] == [1, 0]


def test_a_complete_slice_is_filled_with_the_class_that_is_the_background(live, by_hand):
    background, foreground = live.state.classes
    live.set_classes((replace(background, is_background=False), replace(foreground, is_background=True)))
    live.toggle_complete()
    assert live.state.plane_complete
    live.train()
    (example,) = live.wanted.examples
    assert set(np.unique(example.annotation)) == {1, 2}
    assert example.annotation[40, 5] == 2
    live.toggle_complete()
    (example,) = live.wanted.examples
    assert example.annotation[40, 5] == 0


def test_a_settled_training_goes_on_when_something_is_painted(training, by_hand, settle):
    settle()
    by_hand.finish()
    assert training.state.phase == "settled"
    steps = training.trainer.steps
    training.tick()
    assert not by_hand.running
    settle(on=False)
    training.paint(2, (49, 60), (17, 28))
    training.tick()
    assert training.state.phase == "training"
    by_hand.until(lambda: training.trainer.steps > steps)
    assert not training.failures


def test_a_settled_training_rests_when_a_class_is_renamed(training, by_hand, settle):
    settle()
    by_hand.finish()
    background, foreground = training.state.classes
    training.set_classes((background, replace(foreground, name="nucleus", colour="#123456")))
    assert training.state.phase == "settled" and not by_hand.running


def test_erasing_everything_stops_the_training_and_says_why(training, by_hand):
    layer = training.desk.current.layer
    layer.data_setitem(np.nonzero(layer.data), 0)
    training.tick()
    told = "training has stopped: paint at least two classes, background being one of them"
    assert training.sentences.count(told) == 1
    training.tick()
    by_hand.finish()
    training.tick()
    assert training.state.phase == "idle" and training.sentences.count(told) == 1
    assert not training.failures


def test_a_stop_is_not_undone_by_what_is_painted_while_it_stops(training, by_hand):
    training.stop()
    training.paint(7, (49, 60), (17, 28))
    training.tick()
    by_hand.finish()
    assert training.state.phase == "idle"


def test_a_paused_training_takes_no_steps_and_stays_paused(training, by_hand):
    training.pause()
    by_hand.step()  # what was drawn is learnt
    steps = training.trainer.steps
    by_hand.step(2)
    assert training.state.verdict == "paused: press Resume to go on"
    training.paint(7, (49, 60), (17, 28))
    training.tick()
    assert training.state.phase == "paused" and training.trainer.steps == steps
    training.resume()
    by_hand.until(lambda: len(training.teaching.model.classes) == 3)
    assert training.state.phase == "training"


def test_a_task_that_is_switched_ends_the_training(training, by_hand):
    training.set_task("objects")
    by_hand.finish()
    assert training.state.phase == "idle" and training.state.model == ""
    training.set_task("classes")
    assert training.state.has_model and not training.failures
    training.train()
    by_hand.step(2)
    assert training.state.phase == "training"


def test_the_prediction_of_a_task_makes_way_for_that_of_the_other(training, by_hand):
    training.stop()
    by_hand.finish()
    training.tick()
    assert overlay(training).data.any()
    training.set_task("objects")
    training.tick()
    assert not overlay(training).data.any()
    training.set_task("classes")
    training.tick()
    assert overlay(training).data.any()


def test_two_images_of_different_sizes_are_one_training(viewer, blobs, new_session, by_hand):
    first = viewer.add_image(blobs(64, 64), name="first")
    second = viewer.add_image(blobs(2, 80, 96, seed=3), name="second")
    session = new_session(viewer, by_hand)
    session.paint_both((1,))
    session.choose(ImageChoice((first,), guess_axes(first)))
    session.paint_both(())
    assert [image.name for image in session.state.images] == ["second", "first"]
    session.train()
    by_hand.step(5)
    assert sources(session) == {"first", "second"}
    assert not session.failures
    viewer.layers.remove(second)
    session.tick()
    assert sources(session) == {"first"}
    by_hand.step(2)
    assert session.state.phase == "training" and not session.failures


def test_images_with_other_channels_are_refused_in_a_sentence(viewer, blobs, new_session, by_hand):
    one = viewer.add_image(blobs(64, 64), name="grey")
    rgb = viewer.add_image((blobs(64, 64)[..., None] * [1, 1, 1] / 300), name="colours", rgb=True)
    session = new_session(viewer, by_hand)
    session.paint_both(())
    session.choose(ImageChoice((one,), "YX"))
    session.paint_both(())
    session.train()
    assert (
        session.failures == ["grey has 1 channels and colours has 3: choose as many for each image"]
        and not by_hand.running
    )
    assert session.state.phase == "idle"
    viewer.layers.remove(rgb)
    session.tick()
    session.train()
    by_hand.step(2)
    assert session.state.phase == "training"


def test_another_image_is_shown_while_training_even_where_it_cannot_be_predicted(training, by_hand, blobs):
    colours = np.stack([blobs(64, 64) / 300] * 3, axis=-1)
    rgb = training.viewer.add_image(colours, name="colours", rgb=True)
    training.choose(ImageChoice((rgb,), "YXC"))
    training.tick()
    assert training.wanted.view is None
    by_hand.step(3)
    assert training.state.phase == "training" and not training.failures
    volume = training.viewer.add_image(blobs(2, 64, 64), name="volume")
    training.choose(ImageChoice((volume,), "ZYX"))
    training.tick()
    by_hand.step(3)
    assert overlay(training).name == "volume prediction" or any(
        layer.name == "volume prediction" for layer in training.viewer.layers
    )


def test_other_channels_of_the_same_image_make_another_network(viewer, blobs, new_session, by_hand):
    image = viewer.add_image(np.stack([blobs(64, 64), blobs(64, 64, seed=1)]), name="two")
    session = new_session(viewer, by_hand)
    session.choose(ImageChoice((image,), "CYX"))
    session.paint_both((0,))
    session.train()
    by_hand.step(4)
    assert session.teaching.model.network.config.in_channels == 2
    session.choose(ImageChoice((image,), "CYX", (1,)))
    session.tick()
    by_hand.step(4)
    assert session.teaching.model.network.config.in_channels == 1
    assert session.state.phase == "training" and not session.failures
    assert len([layer for layer in viewer.layers if "prediction" in layer.name]) == 1
    assert any("the first layer (for 1 channels instead of 2)" in said for said in session.sentences)


def test_choosing_the_same_image_again_measures_and_learns_nothing_anew(training, by_hand):
    examples, choice = training.wanted.examples, training.state.choice
    training.choose(ImageChoice(choice.layers, choice.axes))
    training.tick()
    assert training.state.choice is choice and training.wanted.examples is examples


@pytest.mark.parametrize("which", ["image", "annotation"])
def test_a_layer_that_is_deleted_while_training_ends_it_in_a_sentence(training, by_hand, which):
    image, annotation = training.state.choice.layers[0], training.desk.current.layer
    training.viewer.layers.remove(image if which == "image" else annotation)
    training.tick()
    by_hand.finish()
    training.tick()
    assert training.state.phase == "idle" and not training.failures
    deleted = "the image of blobs annotation" if which == "image" else "the annotation of blobs"
    assert any(said.startswith(f"{deleted} was deleted") for said in training.sentences)
    assert any(said.startswith("training has stopped") for said in training.sentences)
    assert training.state.has_model


def test_a_channel_that_is_deleted_while_training_leaves_the_others(viewer, blobs, new_session, by_hand):
    layers = tuple(viewer.add_image(blobs(64, 64, seed=at), name=name) for at, name in enumerate("abc"))
    session = new_session(viewer, by_hand)
    session.choose(ImageChoice(layers, "YX"))
    session.paint_both()
    session.train()
    by_hand.until(lambda: session.trainer.steps > 2)
    viewer.layers.remove("b")
    session.tick()
    assert session.state.choice.layers == (layers[0], layers[2])
    assert [image.name for image in session.state.images] == ["a"]
    network = session.teaching.model.network
    by_hand.until(lambda: session.teaching.model.network is not network)
    assert session.teaching.model.network.config.in_channels == 2
    assert session.state.phase == "training" and not session.failures
    assert not any("deleted" in said for said in session.sentences)


def test_nothing_of_a_deleted_image_stays_in_memory(viewer, blobs, new_session):
    viewer.add_image(blobs(64, 64), name="a")
    session = new_session(viewer)
    session.paint_both()
    session.train_for(2)
    session.segment_slice()
    pixels = weakref.ref(viewer.layers["a"].data)
    for name in ("a", "a annotation"):
        del viewer.layers[name]
    viewer.add_image(blobs(64, 64, seed=2), name="b")
    session.tick()
    session.paint_both()
    session.train_for(2)
    session.changes.clear()
    gc.collect()
    assert pixels() is None and not session.failures
    assert {"a prediction", "a segmentation"} < {layer.name for layer in viewer.layers}


def test_a_deleted_annotation_is_offered_again(training, by_hand):
    painted = training.desk.current.layer.data.copy()
    training.viewer.layers.remove(training.desk.current.layer)
    training.tick()
    by_hand.finish()
    assert "1 annotated slice of blobs" in training.state.kept
    training.restore()
    assert np.array_equal(training.desk.current.layer.data, painted)
    training.tick()
    assert training.state.kept == ""


def test_renamed_layers_change_nothing(training, by_hand):
    training.state.choice.layers[0].name = "renamed"
    training.desk.current.layer.name = "strokes"
    training.tick()
    training.paint(2, (49, 60), (17, 28))
    training.tick()
    by_hand.step(3)
    assert training.state.phase == "training" and not training.failures
    assert training.state.images[0].name == "renamed"


def test_an_image_that_is_swapped_for_one_of_another_shape_is_let_go_once(training, by_hand, blobs):
    training.state.choice.layers[0].data = blobs(96, 80)
    for _ in range(3):
        training.tick()
    by_hand.finish()
    assert sum("no longer fits its image" in said for said in training.sentences) == 1
    assert not training.failures
    training.paint_both(())
    training.train()
    by_hand.step(4)
    assert training.state.phase == "training" and not training.failures
    assert overlay(training).data.shape == (96, 80)


def test_an_image_that_becomes_a_stack_is_let_go_as_well(training, by_hand, blobs):
    training.state.choice.layers[0].data = blobs(2, 64, 64)
    for _ in range(3):
        training.tick()
    by_hand.finish()
    assert not training.failures
    assert training.state.choice.axes == "ZYX"


def test_a_deleted_overlay_comes_back_with_the_next_preview(training, by_hand):
    training.viewer.layers.remove(overlay(training))

    def comes_back():
        training.tick()
        return predicted(training).any()

    by_hand.until(comes_back)
    assert not training.failures


def test_options_changed_while_training_wait_for_the_next_start(training, by_hand):
    training.set_settings(replace(training.settings, ndim=3, loss="dice"))
    training.paint(2, (49, 60), (17, 28))
    training.tick()
    by_hand.step(2)
    assert training.state.phase == "training" and not training.failures
    training.stop()
    by_hand.finish()
    training.train()
    assert training.failures == [
        "the model is 2D and the options say 3D: press New model, or change the options"
    ]


def test_the_model_cannot_be_replaced_while_it_is_trained(training, by_hand):
    training.new_model()
    assert training.failures == ["a training is running: stop it first"]
    by_hand.step(2)
    assert training.state.phase == "training"


def test_a_new_model_forgets_what_was_learnt_and_keeps_the_strokes(training, by_hand):
    training.stop()
    by_hand.finish()
    training.new_model()
    training.tick()
    assert not training.state.has_model and training.state.model == ""
    assert training.state.verdict == "not trained yet: press Train"
    assert not overlay(training).data.any()
    training.train()
    by_hand.until(lambda: training.trainer.steps == 1)


def test_a_network_that_cannot_be_built_is_a_failure_and_the_session_works_on(live, by_hand, monkeypatch):
    def refuse(*args, **options):
        raise MemoryError("the network does not fit into memory: choose less width")

    with monkeypatch.context() as patch:
        patch.setattr("napari_unet.session.learning.new_model", refuse)
        live.train()
        by_hand.finish()
    assert live.failures == ["the network does not fit into memory: choose less width"]
    assert live.state.phase == "idle" and not live.state.has_model
    live.train()
    by_hand.step(2)
    assert live.state.phase == "training"


def test_a_training_that_breaks_is_one_sentence_and_can_be_started_again(
    training, by_hand, monkeypatch, strange_errors
):
    def break_down(self, *args):
        raise RuntimeError("the cable is out")

    with monkeypatch.context() as patch:
        patch.setattr("napari_unet.core.learner.Learner.learn", break_down)
        by_hand.finish()
    assert training.failures == ["RuntimeError: the cable is out"]
    strange_errors.clear()
    assert training.state.phase == "idle" and training.state.has_model
    training.train()
    by_hand.step(2)
    assert training.state.phase == "training"


def test_a_three_dimensional_network_learns_from_slices_and_shows_the_one_in_sight(
    viewer, blobs, new_session, by_hand
):
    viewer.add_image(blobs(12, 48, 48), name="volume", scale=(2, 1, 1))
    session = new_session(viewer, by_hand)
    session.set_settings(replace(session.settings, ndim=3, patch_size=16))
    viewer.dims.set_point(0, 10)
    session.tick()
    session.paint_both((5,))
    session.train()
    by_hand.until(lambda: predicted(session, 5).any())
    assert session.state.model.startswith("U-Net 3D") and not predicted(session, 4).any()
    (example,) = session.wanted.examples
    assert example.annotation.ndim == 3
    viewer.dims.set_point(0, 22)
    session.tick()
    by_hand.until(lambda: predicted(session, 11).any())
    assert not session.failures
    flat = viewer.add_image(blobs(64, 64), name="flat")
    session.choose(ImageChoice((flat,), "YX"))
    session.tick()
    by_hand.step(2)
    assert session.state.phase == "training" and not session.failures


def test_a_flat_image_is_refused_by_a_three_dimensional_training(live, by_hand):
    live.set_settings(replace(live.settings, ndim=3))
    live.train()
    assert live.failures == ["blobs has no Z axis: choose 2D in the advanced options"]
    assert live.state.phase == "idle"


def with_holes(square):
    square[:10, :10], square[20, 20] = np.nan, np.inf
    return square


def read_only(square):
    square.flags.writeable = False
    return square


KINDS = {
    "holes": with_holes,
    "constant": lambda square: np.full_like(square, 7),
    "bool": lambda square: square > 150,
    **{dtype: lambda square, dtype=dtype: square.astype(dtype) for dtype in ("uint8", "int16", "uint32")},
    **{dtype: lambda square, dtype=dtype: square.astype(dtype) for dtype in (">u2", ">f4", "float64")},
    "read-only": read_only,
    "rgb": lambda square: (np.stack([square] * 3, -1) / 2).astype(np.uint8),
    "rgba": lambda square: (np.stack([square] * 4, -1) / 2).astype(np.uint8),
    "TCZYX": lambda square: np.broadcast_to(square, (2, 2, 2, 64, 64)),
    "multiscale": lambda square: [square, square[::2, ::2]],
}


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_image_is_trained_on(kind, viewer, blobs, new_session, by_hand):
    options = {"rgb": True} if kind.startswith("rgb") else {}
    viewer.add_image(KINDS[kind](blobs(64, 64)), multiscale=kind == "multiscale", **options)
    session = new_session(viewer, by_hand)
    session.paint_both()
    session.train()
    by_hand.step(4)
    assert not session.failures, session.failures
    assert session.trainer.steps > 0
    assert overlay(session).data.shape == session.state.choice.annotation_shape
    session.segment_slice()
    by_hand.step(4)
    assert not session.failures, session.failures


def test_strokes_on_holes_only_teach_nothing_and_it_is_said(viewer, blobs, new_session, by_hand):
    viewer.add_image(np.full((64, 64), np.nan, np.float32), name="holes", contrast_limits=(0, 1))
    session = new_session(viewer, by_hand)
    session.paint_both()
    session.train()
    by_hand.finish()
    assert len(session.failures) == 1 and "finite" in session.failures[0]
    assert session.state.phase == "idle"


def test_classes_without_a_background_can_be_trained(live, by_hand):
    live.set_classes(tuple(replace(each, is_background=False) for each in DEFAULT_CLASSES))
    live.train()
    by_hand.step(4)
    assert set(np.unique(overlay(live).data)) <= {1, 2} and not live.failures


def test_classes_that_cannot_be_told_apart_are_refused(live):
    live.set_classes((ClassStyle(1, "a", "#000000"), ClassStyle(1, "b", "#000000")))
    assert len(live.failures) == 1 and live.state.classes == DEFAULT_CLASSES


def test_an_image_that_is_given_other_pixels_is_measured_and_learnt_anew(training, by_hand, blobs):
    image = training.state.choice.layers[0]
    (before,) = training.wanted.examples
    intensity = training.teaching.intensity(training.state.choice)
    image.data = 1000 * blobs(64, 64, seed=8)
    training.tick()
    (after,) = training.wanted.examples
    assert abs(after.image).max() < 10  # by its own intensities
    assert np.array_equal(after.annotation, before.annotation)
    assert training.teaching.intensity(training.state.choice) != intensity
    overlay(training).data[:] = 9
    by_hand.until(lambda: not (overlay(training).data == 9).any())
    assert training.state.phase == "training" and not training.failures


def test_one_training_runs_at_a_time(training, by_hand):
    training.set_task("objects")
    training.paint(1, (2, 14), (2, 62))
    training.paint(2, (17, 31), (17, 31))
    training.tick()
    training.train()
    assert len(by_hand.running) == 1  # that of the classes, which stops
    by_hand.until(lambda: training.state.phase == "training")
    assert len(by_hand.running) == 1 and training.teaching.model is None
    by_hand.until(lambda: training.trainer.steps > 0)
    assert training.teaching.model.task == "objects" and not training.failures


def test_the_task_that_is_chosen_already_stops_nothing(training, by_hand):
    training.set_task("classes")
    by_hand.step(2)
    assert training.state.phase == "training"


def test_an_image_without_strokes_does_not_matter(viewer, blobs, new_session, by_hand):
    image = viewer.add_image(np.stack([blobs(64, 64), blobs(64, 64, seed=1)]), name="two")
    session = new_session(viewer, by_hand)
    session.annotate()  # as a stack, by mistake
    session.choose(ImageChoice((image,), "CYX"))
    session.paint_both((0,))
    session.train()
    by_hand.until(lambda: session.trainer.steps > 0)
    assert session.teaching.model.network.config.in_channels == 2 and not session.failures


def test_the_tool_in_hand_stays_when_a_slice_is_marked_complete(live):
    layer = live.desk.current.layer
    layer.mode = "erase"
    live.viewer.layers.selection.active = live.state.choice.layers[0]
    live.toggle_complete()
    assert layer.mode == "erase" and live.viewer.layers.selection.active is live.state.choice.layers[0]


def test_a_device_that_is_not_there_is_one_sentence(live, by_hand, monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    live.set_settings(replace(live.settings, device="cuda"))
    assert len(live.failures) == 1 and "\n" not in live.failures.pop()
    live.train()
    by_hand.finish()
    assert len(live.failures) == 1 and live.state.phase == "idle"
    live.set_settings(replace(live.settings, device="cpu"))
    live.train()
    by_hand.until(lambda: live.trainer.steps > 0)


def test_a_session_is_closed_twice(training, by_hand):
    training.close()
    training.close()
    by_hand.finish()
    assert not training.failures


def test_an_image_painted_while_another_is_measured_is_waited_for(viewer, blobs, new_session, by_hand):
    by_hand.names = ("training", "measure")
    first, second = (viewer.add_image(blobs(64, 64, seed=n), name=name) for n, name in enumerate("ab"))
    session = new_session(viewer, by_hand)
    session.paint_both(())
    session.train()
    assert session.state.phase == "preparing"
    session.choose(ImageChoice((first,), "YX"))
    session.paint_both(())
    by_hand.until(lambda: session.state.phase == "training")
    assert sources(session) == {"a", "b"}
    assert second.name == "b" and not session.failures


def test_a_verb_right_after_a_layer_has_gone_finds_the_next_image(live, blobs):
    live.viewer.add_image(blobs(48, 48), name="next")
    live.viewer.layers.remove("blobs")
    live.annotate()
    assert live.desk.current.layer.data.shape == (48, 48) and not live.failures
