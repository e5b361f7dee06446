import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from napari.components import ViewerModel
from napari.layers import Image, Labels

from napari_unet.core.targets import OBJECT_CLASSES, Example, TargetOptions
from napari_unet.session.images import ImageChoice
from napari_unet.session.jobs import run_now
from napari_unet.session.overlays import Overlay, ScoreOverlay, WeightMap
from napari_unet.session.weighing import Wish

TURN = np.array([[1, 0, 0], [0, 0.8, -0.6], [0, 0.6, 0.8]])  # within the plane
PLACES = {
    "plain": {},
    "anisotropic": {"scale": (3, 0.5, 0.5), "translate": (10, -4, 7), "units": ("um", "um", "um")},
    "turned": {"scale": (3, 1, 2), "rotate": TURN, "shear": [0, 0, 0.3], "translate": (1, 2, 3)},
    "affine": {"affine": np.array([[2, 0, 0, 5], [0, 0, 1, 1], [0, -1, 0.5, 2], [0, 0, 0, 1.0]])},
}


@pytest.fixture
def viewer():
    return ViewerModel()


def stack(viewer, shape=(5, 20, 30), **where):
    layer = viewer.add_image(np.zeros(shape, np.uint8), name="cells", **where)
    return ImageChoice((layer,), {2: "YX", 3: "ZYX", 4: "CZYX", 5: "TCZYX"}[len(shape)])


def refreshes(layer):
    """Count how often a layer is drawn anew."""
    seen = []
    layer.events.set_data.connect(lambda: seen.append(1))
    return seen


@pytest.mark.parametrize("where", PLACES.values(), ids=PLACES)
def test_an_overlay_lies_on_its_image(viewer, where):
    choice = stack(viewer, **where)
    image, overlay = choice.layers[0], Overlay(viewer, choice, "prediction", np.uint8)
    np.testing.assert_allclose(overlay.layer.extent.world, image.extent.world)
    np.testing.assert_allclose(overlay.layer.data_to_world((2, 3, 4)), image.data_to_world((2, 3, 4)))
    assert overlay.layer.units == image.units


def test_what_is_written_is_in_the_layer_and_on_its_plane(viewer):
    overlay = Overlay(viewer, stack(viewer), "prediction", np.uint8)
    overlay.write((slice(2, 3), slice(4, 6), slice(10, 13)), np.full((2, 3), 7, np.uint8))
    assert overlay.layer.data[2, 4:6, 10:13].min() == 7 and (overlay.layer.data != 0).sum() == 6
    assert overlay.plane((2,))[5, 12] == 7


def test_only_what_is_in_sight_is_drawn_anew(viewer):
    overlay = Overlay(viewer, stack(viewer, scale=(3, 1, 1)), "prediction", np.uint8)
    viewer.dims.set_point(0, 6)  # plane 2
    seen = refreshes(overlay.layer)
    overlay.write((slice(3, 4), slice(0, 5), slice(0, 5)), np.ones((1, 5, 5), np.uint8))
    assert not seen
    overlay.write((slice(2, 3), slice(0, 5), slice(0, 5)), np.ones((1, 5, 5), np.uint8))
    assert seen
    assert overlay.layer._slice.image.raw[:5, :5].all()


def test_a_turned_viewer_shows_what_meets_its_slice(viewer):
    overlay = Overlay(viewer, stack(viewer), "prediction", np.uint8)
    viewer.dims.order = (1, 0, 2)  # the slider is y now
    viewer.dims.set_point(1, 8)
    seen = refreshes(overlay.layer)
    overlay.write((slice(2, 3), slice(0, 8), slice(0, 5)), np.ones((1, 8, 5), np.uint8))
    assert not seen
    overlay.write((slice(2, 3), slice(8, 9), slice(0, 5)), np.ones((1, 1, 5), np.uint8))
    assert seen


def test_every_channel_of_the_image_has_the_overlay(viewer):
    choice = stack(viewer, (3, 4, 20, 30))
    overlay = Overlay(viewer, choice, "prediction", np.uint8)
    assert overlay.layer.data.shape == (1, 4, 20, 30)
    overlay.write((slice(0, 1), slice(2, 3), slice(0, 20), slice(0, 30)), np.ones((20, 30), np.uint8))
    for channel in range(3):
        viewer.dims.set_point((0, 1), (channel, 2))
        assert overlay.layer._slice.image.raw.shape == (20, 30) and overlay.layer._slice.image.raw.all()


def test_a_new_overlay_leaves_selection_and_brush_and_lies_between_image_and_annotation(viewer):
    choice = stack(viewer)
    annotation = viewer.add_labels(np.zeros((5, 20, 30), np.uint8), name="annotation")
    annotation.mode = "paint"
    overlay = Overlay(viewer, choice, "prediction", np.uint8)
    assert list(viewer.layers) == [choice.layers[0], overlay.layer, annotation]
    assert viewer.layers.selection.active is annotation and set(viewer.layers.selection) == {annotation}
    assert annotation.mode == "paint"


def test_several_selected_layers_stay_selected(viewer):
    choice = stack(viewer)
    viewer.add_points(np.zeros((1, 3)))
    viewer.layers.selection.update(viewer.layers)
    before = set(viewer.layers)
    Overlay(viewer, choice, "prediction", np.uint8)
    assert set(viewer.layers.selection) == before


def test_an_overlay_is_not_edited_even_with_another_array(viewer):
    overlay = Overlay(viewer, stack(viewer), "prediction", np.uint8)
    assert not overlay.layer.editable
    overlay.write((slice(0, 1), slice(0, 20), slice(0, 30)), np.ones((20, 30), np.uint8))
    before = overlay.layer.data
    overlay.clear()
    assert not overlay.layer.editable and not overlay.layer.data.any() and before.any()


def test_a_deleted_overlay_is_written_without_complaint(viewer):
    overlay = Overlay(viewer, stack(viewer), "prediction", np.uint8)
    viewer.layers.clear()
    overlay.write((slice(0, 1), slice(0, 1), slice(0, 1)), np.ones((1, 1), np.uint8))
    assert not overlay.is_shown and overlay.plane((0,))[0, 0] == 1


def test_a_renamed_and_hidden_overlay_is_shown_when_it_is_made_visible(viewer):
    overlay = Overlay(viewer, stack(viewer), "prediction", np.uint8)
    overlay.layer.name, overlay.layer.visible = "mine", False
    viewer.dims.set_point(0, 1)
    overlay.write((slice(1, 2), slice(0, 20), slice(0, 30)), np.ones((20, 30), np.uint8))
    overlay.layer.visible = True
    assert overlay.layer._slice.image.raw.all()


def test_in_3d_a_volume_is_not_loaded_for_every_tile(viewer):
    overlay = Overlay(viewer, stack(viewer), "prediction", np.uint8)
    viewer.dims.ndisplay = 3
    overlay.refresh()
    overlay._rests_until = np.inf
    seen = refreshes(overlay.layer)
    overlay.write((slice(0, 1), slice(0, 1), slice(0, 1)), np.ones((1, 1), np.uint8))
    assert not seen


@pytest.mark.parametrize("where", PLACES.values(), ids=PLACES)
def test_probabilities_lie_on_the_image_with_an_axis_for_the_classes(viewer, where):
    choice = stack(viewer, **where)
    image, overlay = choice.layers[0], ScoreOverlay(viewer, choice, "probabilities", 4)
    assert overlay.layer.data.shape == (4, 5, 20, 30) and not overlay.layer.rgb
    np.testing.assert_allclose(overlay.layer.extent.world[:, 1:], image.extent.world, atol=1e-9)
    np.testing.assert_allclose(
        overlay.layer.data_to_world((3, 2, 3, 4)), (3, *image.data_to_world((2, 3, 4))), atol=1e-9
    )


def objects_wish(choice, index, w0=10.0):
    annotation = np.ones(choice.annotation_shape[-2:], np.uint16)
    annotation[5:15, 2:10], annotation[5:15, 12:20], annotation[:, -1] = 2, 3, 0
    image = np.zeros((1, *annotation.shape), np.float32)
    example = Example(image, annotation, (1.0, 1.0), "cells", (*index, 0, 0))
    return Wish(choice, index, (example,), TargetOptions("objects", OBJECT_CLASSES, w0, 5.0))


@pytest.mark.parametrize("where", PLACES.values(), ids=PLACES)
def test_the_weight_map_lies_on_its_plane(viewer, where):
    choice = stack(viewer, **where)
    weight_map = WeightMap(viewer, run_now, pytest.fail)
    weight_map.update(objects_wish(choice, (3,)))
    layer, image = weight_map.layer, choice.layers[0]
    assert layer.name == "weight map" and layer.data.shape == (1, 20, 30)
    np.testing.assert_allclose(layer.data_to_world((0, 6, 7)), image.data_to_world((3, 6, 7)), atol=1e-9)
    assert layer.data[0, 10, 10] > layer.data[0, 0, 0] == pytest.approx(1, abs=0.1)
    assert layer.data[0, 0, -1] == 0
    assert layer.contrast_limits == [0, pytest.approx(max(11, layer.data.max()))]


def test_the_weight_map_shows_on_its_plane_only(viewer):
    choice = stack(viewer, (2, 3, 4, 20, 30), scale=(1, 1, 2, 1, 1))
    weight_map = WeightMap(viewer, run_now, pytest.fail)
    weight_map.update(objects_wish(choice, (1, 0, 2)))
    shown = {}
    for t, c, z in np.ndindex(2, 3, 4):
        viewer.dims.set_point((0, 1, 2), (t, c, 2 * z))
        shown[t, c, z] = bool(np.any(weight_map.layer._slice.image.raw))
    assert {at for at, seen in shown.items() if seen} == {(1, c, 2) for c in range(3)}


def test_the_weight_map_follows_plane_and_options_in_one_layer(viewer):
    choice = stack(viewer)
    weight_map = WeightMap(viewer, run_now, pytest.fail)
    weight_map.update(objects_wish(choice, (3,)))
    first, layer = weight_map.layer.data, weight_map.layer
    weight_map.update(objects_wish(choice, (1,), w0=50.0))
    assert weight_map.layer is layer and layer.data.max() > first.max()
    assert layer.data_to_world((0, 0, 0)) == choice.layers[0].data_to_world((1, 0, 0))
    assert [each for each in viewer.layers if isinstance(each, Image)] == [choice.layers[0], layer]


def test_another_image_gets_a_weight_map_of_its_own(viewer):
    one, two = stack(viewer), stack(viewer, (40, 50))
    weight_map = WeightMap(viewer, run_now, pytest.fail)
    weight_map.update(objects_wish(one, (3,)))
    weight_map.update(objects_wish(two, ()))
    assert weight_map.layer.data.shape == (40, 50) and len(viewer.layers) == 3


def test_a_weight_map_that_the_user_deleted_stays_away_until_it_is_asked_for_again(viewer):
    choice = stack(viewer)
    weight_map = WeightMap(viewer, run_now, pytest.fail)
    weight_map.update(objects_wish(choice, (3,)))
    viewer.layers.remove(weight_map.layer)
    assert weight_map.is_deleted
    weight_map.update(objects_wish(choice, (1,)))
    assert len(viewer.layers) == 1
    weight_map.remove()
    weight_map.update(objects_wish(choice, (1,)))
    assert weight_map.layer in viewer.layers and not weight_map.is_deleted
    weight_map.remove()
    assert len(viewer.layers) == 1


def test_weights_of_a_deleted_image_are_dropped(viewer):
    choice = stack(viewer)
    weight_map = WeightMap(viewer, run_now, pytest.fail)
    viewer.layers.clear()
    weight_map.update(objects_wish(choice, (3,)))
    assert not viewer.layers


@settings(max_examples=25, deadline=None)
@given(
    shape=st.lists(st.integers(1, 4), min_size=3, max_size=5),
    scale=st.lists(st.floats(0.1, 5), min_size=5, max_size=5),
    data=st.data(),
)
def test_any_region_is_drawn_where_it_meets_the_visible_plane(shape, scale, data):
    viewer = ViewerModel()
    choice = stack(viewer, tuple(shape), scale=scale[: len(shape)])
    overlay = Overlay(viewer, choice, "prediction", np.uint8)
    sizes = overlay.layer.data.shape
    starts = [data.draw(st.integers(0, size - 1)) for size in sizes]
    region = tuple(slice(at, at + 1) for at in starts)
    for axis, size in enumerate(shape[:-2]):
        viewer.dims.set_point(axis, data.draw(st.integers(0, size - 1)) * scale[axis])
    before = overlay.layer._slice.image.raw.copy()
    seen = refreshes(overlay.layer)
    overlay.write(region, np.ones((1, 1), np.uint8))
    changed = overlay.layer._slice.image.raw
    assert bool(seen) == bool((changed != before).any())
    assert isinstance(overlay.layer, Labels)
