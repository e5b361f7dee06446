"""The driver does what a hand does, in napari without our dock."""

import numpy as np
from qtpy.QtWidgets import QFileDialog
from user import User


def test_a_stroke_lands_on_the_pixels_it_was_drawn_through(user: User):
    scale, translate = (3.0, 0.5, 0.25), (0.0, 10.0, -4.0)
    layer = user.viewer.add_labels(np.zeros((4, 60, 80), np.uint8), scale=scale, translate=translate)
    layer.mode, layer.brush_size, layer.selected_label = "paint", 1, 3
    user.pump(0.2)

    user.stroke(layer, (20, 10), (20, 50))

    z, y, x = np.nonzero(layer.data)
    assert set(z) == {round(user.viewer.dims.point[0] / 3)}
    assert set(y) == {20}
    assert (x.min(), x.max()) == (10, 50)


def test_keys_reach_the_layer_under_the_mouse(user: User):
    layer = user.viewer.add_labels(np.zeros((60, 80), np.uint8))
    layer.mode = "paint"
    user.stroke(layer, (20, 10), (20, 50))
    assert layer.data.any()

    user.key("ctrl+z")

    assert not layer.data.any()


def test_menus_open_entry_by_entry(user: User):
    user.menu("File", "Open Sample", "napari-unet", "Nuclei stack")

    assert (
        user.wait("the sample opens", lambda: [layer.name for layer in user.viewer.layers])[0]
        == "nuclei stack"
    )


def test_a_file_dialog_is_answered_with_a_path(user: User, tmp_path):
    with user.answering(user.file_name(tmp_path / "model")):
        chosen, _ = QFileDialog.getSaveFileName(user.window)

    assert chosen == str(tmp_path / "model")


def test_a_photograph_shows_the_window(user: User):
    path = user.photograph("An empty window")

    assert path.name == "01-an-empty-window.png"
    assert path.stat().st_size > 10_000
