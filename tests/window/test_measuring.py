"""Objects are measured, clicked on, saved and boxed by mouse in a real window, beside napari's own table."""

import csv
from pathlib import Path

import numpy as np
from qtpy.QtWidgets import QLabel, QTableView
from user import User


def said(user: User) -> str:
    """What the dock says."""
    return str(user.widget("message_words", QLabel).text())


def test_objects_are_measured_clicked_saved_and_boxed(user: User, tmp_path: Path):
    user.open_sample()
    user.open_dock()
    layer = user.viewer.layers[f"{user.image.name} truth"]
    layer.visible = True
    user.viewer.layers.selection.active = layer
    user.wait("the part for measuring", lambda: user.is_offered("measure"))
    user.click("measure_planes")
    user.click("measure")
    user.wait("the features", lambda: len(layer.features))
    n_objects = sum(len(np.unique(plane)) - 1 for plane in layer.data)
    user.wait("the count", lambda: f"{n_objects} objects, each slice by itself" in said(user))

    _, table_widget = user.viewer.window.add_plugin_dock_widget("napari", "Features table widget")
    user.pump(0.5)
    user.see_all()
    table = table_widget.findChild(QTableView)
    shown = layer.data[user.plane]
    number = int(np.bincount(shown.ravel())[1:].argmax()) + 1
    rows, columns = np.nonzero(shown == number)
    nearest = np.hypot(rows - rows.mean(), columns - columns.mean()).argmin()
    user.click(user.on_canvas(layer, (rows[nearest], columns[nearest])))
    user.wait("its row", lambda: said(user).lower().startswith(f"object {number}: area"))
    assert layer.selected_label == number
    selected = {index.row() for index in table.selectionModel().selectedRows()}
    assert selected == {number}, "napari's table follows the click"
    user.photograph("a row of the table")

    user.click("boxes")
    name = f"{layer.name} boxes"
    user.wait("the boxes", lambda: name in user.viewer.layers)
    assert user.viewer.layers[name].nshapes == n_objects
    user.photograph("boxes")

    path = tmp_path / "nuclei.csv"
    with user.answering(user.file_name(path)):
        user.click("save_table")
    user.wait("the file", path.exists)
    with path.open() as file:
        assert len(list(csv.DictReader(file))) == n_objects
    user.wait("that is said", lambda: "nuclei.csv" in said(user))
    user.photograph("saved")
