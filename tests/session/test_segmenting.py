import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from napari.components import ViewerModel
from napari.layers._source import Source

from napari_unet.core.arrays import segment_into
from napari_unet.core.examples import image_intensity
from napari_unet.core.io import open_image
from napari_unet.core.layouts import SegmentConfig, result_layout
from napari_unet.core.modelfile import Model, model_hash
from napari_unet.core.networks.unet import UNet, UNetConfig
from napari_unet.core.objects import ObjectRules
from napari_unet.core.results import ArraySink
from napari_unet.core.targets import OBJECT_CLASSES, ClassLabel
from napari_unet.session.classes import DEFAULT_CLASSES, prediction_colormap
from napari_unet.session.images import ImageChoice, open_layers
from napari_unet.session.jobs import caught, run_now
from napari_unet.session.segmenting import Segmenting
from napari_unet.session.settings import ALL_OBJECTS, WantedObjects
from napari_unet.session.sinks import as_result

CLASSES = (ClassLabel(1, 0, "background"), ClassLabel(2, 2, "nucleus"), ClassLabel(3, 3, "dirt"))
COLOURS = prediction_colormap(DEFAULT_CLASSES)


RULES = ObjectRules(core=0.3)
"""What has learnt nothing is sure of no core."""


def model(ndim=2, channels=1, task="classes"):
    torch.manual_seed(2)
    classes = CLASSES if task == "classes" else OBJECT_CLASSES
    config = UNetConfig(ndim=ndim, in_channels=channels, n_classes=len(classes), width=4, depth=2)
    axes = "ZYX"[-ndim:]
    names = ("",) * channels
    return Model(
        UNet(config), "unet", task, classes, axes, (1.0,) * ndim, "pixel", names, "percentile", {}, "0", RULES
    )


def pixels(shape, seed=0):
    """Noise with structure, so that every class is predicted somewhere."""
    noise = np.random.default_rng(seed).normal(size=shape).cumsum(-1).cumsum(-2)
    return (noise * 50).astype(np.float32)


class Steps:
    """A start that does one step of a job when told."""

    def __call__(self, work, shown, done, failed):
        self.work, self.shown, self.done, self.failed = caught(work), shown, done, failed

    def step(self):
        try:
            self.shown(next(self.work))
        except StopIteration as end:
            self.failed(end.value) if hasattr(end.value, "sentence") else self.done(end.value)
            return False
        return True

    def until_done(self, n_tasks):
        """Go on until so many tiles have been told."""
        told = []
        show, self.shown = self.shown, lambda news: (show(news), told.append(news))
        while sum(not isinstance(news, str) for news in told) < n_tasks:
            self.step()
        self.shown = show

    def finish(self):
        while self.step():
            pass


@pytest.fixture
def viewer():
    return ViewerModel()


@pytest.fixture
def failures():
    return []


@pytest.fixture
def segmenting(viewer, failures):
    return Segmenting(viewer, run_now, failures.append)


@pytest.fixture
def steps():
    return Steps()


@pytest.fixture
def stepping(viewer, steps, failures):
    return Segmenting(viewer, steps, failures.append)


def result_of(viewer, word="segmentation"):
    (layer,) = [layer for layer in viewer.layers if word in layer.name]
    return layer


def expected(model, choice, **config):
    """What the core says about the image, with the result's axes."""
    image, config = open_layers(choice), SegmentConfig(**config)
    layout = result_layout(model, image, config)
    sink = ArraySink(np.zeros(layout.shape, layout.dtype))
    for _ in segment_into(model, image, sink, config):
        pass
    return sink.array, layout.axes


def measured(choice):
    """Intensities, as the session measures them."""
    return image_intensity(open_layers(choice))


def image_2d(viewer):
    return ImageChoice((viewer.add_image(pixels((50, 60)), name="cells"),), "YX")


def volume(viewer, n_planes=6, **where):
    layer = viewer.add_image(pixels((n_planes, 40, 44)), name="cells", **where)
    return ImageChoice((layer,), "ZYX")


def placed_volume(viewer):
    return volume(viewer, scale=(3, 0.5, 0.5), translate=(7, -2, 4), units=("um", "um", "um"))


def five_axes(viewer):
    return ImageChoice((viewer.add_image(pixels((2, 2, 3, 40, 44)), scale=(1, 1, 4, 1, 1)),), "TCZYX")


def odd_order(viewer):
    return ImageChoice((viewer.add_image(pixels((3, 2, 2, 40, 44))),), "ZTCYX")


def one_of_two_channels(viewer):
    return ImageChoice((viewer.add_image(pixels((2, 3, 40, 44))),), "CZYX", channels=(1,))


def colours(viewer):
    values = np.abs(pixels((3, 40, 44, 3))).astype(np.uint8)
    return ImageChoice((viewer.add_image(values, rgb=True),), "ZYXC")


def two_layers(viewer):
    return ImageChoice(tuple(viewer.add_image(pixels((3, 40, 44), seed)) for seed in (0, 1)), "ZYX")


def multiscale(viewer):
    whole = pixels((3, 64, 72))
    return ImageChoice((viewer.add_image([whole, whole[:, ::2, ::2]], multiscale=True),), "ZYX")


IMAGES = {
    image_2d: 1,
    volume: 1,
    placed_volume: 1,
    five_axes: 2,
    odd_order: 2,
    one_of_two_channels: 1,
    colours: 3,
    two_layers: 2,
    multiscale: 1,
}


@pytest.mark.parametrize(("make", "channels"), IMAGES.items())
def test_a_stack_gets_what_the_core_says_where_the_image_is(viewer, segmenting, failures, make, channels):
    choice, trained = make(viewer), model(channels=channels)
    segmenting.segment_stack(trained, choice, measured(choice), COLOURS)
    assert not failures
    layer, image = result_of(viewer), choice.layers[0]
    labels, axes = expected(trained, choice)
    found = as_result(layer.data, choice.plane_axes.replace("C", "c") + "YX", axes)
    np.testing.assert_array_equal(found, labels)
    assert len(np.unique(labels)) > 1 and layer.data.dtype == np.uint8
    own = [axis != "C" for axis in choice.plane_axes + "YX"]  # one position stands for all channels
    np.testing.assert_allclose(layer.extent.world[:, own], image.extent.world[:, own])
    assert layer.units == image.units and viewer.dims.ndim == image.ndim


def test_layers_in_another_order_than_the_model_names_them_are_each_normalised_as_themselves(
    viewer, segmenting, failures
):
    layers = [
        viewer.add_image(pixels((3, 40, 44), seed) * (1 + 40 * seed), name=name)
        for seed, name in enumerate(("dim", "bright"))
    ]
    choice = ImageChoice(tuple(layers), "ZYX")
    trained = replace(model(channels=2), channels=("bright", "dim"))
    segmenting.segment_stack(trained, choice, measured(choice), COLOURS)
    assert not failures
    labels, _ = expected(trained, choice)
    np.testing.assert_array_equal(result_of(viewer).data, labels)


@pytest.mark.parametrize(("make", "channels"), IMAGES.items())
def test_a_plane_gets_what_the_stack_gets_there(viewer, segmenting, failures, make, channels):
    choice, trained = make(viewer), model(channels=channels)
    index = tuple(size - 1 for size in choice.plane_shape)
    segmenting.segment_plane(trained, choice, index, measured(choice), COLOURS)
    assert not failures
    found = result_of(viewer).data.copy()
    segmenting.segment_stack(trained, choice, measured(choice), COLOURS)
    whole = result_of(viewer).data
    np.testing.assert_array_equal(found[index], whole[index])
    found[index] = 0
    assert not found.any()


@pytest.mark.parametrize("z", [0, 9, 23])
def test_a_3d_model_sees_enough_planes_around_one(viewer, segmenting, failures, z):
    choice, trained = volume(viewer, 24), model(ndim=3)
    assert trained.network.context[0] < 24
    segmenting.segment_plane(trained, choice, (z,), measured(choice), COLOURS)
    found = result_of(viewer).data.copy()
    assert not failures and found[z].any()
    np.testing.assert_array_equal(found[z], expected(trained, choice, halo="exact")[0][z])
    found[z] = 0
    assert not found.any()


def test_the_intensities_of_a_plane_are_those_of_the_image(viewer, segmenting):
    values = pixels((3, 40, 44))
    values[2] *= 20
    choice = ImageChoice((viewer.add_image(values, name="cells"),), "ZYX")
    segmenting.segment_plane(model(), choice, (0,), measured(choice), COLOURS)
    found = result_of(viewer).data[0].copy()
    np.testing.assert_array_equal(found, expected(model(), choice)[0][0])


def test_objects_that_are_not_found_are_said(viewer, segmenting, failures):
    choice, said = volume(viewer), []
    segmenting.said.connect(said.append)
    wary = replace(model(task="objects"), objects=ObjectRules(foreground=1.0, core=1.0))
    segmenting.segment_plane(wary, choice, (1,), measured(choice), None, "cpu")
    segmenting.segment_stack(wary, choice, measured(choice), None)
    segmenting.segment_stack(model(task="objects"), choice, measured(choice), None)
    none = ": no object was found, train longer or choose a smaller size"
    assert not failures and said[-3:] == [
        f"this slice of cells is segmented{none}",
        f"cells is segmented{none}",
        "cells is segmented",
    ]


def test_what_a_result_does_not_show_is_said(viewer, segmenting, failures, tmp_path):
    values, said = pixels((3, 40, 44)), []
    values[1, 3, 4:6] = np.nan
    layer = viewer.add_image(values, name="cells", metadata={"notes": ("its unit is ignored",)})
    choice = ImageChoice((layer,), "ZYX")
    segmenting.said.connect(said.append)
    segmenting.segment_plane(model(), choice, (1,), measured(choice), COLOURS)
    segmenting.segment_stack(model(), choice, measured(choice), COLOURS)
    segmenting.segment_stack(model(), choice, measured(choice), COLOURS, path=tmp_path / "labels.tif")
    notes = "; its unit is ignored; 2 pixels were NaN or infinite: they are 0 in the result"
    assert not failures and said == [
        f"this slice of cells is segmented{notes}",
        f"cells is segmented{notes}",
        f"cells is segmented and saved as labels.tif{notes}",
    ]


def test_alpha_that_is_dropped_is_said(viewer, segmenting, failures):
    said = []
    colours = np.random.default_rng(0).integers(0, 255, (40, 44, 4), np.uint8)
    choice = ImageChoice((viewer.add_image(colours, name="cells", rgb=True),), "YXC")
    segmenting.said.connect(said.append)
    segmenting.segment_stack(model(channels=3), choice, measured(choice), COLOURS)
    assert not failures and said == ["cells is segmented; alpha is dropped"]


def test_objects_have_numbers_of_their_own_on_every_plane(viewer, segmenting, failures):
    choice, trained = volume(viewer), model(task="objects")
    for z in (1, 4):
        segmenting.segment_plane(trained, choice, (z,), measured(choice), None)
    data = result_of(viewer).data
    one, two = set(np.unique(data[1])) - {0}, set(np.unique(data[4])) - {0}
    assert not failures and one and two and not one & two
    segmenting.segment_stack(trained, choice, measured(choice), None)
    data = result_of(viewer).data
    np.testing.assert_array_equal(data, expected(trained, choice)[0])
    highest = data.max()
    segmenting.segment_plane(trained, choice, (2,), measured(choice), None)
    again = result_of(viewer).data[2]
    assert again[again > 0].min() > highest


def test_probabilities_come_as_an_image_with_an_axis_for_the_classes(viewer, segmenting, failures):
    choice, trained = five_axes(viewer), model(channels=2)
    segmenting.segment_stack(trained, choice, measured(choice), COLOURS, kind="probabilities")
    assert not failures
    layer = result_of(viewer, "probabilities")
    scores, axes = expected(trained, choice, kind="probabilities")
    assert axes == "TCZYX" and layer.data.shape == (3, 2, 1, 3, 40, 44)
    np.testing.assert_array_equal(as_result(layer.data, "CTcZYX", axes), scores)


def test_a_file_holds_what_the_layer_holds(viewer, segmenting, failures, tmp_path):
    choice, said = placed_volume(viewer), []
    segmenting.said.connect(said.append)
    segmenting.segment_stack(model(), choice, measured(choice), COLOURS, path=tmp_path / "labels.ome.tif")
    saved = open_image(tmp_path / "labels.ome.tif")
    np.testing.assert_array_equal(saved.read()[0], result_of(viewer).data)
    assert saved.spacing == (3.0, 0.5, 0.5) and saved.unit == "µm"
    assert not failures and said == ["cells is segmented and saved as labels.ome.tif"]


def test_what_is_too_large_for_a_layer_goes_into_a_file_only(
    viewer, segmenting, failures, tmp_path, monkeypatch
):
    def no_room(shape, dtype):
        raise OSError("no room")

    choice, said = volume(viewer), []
    monkeypatch.setattr("napari_unet.session.segmenting.zeros", no_room)
    segmenting.said.connect(said.append)
    segmenting.segment_stack(
        model(task="objects"), choice, measured(choice), None, path=tmp_path / "objects.tif"
    )
    labels, _ = expected(model(task="objects"), choice)
    np.testing.assert_array_equal(open_image(tmp_path / "objects.tif").read()[0], labels)
    shown = result_of(viewer)
    np.testing.assert_array_equal(np.asarray(shown.data), labels)  # as it lies in the file
    np.testing.assert_array_equal(shown.extent.world, choice.layers[0].extent.world)
    assert not failures and said == ["cells is segmented and saved as objects.tif"]
    viewer.layers.remove(shown)
    segmenting.segment_stack(model(), choice, measured(choice), COLOURS)
    assert [each.sentence for each in failures] == ["no room"]


def test_the_layer_fills_in_plane_by_plane(viewer, stepping, steps):
    choice = volume(viewer)
    viewer.dims.set_point(0, 2)
    stepping.segment_stack(model(), choice, measured(choice), COLOURS)
    layer = result_of(viewer)
    drawn = []
    steps.until_done(1)
    layer.events.set_data.connect(lambda: drawn.append(1))
    steps.until_done(1)
    assert layer.data[:2].any((1, 2)).all() and not drawn
    steps.step()
    assert layer.data[2].any() and drawn


def test_cancelling_is_said_at_once_and_what_is_done_stays(viewer, stepping, steps, failures):
    said, choice = [], volume(viewer)
    stepping.said.connect(said.append)
    stepping.segment_stack(model(), choice, measured(choice), COLOURS)
    steps.until_done(2)
    stepping.cancel()
    assert stepping.is_ending and said == ["cells is cancelled: it ends after the tile at work"]
    stepping.cancel()
    steps.finish()
    assert result_of(viewer).data[:2].any((1, 2)).all()
    assert not stepping.busy and not failures
    assert said[1:] == [
        "segmenting cells was cancelled: 2 of 6 slices are there, Whole stack goes on with the others"
    ]


@pytest.mark.parametrize(("make", "task"), [(volume, "classes"), (volume, "objects"), (odd_order, "classes")])
def test_a_cancelled_stack_is_gone_on_with(viewer, stepping, steps, failures, make, task):
    choice, said = make(viewer), []
    trained = model(channels=IMAGES[make], task=task)
    stepping.segment_stack(trained, choice, measured(choice), COLOURS)
    steps.until_done(2)
    stepping.cancel()
    steps.finish()
    assert stepping.left(choice).startswith("2 of ")
    kept = result_of(viewer).data
    stepping.said.connect(said.append)
    stepping.segment_stack(model(channels=IMAGES[make], task=task), choice, measured(choice), COLOURS)
    regions = []
    show, steps.shown = steps.shown, lambda news: (show(news), regions.append(getattr(news, "task", None)))
    steps.finish()
    n_planes = np.prod(choice.plane_shape)
    assert regions == [None, *range(2, n_planes)]  # what was there is not computed again
    data = result_of(viewer).data
    assert data is kept and not failures and stepping.left(choice) == ""
    labels, axes = expected(trained, choice)
    found = as_result(data, choice.plane_axes.replace("C", "c") + "YX", axes)
    np.testing.assert_array_equal(found, labels)
    assert said[0].startswith("goes on with") and said[0].endswith("slices are there")


@pytest.mark.parametrize("change", ["the model", "the image", "the options"])
def test_a_cancelled_stack_is_begun_anew_where_something_has_changed(
    viewer, stepping, steps, failures, change
):
    choice, said, trained, kind = volume(viewer), [], model(), None
    stepping.segment_stack(trained, choice, measured(choice), COLOURS)
    steps.until_done(2)
    stepping.cancel()
    steps.finish()
    kept = result_of(viewer).data
    if change == "the model":
        trained = model()
        next(trained.network.parameters()).data += 0.1
    elif change == "the image":
        choice.layers[0].data = pixels((6, 40, 44), seed=3)
    else:
        kind = "labels"
    stepping.said.connect(said.append)
    stepping.segment_stack(trained, choice, measured(choice), COLOURS, kind=kind)
    steps.finish()
    assert said[0] == f"cells is begun anew: {change} changed since it was cancelled" and not failures
    assert result_of(viewer).data is not kept
    np.testing.assert_array_equal(result_of(viewer).data, expected(trained, choice)[0])


def test_a_slice_of_another_model_ends_what_could_be_gone_on_with(viewer, stepping, steps):
    choice, other = volume(viewer), model()
    next(other.network.parameters()).data += 0.1
    stepping.segment_stack(model(), choice, measured(choice), COLOURS)
    steps.until_done(2)
    stepping.cancel()
    steps.finish()
    stepping.segment_plane(model(), choice, (1,), measured(choice), COLOURS)
    steps.finish()
    assert stepping.left(choice)
    stepping.segment_plane(other, choice, (1,), measured(choice), COLOURS)
    steps.finish()
    assert not stepping.left(choice)


@pytest.mark.parametrize(("name", "task"), [("a.ome.zarr", "classes"), ("b.tif", "objects")])
def test_a_file_is_gone_on_with_after_a_crash(viewer, stepping, steps, failures, tmp_path, name, task):
    choice, said, path = volume(viewer), [], tmp_path / name
    stepping.segment_stack(model(task=task), choice, measured(choice), COLOURS, path=path)
    steps.until_done(2)
    assert not path.exists()
    steps.work.close()  # as where napari ends
    again, cells = ViewerModel(), ViewerModel().add_image(pixels((6, 40, 44)), name="cells")
    again.layers.append(cells)
    other = Segmenting(again, steps, failures.append)
    other.said.connect(said.append)
    choice = ImageChoice((cells,), "ZYX")
    other.segment_stack(model(task=task), choice, measured(choice), COLOURS, path=path)
    steps.finish()
    assert not failures and [each.name for each in tmp_path.iterdir()] == [name]
    assert said == [
        f"goes on with {name}: what was done before is kept",
        f"cells is segmented and saved as {name}",
    ]
    labels = expected(model(task=task), choice)[0]
    np.testing.assert_array_equal(open_image(path).read()[0], labels)
    np.testing.assert_array_equal(result_of(again).data, labels)  # also what was done before


def half_a_stack(segmenting, steps, choice, trained, path=None, objects=ALL_OBJECTS):
    """Segment two slices, and cancel."""
    segmenting.segment_stack(trained, choice, measured(choice), COLOURS, path=path, objects=objects)
    steps.until_done(2)
    segmenting.cancel()
    steps.finish()


def test_unfinished_work_of_another_model_is_never_thrown_away(viewer, stepping, steps, failures, tmp_path):
    choice, said, other, path = volume(viewer), [], model(), tmp_path / "labels.ome.zarr"
    next(other.network.parameters()).data += 0.1
    stepping.said.connect(said.append)
    half_a_stack(stepping, steps, choice, model(), path)
    assert said[1] == (
        "segmenting cells was cancelled: choose labels.ome.zarr again to go on where it stopped"
    )
    kept, files = result_of(viewer).data.copy(), sorted(tmp_path.rglob("*"))
    stepping.segment_stack(other, choice, measured(choice), COLOURS, path=path)
    steps.finish()
    assert [each.sentence for each in failures] == [
        "labels.ome.zarr.unfinished holds unfinished work and the model changed since: "
        "choose another name, or delete that folder"
    ]
    assert sorted(tmp_path.rglob("*")) == files and not stepping.busy
    np.testing.assert_array_equal(result_of(viewer).data, kept)  # nor has its layer gone
    stepping.segment_stack(model(), choice, measured(choice), COLOURS, path=path)
    steps.finish()
    np.testing.assert_array_equal(open_image(path).read()[0], expected(model(), choice)[0])


def test_a_damaged_journal_is_left_to_the_user(viewer, segmenting, failures, tmp_path):
    choice, folder = volume(viewer), tmp_path / "labels.tif.unfinished"
    folder.mkdir()
    (folder / "journal.jsonl").write_text("{\n")
    segmenting.segment_stack(model(), choice, measured(choice), COLOURS, path=tmp_path / "labels.tif")
    assert [each.sentence for each in failures] == [
        "labels.tif.unfinished holds unfinished work and is damaged: "
        "choose another name, or delete that folder"
    ]
    assert (folder / "journal.jsonl").read_text() == "{\n"


def test_a_file_that_has_not_begun_cannot_be_gone_on_with(viewer, stepping, steps, tmp_path):
    choice, said = volume(viewer), []
    stepping.segment_stack(model(), choice, measured(choice), COLOURS, path=tmp_path / "labels.tif")
    stepping.cancel()
    stepping.said.connect(said.append)
    steps.finish()
    assert said == ["segmenting cells was cancelled before anything was saved"]
    assert not list(tmp_path.iterdir())


def test_a_file_leaves_what_was_begun_in_its_layer(viewer, stepping, steps, failures, tmp_path):
    choice, said = volume(viewer), []
    half_a_stack(stepping, steps, choice, model())
    begun = result_of(viewer)
    kept = begun.data.copy()
    stepping.said.connect(said.append)
    for name in "ab":
        stepping.segment_stack(model(), choice, measured(choice), COLOURS, path=tmp_path / f"{name}.tif")
        steps.finish()
    assert said[0] == "what was begun of cells stays in a layer of its own" and not failures
    assert len(viewer.layers) == 3  # both files share the other layer
    np.testing.assert_array_equal(begun.data, kept)
    np.testing.assert_array_equal(viewer.layers["cells segmentation [1]"].data[:2], kept[:2])
    assert stepping.left(choice) == "2 of 6 slices are there"
    stepping.segment_stack(model(), choice, measured(choice), COLOURS)
    steps.finish()
    np.testing.assert_array_equal(begun.data, expected(model(), choice)[0])
    assert begun.visible and not viewer.layers["cells segmentation [1]"].visible


def test_a_cancelled_stack_is_gone_on_with_in_a_renamed_layer(viewer, stepping, steps):
    choice, other = volume(viewer), model()
    next(other.network.parameters()).data += 0.1
    half_a_stack(stepping, steps, choice, model())
    layer = result_of(viewer)
    layer.name, kept = "my nuclei", layer.data.copy()
    stepping.segment_stack(other, choice, measured(choice), COLOURS)
    steps.finish()
    np.testing.assert_array_equal(layer.data, kept)  # another model gets a layer of its own
    viewer.layers.remove(result_of(viewer))
    stepping.segment_stack(model(), choice, measured(choice), COLOURS)
    steps.finish()
    assert len(viewer.layers) == 2
    np.testing.assert_array_equal(layer.data, expected(model(), choice)[0])


def test_a_stack_whose_pixels_were_edited_in_place_is_begun_anew(viewer, stepping, steps, failures):
    choice, said = volume(viewer), []
    intensity = measured(choice)
    half_a_stack(stepping, steps, choice, model())
    choice.layers[0].data[...] = choice.layers[0].data[:, ::-1].copy()
    assert measured(choice) == intensity  # which would not tell
    stepping.said.connect(said.append)
    stepping.segment_stack(model(), choice, intensity, COLOURS)
    steps.until_done(1)
    assert not result_of(viewer).data[1:].any()
    steps.finish()
    assert said[0] == "cells is begun anew: the image changed since it was cancelled" and not failures
    np.testing.assert_array_equal(result_of(viewer).data, expected(model(), choice)[0])


def test_what_is_cancelled_before_its_first_tile_loses_nothing(viewer, stepping, steps):
    choice, other = volume(viewer), model()
    next(other.network.parameters()).data += 0.1
    half_a_stack(stepping, steps, choice, model())
    for trained in (other, model()):
        stepping.segment_stack(trained, choice, measured(choice), COLOURS)
        stepping.cancel()
        steps.finish()
        assert stepping.left(choice) == "2 of 6 slices are there" and result_of(viewer).data[:2].any()


def test_what_is_cancelled_at_the_last_tile_is_done(viewer, stepping, steps):
    choice, said = image_2d(viewer), []
    stepping.segment_stack(model(), choice, measured(choice), COLOURS)
    steps.until_done(1)
    stepping.cancel()
    stepping.said.connect(said.append)
    steps.finish()
    assert said == ["cells is segmented"] and not stepping.left(choice)


def test_cancelled_objects_of_a_volume_do_not_promise_to_go_on(viewer, stepping, steps):
    choice, said = volume(viewer), []
    stepping.segment_stack(model(ndim=3, task="objects"), choice, measured(choice), None)
    steps.step()
    stepping.cancel()
    stepping.said.connect(said.append)
    steps.finish()
    assert said == [
        "segmenting cells was cancelled: a layer has objects of whole volumes only; a file goes on"
    ]


def test_cancelled_objects_that_are_linked_are_begun_anew(viewer, stepping, steps, failures):
    choice, said = volume(viewer), []
    linked = WantedObjects(link=True)
    half_a_stack(stepping, steps, choice, model(task="objects"), objects=linked)
    assert result_of(viewer).data[:2].any() and not stepping.left(choice)
    stepping.said.connect(said.append)
    stepping.segment_stack(model(task="objects"), choice, measured(choice), None, objects=linked)
    steps.finish()
    assert said == ["cells is segmented"] and not failures
    whole, _ = expected(model(task="objects"), choice, link=True)
    np.testing.assert_array_equal(result_of(viewer).data, whole)


def test_the_layer_tells_which_model_made_it(viewer, segmenting):
    choice, trained = volume(viewer), model()
    segmenting.segment_stack(trained, choice, measured(choice), COLOURS)
    assert result_of(viewer).metadata["provenance"]["model"] == model_hash(trained)
    other = model()
    next(other.network.parameters()).data += 0.1
    segmenting.segment_plane(other, choice, (1,), measured(choice), COLOURS)  # one slice of the layer
    assert result_of(viewer).metadata["provenance"]["model"] == model_hash(trained)


def test_the_bar_in_the_activity_dock_cancels(viewer, stepping, steps):
    choice = volume(viewer)
    stepping.segment_stack(model(), choice, measured(choice), COLOURS)
    steps.step()
    stepping._progress._bar.cancel()
    steps.finish()
    assert not stepping.busy and not result_of(viewer).data[2:].any()


def test_a_second_segmentation_is_refused_while_one_runs(viewer, stepping, steps, failures):
    choice = volume(viewer)
    stepping.segment_stack(model(), choice, measured(choice), COLOURS)
    steps.step()
    stepping.segment_plane(model(), choice, (0,), measured(choice), COLOURS)
    assert "running" in failures[0].sentence and stepping.busy
    steps.finish()
    assert result_of(viewer).data.any((1, 2)).all() and not stepping.busy


def test_layers_may_be_deleted_while_it_runs(viewer, stepping, steps, failures):
    choice = volume(viewer)
    stepping.segment_stack(model(), choice, measured(choice), COLOURS)
    steps.step()
    viewer.layers.remove(choice.layers[0])
    steps.step()
    viewer.layers.remove(result_of(viewer))
    steps.finish()
    assert not failures and not stepping.busy and not viewer.layers


def test_results_of_the_same_kind_share_a_layer(viewer, segmenting):
    choice = volume(viewer)
    segmenting.segment_plane(model(), choice, (0,), measured(choice), COLOURS)
    first = result_of(viewer)
    segmenting.segment_plane(model(), choice, (1,), measured(choice), COLOURS)
    segmenting.segment_stack(model(), replace(choice), measured(choice), COLOURS)
    assert result_of(viewer) is first
    segmenting.segment_stack(model(task="objects"), choice, measured(choice), COLOURS)
    assert [layer.name for layer in viewer.layers].count("cells segmentation [1]") == 1


def test_a_new_result_hides_the_others_of_its_image(viewer, segmenting):
    choice = volume(viewer)
    for task in ("classes", "objects", "classes"):
        segmenting.segment_stack(model(task=task), choice, measured(choice), COLOURS)
    visible = [layer.name for layer in viewer.layers if "segmentation" in layer.name and layer.visible]
    assert visible == ["cells segmentation"]


def test_a_renamed_result_is_kept(viewer, segmenting):
    choice = volume(viewer)
    segmenting.segment_stack(model(), choice, measured(choice), COLOURS)
    kept = result_of(viewer)
    kept.name, before = "first try", kept.data
    segmenting.segment_stack(model(), choice, measured(choice), COLOURS)
    assert kept.data is before and result_of(viewer) is not kept


def test_a_deleted_result_is_made_anew(viewer, segmenting):
    choice = volume(viewer)
    segmenting.segment_stack(model(), choice, measured(choice), COLOURS)
    viewer.layers.remove(result_of(viewer))
    segmenting.segment_plane(model(), choice, (1,), measured(choice), COLOURS)
    assert result_of(viewer).data[1].any()


def test_the_brush_stays_where_it_was(viewer, segmenting):
    choice = volume(viewer)
    annotation = viewer.add_labels(np.zeros((6, 40, 44), np.uint8), name="annotation")
    annotation.mode = "paint"
    segmenting.segment_stack(model(), choice, measured(choice), COLOURS)
    assert viewer.layers.selection.active is annotation and annotation.mode == "paint"
    assert list(viewer.layers).index(result_of(viewer)) == 1


def test_what_does_not_fit_is_said_and_nothing_is_added(viewer, segmenting, failures, tmp_path):
    choice, flat = volume(viewer), image_2d(viewer)
    segmenting.segment_stack(model(channels=2), choice, measured(choice), COLOURS)
    segmenting.segment_stack(model(ndim=3), flat, measured(flat), COLOURS)
    segmenting.segment_stack(model(), choice, measured(choice), COLOURS, path=tmp_path / "labels.png")
    segmenting.segment_plane(model(), choice, (0,), measured(choice), COLOURS, device="abacus")
    words = ["cells has 1 channels", "no Z axis", "suffix", "abacus"]
    assert [word for word, each in zip(words, failures, strict=True) if word not in each.sentence] == []
    assert not segmenting.busy


def test_a_file_is_replaced_when_the_result_is_whole(viewer, segmenting, failures, tmp_path):
    path = tmp_path / "old.tif"
    path.write_bytes(b"old")
    choice = volume(viewer)
    segmenting.segment_stack(model(), choice, measured(choice), COLOURS, path=path)
    assert not failures and open_image(path).spatial_shape == (6, 40, 44)


def test_the_image_itself_is_never_replaced(viewer, segmenting, failures, tmp_path):
    path = tmp_path / "image.tif"
    path.write_bytes(b"mine")
    choice = volume(viewer)
    choice.layers[0]._set_source(Source(path=str(path)))
    segmenting.segment_stack(model(), choice, measured(choice), COLOURS, path=path)
    assert [each.sentence for each in failures] == ["image.tif is the image itself: choose another name"]
    assert path.read_bytes() == b"mine"


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("data/image.zarr", "the image itself"),
        ("data/image.zarr/labels/new.zarr", "inside the image image.zarr"),
        ("data.zarr", "a folder that holds the image"),
    ],
)
def test_a_result_never_replaces_its_image_nor_goes_into_it(
    viewer, segmenting, failures, tmp_path, name, why
):
    (tmp_path / "data.zarr" / "image.zarr" / "labels").mkdir(parents=True)
    (tmp_path / "data").symlink_to(tmp_path / "data.zarr")
    choice = volume(viewer)
    choice.layers[0]._set_source(Source(path=str(tmp_path / "data.zarr" / "image.zarr")))
    segmenting.segment_stack(model(), choice, measured(choice), COLOURS, path=tmp_path / name)
    assert [why in each.sentence for each in failures] == [True]
    assert [layer.name for layer in viewer.layers] == ["cells"]


def test_an_image_that_cannot_be_read_ends_it_with_a_sentence(viewer, segmenting, failures, tmp_path):
    class Broken:
        shape, dtype, ndim = (6, 40, 44), np.dtype(np.float32), 3

        def __getitem__(self, region):
            if isinstance(region[0], slice) and region[0].start == 3:
                raise OSError("the disk has gone")
            return np.zeros(self.shape, self.dtype)[region]

    layer = viewer.add_image(Broken(), name="cells", contrast_limits=(0, 1))
    choice, changes = ImageChoice((layer,), "ZYX"), []
    segmenting.changed.connect(lambda: changes.append(segmenting.busy))
    intensity = image_intensity(open_layers(volume(viewer)))
    segmenting.segment_stack(model(), choice, intensity, COLOURS, path=tmp_path / "labels.tif")
    assert [each.sentence for each in failures] == ["the disk has gone"]
    assert changes == [True, False] and not (tmp_path / "labels.tif").exists()


def test_nothing_that_a_dock_imports_needs_torch_or_qt():
    rooms = "overlays", "segmenting", "weighing", "progress", "threads"
    code = "; ".join(f"import napari_unet.session.{room}" for room in rooms)
    code += "; import sys; print([name for name in ('torch', 'qtpy', 'superqt') if name in sys.modules])"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"
