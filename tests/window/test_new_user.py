"""The path of a new user, with a real mouse and real keys: from an installed package to a segmented stack."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from user import User

from napari_unet.core.training import TrainUpdate


class Log:
    """What happened, in its order: updates of the training, and what the user did in between."""

    def __init__(self, user: User) -> None:
        self.events: list[Any] = []
        user.session.updated.connect(self.events.append)

    def updates_after(self, word: str) -> list[TrainUpdate]:
        """Updates since the user did something."""
        return [each for each in self.events[self.events.index(word) :] if isinstance(each, TrainUpdate)]

    def messages_after(self, word: str) -> list[TrainUpdate]:
        """Updates that tell of something since then: that other strokes are learnt, for one."""
        return [update for update in self.updates_after(word) if update.message]


@pytest.fixture
def painted(user: User) -> User:
    """A user who has opened the sample and the dock, and painted a few strokes of both classes."""
    user.open_sample()
    user.open_dock()
    user.annotate()
    user.paint_nuclei()
    return user


@pytest.fixture
def trained(painted: User) -> User:
    """A user whose network has learnt for a while and was stopped."""
    painted.train()
    painted.wait("a useful mask", lambda: painted.dice(painted.predicted) > 0.7)
    painted.stop()
    return painted


@pytest.mark.parametrize(
    "menu", [("Plugins", "napari-unet"), ("Layers", "Segment", "napari-unet")], ids=lambda menu: menu[0]
)
def test_the_dock_opens_from_a_menu_and_has_picked_the_image(user: User, menu: tuple[str, ...]):
    user.open_sample()

    user.open_dock(*menu)

    user.photograph(f"the dock from {menu[0]}")
    assert user.session.state.choice.layers == (user.image,)
    assert user.is_offered("annotate")


def test_annotate_makes_a_layer_that_lies_on_the_image_with_the_brush_ready(user: User):
    user.open_sample("Blobs 3D")
    user.open_dock()

    user.annotate()

    layer, image = user.annotation, user.image
    user.photograph("annotate")
    assert layer.data.shape == image.data.shape
    for name in ("scale", "translate", "units"):
        assert np.all(getattr(layer, name) == getattr(image, name)), name
    assert (layer.mode, user.viewer.layers.selection.active) == ("paint", layer)
    assert [each.name for each in user.session.state.classes] == ["background", "foreground"]


def test_keys_choose_the_class_that_is_painted(painted: User):
    values, plane = np.unique(painted.annotation.data), painted.plane

    painted.photograph("strokes of both classes")
    truth, strokes = painted.truth[plane] > 0, painted.annotation.data[plane]
    assert values.tolist() == [0, 1, 2]
    assert not truth[strokes == 1].any()
    assert truth[strokes == 2].all()
    assert [each.planes[0].index for each in painted.session.state.images] == [plane]

    painted.click("add_class")
    painted.paint("3", ((5, 5), (5, 40)))
    painted.photograph("a third class")
    assert (painted.annotation.data[plane][5, 6:39] == 3).all()
    painted.click("remove_class")
    painted.wait("its strokes are gone", lambda: not (painted.annotation.data == 3).any())
    painted.photograph("two classes again")


def test_the_mask_appears_and_improves_while_painting_goes_on(painted: User):
    log = Log(painted)
    painted.train()
    painted.photograph("the first mask")
    first = painted.dice(painted.predicted)
    painted.wait("the mask improves", lambda: painted.dice(painted.predicted) > max(0.7, first))
    painted.photograph("a better mask")

    # a stroke while it trains: a later step uses it, and nothing was pressed
    log.events.append("stroke")
    painted.paint_nuclei(1, first=2)
    painted.wait("the stroke is taken over", lambda: log.messages_after("stroke"))
    taken_over = log.messages_after("stroke")[0].step
    painted.wait("a step that uses it", lambda: log.updates_after("stroke")[-1].step > taken_over)
    painted.photograph("painted on while training")
    assert painted.phase == "training"

    # another slice: it is predicted before anything else
    painted.go_to(4)
    before = painted.predicted.copy()
    painted.wait("the new slice is predicted", lambda: (painted.predicted != before).any())
    painted.photograph("another slice")
    assert painted.phase == "training"
    painted.stop()


def test_pause_resume_stop_and_start_again_lose_nothing(painted: User):
    log = Log(painted)
    painted.train()
    painted.click("pause")
    painted.wait("it is paused", lambda: painted.phase == "paused")
    painted.wait("the step at work is done", lambda: np.isnan([each.loss for each in log.events[-2:]]).all())
    paused_at = log.events[-1].step
    painted.photograph("paused")
    painted.pump(1)
    assert log.events[-1].step == paused_at

    painted.click("pause")
    painted.wait("it goes on", lambda: log.events[-1].step > paused_at)

    painted.stop()
    stopped_at = log.events[-1].step
    painted.photograph("stopped")
    log.events.append("again")
    painted.click("train")
    painted.wait("it goes on where it stood", lambda: log.updates_after("again"))
    painted.wait("another step", lambda: log.updates_after("again")[-1].step > stopped_at)
    assert log.updates_after("again")[0].step >= stopped_at
    painted.stop()


def test_objects_on_a_complete_slice_with_their_weight_map(user: User):
    user.open_sample()
    user.open_dock()
    user.click("task_objects")
    user.annotate()
    user.paint_objects()
    user.photograph("objects painted")
    assert np.unique(user.annotation.data).size > 6

    user.click("complete")
    user.wait("the slice is complete", lambda: user.session.state.plane_complete)
    user.click("weight_map")
    weights = user.wait("the weight map", lambda: user.weights)
    user.photograph("weight map")
    assert np.nanmax(weights.data) > np.nanmin(weights.data)

    user.train()
    user.wait("the mask improves", lambda: user.dice(user.predicted) > 0.6)
    user.photograph("objects training")
    user.stop()


def test_a_prediction_is_taken_as_annotation_in_a_box_and_corrected(trained: User):
    trained.go_to(4)
    trained.click("draw_box")
    trained.stroke(trained.annotation, (30, 40), (100, 150))
    trained.photograph("a box")
    trained.click("take_prediction")
    values = trained.wait("it is taken", lambda: trained.session.desk.current.values(trained.plane))

    trained.photograph("taken as annotation")
    rows, columns = np.nonzero(trained.annotation.data[trained.plane])
    assert values == {1, 2}
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (30, 100, 40, 150)
    trained.paint("1", ((60, 50), (60, 140)))
    trained.photograph("corrected")
    assert (trained.annotation.data[trained.plane][60, 52:138] == 1).all()


def test_a_slice_the_stack_and_a_file_are_segmented_in_place(trained: User, tmp_path: Path):
    trained.go_to(1)
    trained.click("segment_slice")
    trained.wait("the slice is segmented", lambda: trained.result and trained.result.data[1].any())
    trained.photograph("a slice segmented")
    assert not np.asarray(trained.result.data[0]).any()

    trained.click("segment_stack")
    trained.wait("the stack is segmented", lambda: all(np.asarray(p).any() for p in trained.result.data))
    trained.wait("it is done", lambda: not trained.session.state.segmenting)
    trained.photograph("the stack segmented")
    for name in ("scale", "translate", "units"):
        assert np.all(getattr(trained.result, name) == getattr(trained.image, name)), name
    assert trained.dice(np.asarray(trained.result.data[1])) > 0.5

    path = tmp_path / "segmented.ome.tif"
    with trained.answering(trained.file_name(path)):
        trained.click("segment_file")
    trained.wait("the file is written", lambda: path.exists() and not trained.session.state.segmenting)
    trained.photograph("a file segmented")
    np.testing.assert_array_equal(tifffile.imread(path), trained.result.data)


def test_a_saved_model_is_loaded_again_and_goes_on_with_another_stack(trained: User, tmp_path: Path):
    path = tmp_path / "nuclei.safetensors"
    with trained.answering(trained.file_name(path)):
        trained.click("save_model")
    trained.wait("the model is saved", path.exists)

    with trained.answering(trained.confirm):
        trained.click("new_model")
    trained.wait("the model is gone", lambda: not trained.session.state.has_model)

    with trained.answering(trained.file_name(path)):
        trained.click("load_model")
    trained.wait("the model is back", lambda: trained.session.state.has_model)
    trained.photograph("a model loaded")

    trained.open_sample("Nuclei")
    trained.choose("nuclei")
    trained.annotate()
    trained.paint_nuclei()
    trained.train()
    trained.photograph("fine-tuned on another stack")
    assert [image.name for image in trained.session.state.images] == ["nuclei stack", "nuclei"]
    trained.stop()
