"""The weight map follows the plane, the strokes and the settings, and is what the training uses."""

from dataclasses import replace

import numpy as np
import pytest

from napari_unet.core.targets import OBJECT_CLASSES, TargetOptions, make_target
from napari_unet.session.images import ImageChoice


def shown(session):
    """Return the weights (Y, X) that are shown, None where there are none."""
    found = [layer for layer in session.viewer.layers if layer.name == "weight map"]
    return np.asarray(found[0].data).reshape(found[0].data.shape[-2:]) if found else None


@pytest.fixture
def cells(viewer, blobs, new_session):
    """A stack with two objects that nearly touch, on its middle plane."""
    viewer.add_image(blobs(3, 64, 64), name="cells")
    session = new_session(viewer)
    session.set_task("objects")
    session.paint(2, (10, 30), (10, 29))
    session.paint(3, (10, 30), (32, 50))
    session.toggle_complete()
    session.tick()
    return session


def test_it_is_what_the_training_uses(cells):
    cells.show_weight_map(True)
    assert cells.state.weight_map
    (example,) = cells.teaching.examples()
    target = make_target(example, TargetOptions("objects", OBJECT_CLASSES, 10.0, 5.0))
    assert np.allclose(shown(cells), 1 + target.separation)
    assert shown(cells)[20, 30] > 5 > shown(cells)[60, 60]


def test_it_follows_w0_and_sigma(cells):
    cells.show_weight_map(True)
    before = shown(cells)
    cells.set_settings(replace(cells.settings, w0=20.0))
    cells.tick()
    assert np.isclose(shown(cells)[20, 30] - 1, 2 * (before[20, 30] - 1))
    cells.set_settings(replace(cells.settings, w0=20.0, sigma=9.0))
    cells.tick()
    assert shown(cells)[35, 30] > 2 * before[35, 30]


def test_it_follows_strokes_and_the_plane(cells):
    cells.show_weight_map(True)
    before = shown(cells)
    cells.paint(4, (40, 60), (10, 50))
    cells.tick()
    assert shown(cells)[35, 30] > before[35, 30]
    cells.viewer.dims.set_point(0, 2)
    cells.tick()
    assert not shown(cells).any()  # nothing is annotated there
    cells.viewer.dims.set_point(0, 1)
    cells.tick()
    assert shown(cells)[20, 30] > 5


def test_the_button_follows_a_deleted_layer(cells):
    cells.show_weight_map(True)
    cells.viewer.layers.remove("weight map")
    cells.tick()
    assert not cells.state.weight_map and shown(cells) is None
    cells.show_weight_map(True)
    assert shown(cells) is not None
    cells.show_weight_map(False)
    assert shown(cells) is None and not cells.failures


def test_it_is_no_image_to_train_on(cells):
    cells.show_weight_map(True)
    cells.viewer.layers.remove("cells")
    cells.tick()
    assert cells.state.choice is None and not cells.failures


def test_images_that_do_not_go_together_are_told_once_and_it_is_off(cells, blobs):
    colours = np.stack([blobs(64, 64) / 300] * 3, -1)
    rgb = cells.viewer.add_image(colours, name="colours", rgb=True)
    cells.choose(ImageChoice((rgb,), "YXC"))
    cells.paint(2, (10, 30), (10, 29), ())
    cells.tick()
    cells.show_weight_map(True)
    for _ in range(3):
        cells.tick()
    assert len(cells.failures) == 1 and "channels" in cells.failures[0]
    assert not cells.state.weight_map


def test_it_waits_for_something_painted(viewer, blobs, new_session):
    viewer.add_image(blobs(64, 64), name="blobs")
    session = new_session(viewer)
    session.annotate()
    session.show_weight_map(True)
    session.tick()
    assert session.state.weight_map and not session.failures
    session.paint_both()
    assert shown(session).any()


def test_it_shows_slices_of_what_a_three_dimensional_network_learns(viewer, blobs, new_session):
    viewer.add_image(blobs(6, 48, 48), name="volume", scale=(2, 1, 1))
    session = new_session(viewer)
    session.set_task("objects")
    session.set_settings(replace(session.settings, ndim=3))
    session.paint(1, (0, 48), (0, 48), (2,))
    session.paint(2, (10, 30), (10, 22), (2,))
    session.paint(3, (10, 30), (25, 40), (2,))
    viewer.dims.set_point(0, 4)
    session.tick()
    session.show_weight_map(True)
    assert shown(session)[20, 23] > 5 and not session.failures


def test_an_image_that_cannot_be_read_is_told_once_and_it_is_off(viewer, blobs, new_session):
    image = viewer.add_image(blobs(64, 64), name="blobs")
    session = new_session(viewer)
    session.paint_both()

    class Gone:
        shape, dtype, ndim = (64, 64), np.dtype(np.float32), 2

        def __getitem__(self, key):
            raise OSError("image.tif is gone: put it back")

    image._data = Gone()
    session.show_weight_map(True)
    for _ in range(3):
        session.tick()
    assert session.failures == ["image.tif is gone: put it back"] and not session.state.weight_map


def test_images_of_the_same_name_do_not_mix(viewer, blobs, new_session):
    first = viewer.add_image(blobs(64, 64), name="cells")
    session = new_session(viewer)
    session.paint_both()
    first.name = "renamed"
    second = viewer.add_image(blobs(64, 64), name="cells")
    session.choose(ImageChoice((second,), "YX"))
    session.paint(2, (50, 60), (2, 12))
    session.tick()
    session.show_weight_map(True)
    assert set(zip(*np.nonzero(shown(session)), strict=True)) == {
        (row, column) for row in range(50, 60) for column in range(2, 12)
    }
