"""Objects of a layer become its features, a file and boxes; a click says what was measured."""

import csv
from types import SimpleNamespace

import dask.array as da
import numpy as np
import pytest
from napari.layers import Labels, Shapes
from napari.utils.interactions import mouse_move_callbacks, mouse_press_callbacks, mouse_release_callbacks

from napari_unet.core.measuring import measure_objects
from napari_unet.session import boxes
from napari_unet.session.images import labels_axes
from napari_unet.session.measured import by_label


def objects(*shape):
    """Two objects of 10 × 10 and one of 10 × 20 pixels, on every plane."""
    found = np.zeros(shape, np.uint16)
    found[..., 10:20, 10:20], found[..., 10:20, 20:30], found[..., 40:50, 30:50] = 1, 2, 3
    return found


@pytest.fixture
def cells(viewer, session):
    """A selected layer of objects over the image; pixels are half a micrometre wide."""
    scale = {"scale": (0.5, 0.5), "units": ("um", "um")}
    return viewer.add_labels(objects(64, 64), name="cells", **scale)


@pytest.fixture
def stack(viewer, blobs, new_session):
    """Make a session on an image of some axes, and objects over it."""

    def make(shape, axes, **look):
        viewer.add_image(blobs(*shape), name="blobs", axis_labels=tuple(axes.lower()), **look)
        session = new_session(viewer)
        assert session.state.choice.axes == axes
        return session, viewer.add_labels(objects(*shape), name="cells", **look)

    return make


def event(layer, kind, spot, moved=0):
    return SimpleNamespace(
        type=kind,
        pos=np.array((moved, 0)),
        position=layer.data_to_world(spot),
        view_direction=None,
        dims_displayed=[layer.ndim - 2, layer.ndim - 1],
        button=1,
        modifiers=(),
        is_dragging=kind == "mouse_move",
    )


class Shell:
    """What napari hands the callbacks: its event is replaced."""

    def __init__(self, event):
        self.__dict__["__wrapped__"] = event

    def __getattr__(self, name):
        return getattr(self.__dict__["__wrapped__"], name)

    def __setattr__(self, name, value):
        self.__dict__[name] = value


def click(layer, *spot, moved=0):
    mouse_press_callbacks(layer, Shell(event(layer, "mouse_press", spot)))
    if moved:
        mouse_move_callbacks(layer, event(layer, "mouse_move", spot, moved))
    mouse_release_callbacks(layer, event(layer, "mouse_release", spot, moved))


def test_a_layer_gets_a_row_for_each_object_in_its_unit(session, cells, viewer):
    session.measuring.measure()
    features = cells.features
    assert features["index"].tolist() == [0, 1, 2, 3]
    assert features["area"][1:].tolist() == [25, 25, 50]
    assert features["unit"][1:].tolist() == ["µm"] * 3
    values = viewer.layers["blobs"].data
    assert features["intensity_mean"][3] == pytest.approx(values[cells.data == 3].mean(), rel=1e-6)
    assert session.sentences[-1] == "cells: 3 objects, with the intensities of blobs"
    assert session.state.measure.count == "3 objects"
    assert viewer.layers.selection.active is cells
    assert not session.failures


def test_background_has_an_empty_row_that_napari_does_not_show(session, cells):
    session.measuring.measure()
    assert cells._get_properties((0, 0)) == []
    assert "area: 25" in " ".join(cells._get_properties((12, 12)))


def test_the_row_number_is_the_label_wherever_that_takes_little_room():
    rows = by_label(np.array([2, 5]), {"area": np.array([3, 4]), "touches_border": np.array([True, False])})
    assert rows["index"].tolist() == [0, 1, 2, 3, 4, 5]
    assert np.array_equal(rows["area"], [np.nan, np.nan, 3, np.nan, np.nan, 4], equal_nan=True)
    assert rows["touches_border"][2] is True and rows["touches_border"][5] is False
    far = by_label(np.array([2, 10**9]), {"area": np.array([3, 4])})
    assert far["index"].tolist() == [2, 10**9] and far["area"].tolist() == [3, 4]
    assert by_label(np.array([], np.uint16), {"area": np.array([])})["index"].tolist() == [0]


def test_labels_that_are_far_apart_are_found_as_well(session, viewer):
    layer = viewer.add_labels(objects(64, 64).astype(np.uint32) * 10**6, name="far")
    session.measuring.measure()
    assert layer.features["index"].tolist() == [10**6, 2 * 10**6, 3 * 10**6]
    click(layer, 45, 40)
    assert session.sentences[-1].startswith("object 3000000: area 200 pixels, mean intensity ")


def test_a_click_says_what_was_measured(session, cells):
    session.measuring.measure()
    click(cells, 45, 40)
    assert cells.selected_label == 3
    mean = cells.features["intensity_mean"][3]
    words = f"object 3: area 50 µm², mean intensity {mean:.4g}"
    assert session.sentences[-1] == words
    click(cells, 12, 12)
    click(cells, 45, 40)
    click(cells, 45, 40)
    assert session.sentences[-2:] == [words, words]


@pytest.mark.parametrize("how", [{"spot": (0, 0)}, {"spot": (12, 25), "moved": 30}])
def test_background_and_a_drag_say_nothing(session, cells, how):
    session.measuring.measure()
    said, selected = len(session.sentences), cells.selected_label
    click(cells, *how["spot"], moved=how.get("moved", 0))
    assert (len(session.sentences), cells.selected_label) == (said, selected)


def test_a_label_that_is_selected_elsewhere_says_its_row(session, cells):
    session.measuring.measure()
    cells.selected_label = 2  # as napari's features table does
    assert session.sentences[-1].startswith("object 2: area 25 µm²")
    cells.selected_label = 9
    assert session.sentences[-1] == "object 9 was not measured here: it is not in the table"


def test_channels_bear_the_names_of_their_layers(viewer, blobs, new_session):
    images = [viewer.add_image(blobs(64, 64, seed=i), name=name) for i, name in enumerate(("DAPI", "GFP"))]
    session = new_session(viewer)
    session.choose(type(session.state.choice)(tuple(images), "YX", (1,)))
    layer = viewer.add_labels(objects(64, 64), name="cells")
    session.measuring.measure()
    assert {"intensity_mean_DAPI", "intensity_max_GFP"} <= set(layer.features)
    click(layer, 12, 12)
    dapi, gfp = (layer.features[f"intensity_mean_{name}"][1] for name in ("DAPI", "GFP"))
    assert (
        session.sentences[-1] == f"object 1: area 100 pixels, mean intensity DAPI {dapi:.4g}, GFP {gfp:.4g}"
    )


def test_colours_and_a_channel_axis_are_measured_too(viewer, new_session):
    viewer.add_image(np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8), name="rgb", rgb=True)
    session = new_session(viewer)
    layer = viewer.add_labels(objects(64, 64), name="cells")
    session.measuring.measure()
    assert {"intensity_mean_red", "intensity_mean_blue"} <= set(layer.features)


def test_without_an_image_of_its_shape_shapes_are_measured(session, viewer):
    layer = viewer.add_labels(objects(60, 60), name="others")
    session.measuring.measure()
    assert session.sentences[-1] == "others: 3 objects, without intensities: no image of its shape is chosen"
    assert layer.features["area"][3] == 200 and "intensity_mean" not in layer.features


def test_lazy_layers_are_measured_and_clicked_alike(session, viewer):
    data = da.from_array(objects(64, 64), chunks=(16, 16))
    layer = viewer.add_labels([data, data[::2, ::2]], multiscale=True, name="lazy")
    session.measuring.measure()
    assert layer.features["area"][1:].tolist() == [100, 100, 200]
    click(layer, 45, 40)
    assert session.sentences[-1].startswith("object 3: area 200 pixels")


def test_the_rows_of_a_movie_follow_the_time_point(stack, viewer):
    session, layer = stack((3, 64, 64), "TYX")
    layer.data[1][layer.data[1] == 3] = 0
    layer.data[2, 10:20, 10:15] = 0
    viewer.dims.set_current_step(0, 0)
    session.measuring.measure()
    assert session.sentences[-1].startswith("cells: 8 objects at 3 time points, with")
    assert layer.features["area"][1:].tolist() == [100, 100, 200]
    viewer.dims.set_current_step(0, 2)
    session.tick()
    assert layer.features["area"][1:].tolist() == [50, 100, 200]
    viewer.dims.set_current_step(0, 1)
    session.tick()
    assert layer.features["area"][1:].tolist() == [100, 100]
    assert layer.features["index"].is_unique
    layer.selected_label = 3
    assert session.sentences[-1] == "object 3 was not measured here: it is not in the table"


def test_a_stack_is_measured_in_3d_or_slice_by_slice(stack, viewer):
    session, layer = stack((4, 64, 64), "ZYX", scale=(2, 0.5, 0.5), units=("um",) * 3)
    layer.data[3, :30] = 0
    viewer.dims.set_current_step(0, 3)
    assert session.state.measure.has_planes
    session.measuring.measure()
    assert layer.features["volume"][1:].tolist() == [150, 150, 400]
    click(layer, 3, 45, 40)
    assert session.sentences[-1].startswith("object 3: volume 400 µm³")
    session.measuring.measure(planes=True)
    assert session.sentences[-1].startswith("cells: 10 objects, each slice by itself, with")
    assert layer.features["area"][3] == 50 and np.isnan(layer.features["area"][1:3]).all()
    viewer.dims.set_current_step(0, 0)
    session.tick()
    assert layer.features["area"][1:].tolist() == [25, 25, 50]


def test_flat_objects_are_said_to_have_areas(stack):
    session, layer = stack((3, 64, 64), "ZYX")
    layer.data[1:] = 0
    session.measuring.measure()
    assert session.sentences[-1].endswith("all in one slice each: tick Slice by slice for their areas")


def test_the_table_is_saved_whole(stack, tmp_path):
    session, _ = stack((3, 64, 64), "TYX")
    session.measuring.measure()
    path = tmp_path / "cells.csv"
    path.write_text("of before")  # the dialog has asked
    session.measuring.save(path)
    rows = list(csv.DictReader(path.read_text().splitlines()))
    places = [(int(row["label"]), int(row["timepoint"])) for row in rows]
    assert places[:4] == [(1, 0), (2, 0), (3, 0), (1, 1)]
    assert len(rows) == 9 and rows[2]["area"] == "200.0"
    assert session.sentences[-1] == "the table of cells is saved as cells.csv"
    session.measuring.save(tmp_path / "cells.xls")
    assert session.failures[-1].endswith("cells.xls is no name of a table: let it end in .csv or .tsv")


def test_nothing_is_saved_or_drawn_before_it_is_measured(session, cells, tmp_path):
    session.measuring.save(tmp_path / "cells.csv")
    session.measuring.show_boxes()
    assert session.failures == ["nothing is measured: press Measure first"] * 2
    assert not list(tmp_path.glob("*.csv"))


def test_boxes_lie_around_the_objects_in_their_colours(session, cells, viewer):
    cells.translate = (3, 4)
    session.measuring.measure()
    session.measuring.show_boxes()
    shapes = viewer.layers["cells boxes"]
    assert shapes.data[2].tolist() == [[39.5, 29.5], [39.5, 49.5], [49.5, 49.5], [49.5, 29.5]]
    assert shapes.features.to_dict("list") == {"label": [1, 2, 3], "area": [25, 25, 50]}
    colours = [cells.get_color(label).ravel() for label in (1, 2, 3)]
    assert np.allclose(shapes.edge_color, colours)
    assert (shapes.scale, shapes.translate) == (pytest.approx([0.5, 0.5]), pytest.approx([3, 4]))
    assert shapes.units == cells.units
    assert viewer.layers.selection.active is cells
    assert viewer.layers.index(shapes) == viewer.layers.index(cells) + 1
    session.measuring.show_boxes()
    assert sum(isinstance(layer, Shapes) for layer in viewer.layers) == 1


def test_boxes_of_a_stack_are_on_each_of_its_planes(stack, viewer):
    session, layer = stack((2, 4, 64, 64), "TZYX")
    layer.data[:, 3, :30] = 0
    session.measuring.measure()
    session.measuring.show_boxes()
    shapes = viewer.layers["cells boxes"]
    places = [
        tuple(corners[0][:2])
        for corners, label in zip(shapes.data, shapes.features["label"], strict=True)
        if label == 1
    ]
    assert places == [(t, z) for t in range(2) for z in range(3)]
    assert len(shapes.data) == 2 * (3 + 3 + 4)


def test_too_many_boxes_are_those_of_the_slice_that_is_shown(stack, viewer, monkeypatch):
    monkeypatch.setattr(boxes, "MOST", 5)
    session, _ = stack((4, 64, 64), "ZYX")
    viewer.dims.set_current_step(0, 2)
    session.measuring.measure()
    session.measuring.show_boxes()
    shapes = viewer.layers["cells boxes"]
    assert {corners[0][0] for corners in shapes.data} == {2} and len(shapes.data) == 3
    assert session.sentences[-1] == "cells boxes: 3 boxes on this slice only"
    monkeypatch.setattr(boxes, "MOST", 2)
    session.measuring.show_boxes()
    assert session.failures[-1].startswith("there are 3 objects in this slice and napari draws 2 boxes")


def test_boxes_of_objects_that_were_measured_slice_by_slice(stack, viewer):
    session, layer = stack((3, 64, 64), "ZYX")
    layer.data[0] = 0
    session.measuring.measure(planes=True)
    session.measuring.show_boxes()
    shapes = viewer.layers["cells boxes"]
    assert [corners[0][0] for corners in shapes.data] == [1, 1, 1, 2, 2, 2]


@pytest.fixture
def slow(viewer, by_hand, blobs, new_session):
    """A session whose measurements go on as the test says, and a layer of objects."""
    by_hand.names = ("measure",)
    viewer.add_image(blobs(64, 64), name="blobs")
    return new_session(viewer, by_hand), viewer.add_labels(objects(64, 64), name="cells")


def test_measuring_is_cancelled(slow, by_hand):
    session, layer = slow
    session.measuring.measure()
    assert session.state.measure.busy and session.state.measure.why_not == "it is measuring already"
    by_hand.step()
    session.measuring.cancel()
    assert session.state.measure.ending
    by_hand.finish()
    assert session.sentences[-1] == "measuring cells was cancelled"
    assert not session.state.measure.busy and not len(layer.features)


def test_a_second_measurement_waits_for_the_first(slow, by_hand):
    session, layer = slow
    session.measuring.measure()
    session.measuring.measure()
    assert session.failures == ["it is measuring already"]
    by_hand.finish()
    assert len(layer.features) == 4


def paint(layer):
    layer.paint((30, 30), 5)


def paint_and_undo(layer):
    """Leave something to undo, and something to do again."""
    layer.paint((35, 35), 5)
    layer.paint((35, 40), 6)
    layer.undo()


def undo(layer):
    layer.undo()


def redo(layer):
    layer.redo()


def replace_data(layer):
    layer.data = layer.data.copy()


@pytest.mark.parametrize("change", [paint, undo, redo, replace_data])
def test_what_changes_meanwhile_is_not_measured(slow, by_hand, change):
    session, layer = slow
    paint_and_undo(layer)
    session.measuring.measure()
    by_hand.step()
    change(layer)
    by_hand.finish()
    assert session.failures == ["cells changed while it was measured: measure it again"]
    assert not len(layer.features) and not session.state.measure.count


@pytest.mark.parametrize("change", [paint, undo, redo, replace_data])
def test_what_changes_afterwards_loses_its_features(session, cells, change):
    paint_and_undo(cells)
    session.measuring.measure()
    change(cells)
    session.tick()
    assert not len(cells.features) and not session.state.measure.count
    cells.selected_label = 3
    assert not session.sentences[-1].startswith("object")


def test_a_layer_that_is_deleted_meanwhile_or_afterwards(slow, by_hand, viewer):
    session, layer = slow
    session.measuring.measure()
    viewer.layers.remove(layer)
    by_hand.finish()
    assert session.failures == ["cells was deleted while it was measured: measure another layer"]
    other = viewer.add_labels(objects(64, 64), name="others")
    session.measuring.measure()
    by_hand.finish()
    viewer.layers.remove(other)
    session.tick()
    assert session.state.measure.layer == ""


def test_an_empty_layer_and_none_at_all_are_refused(session, viewer):
    session.measuring.measure()
    viewer.add_labels(np.zeros((64, 64), np.uint8), name="empty")
    session.measuring.measure()
    assert session.failures == [
        "there are no objects to measure: segment, or select a Labels layer of objects",
        "empty holds no object, all its values are 0: measure another layer",
    ]
    assert not session.state.measure.count and not session.state.measure.busy


def test_more_axes_than_an_image_has_are_refused(session, viewer):
    viewer.add_labels(np.ones((2, 2, 2, 8, 8), np.uint8), name="many")
    session.measuring.measure()
    assert session.failures == ["many has 5 axes, more than time, z, y and x: select a part of it"]


def test_negative_labels_are_refused_in_a_sentence(session, viewer):
    viewer.add_labels(np.full((64, 64), -1, np.int32), name="below")
    session.measuring.measure()
    assert len(session.failures) == 1 and "below" in session.failures[0]


def test_painted_objects_are_measured_where_no_others_are_shown(session, cells, viewer):
    session.measuring.measure()
    session.set_task("objects")
    session.paint(1, (2, 14), (2, 62))
    session.tick()
    assert viewer.layers.selection.active is session.desk.current.layer
    assert session.state.measure.layer == "cells"  # what was measured before
    viewer.layers.remove(cells)
    session.tick()
    assert session.state.measure.layer == "" and session.state.measure.why_not  # background is no object
    session.paint(2, (17, 31), (17, 31))
    session.paint(5, (40, 50), (30, 50))
    session.tick()
    session.measuring.measure()
    features = session.desk.current.layer.features
    assert features["area"].dropna().to_dict() == {2: 14 * 14, 5: 10 * 20}
    assert session.sentences[-1] == "blobs objects: 2 objects, with the intensities of blobs"
    session.desk.current.layer.undo()
    session.tick()
    assert not session.state.measure.count and not session.failures


def test_a_prediction_that_changes_is_refused(session):
    session.set_task("objects")
    session.paint(1, (2, 14), (2, 62))
    session.paint(2, (17, 31), (17, 31))
    session.tick()
    session.train_for()
    layers = session.viewer.layers
    layers.selection.active = layers["blobs prediction"]
    session.measuring.measure()
    assert session.failures == ["the prediction changes while you train: segment this slice first"]
    assert not session.state.measure.count


def test_the_result_of_the_chosen_image_is_measured_without_being_selected(session):
    session.set_task("objects")
    session.paint(1, (2, 14), (2, 62))
    session.paint(2, (17, 31), (17, 31))
    session.tick()
    session.train_for()
    session.segment_slice()
    result = session.viewer.layers["blobs segmentation"]
    assert session.viewer.layers.selection.active is session.desk.current.layer
    assert session.state.measure.layer == result.name
    result.data[...] = objects(64, 64)
    session.measuring.measure()
    assert result.features["area"][1:].tolist() == [100, 100, 200]
    session.segment_slice()
    session.tick()
    assert not session.failures


def test_what_is_segmented_anew_has_to_be_measured_anew(live, by_hand, monkeypatch):
    layer = live.viewer.add_labels(objects(64, 64), name="cells")
    live.measuring.measure()
    monkeypatch.setattr(type(live.segmenting), "at_work", property(lambda _: layer))
    live.tick()
    assert not len(layer.features)
    assert live.state.measure.why_not == "cells is being segmented"


@pytest.mark.parametrize(
    ("shape", "labels", "axes"),
    [
        ((8, 8), None, "YX"),
        ((2, 8, 8), None, "ZYX"),
        ((2, 8, 8), ("time", "y", "x"), "TYX"),
        ((2, 2, 8, 8), None, "TZYX"),
        ((2, 2, 8, 8), ("z", "t", "y", "x"), "ZTYX"),
        ((1, 2, 2, 8, 8), None, ""),
    ],
)
def test_axes_of_labels_without_an_image(shape, labels, axes):
    assert labels_axes(Labels(np.zeros(shape, np.uint8), axis_labels=labels)) == axes


def test_features_are_the_table_of_the_core(session, cells):
    from napari_unet.core import drain
    from napari_unet.session.images import open_objects

    session.measuring.measure()
    table = drain(measure_objects(open_objects(cells, "YX")))
    for name in set(table) - {"label", "timepoint", "unit"}:
        assert np.allclose(cells.features[name][1:].astype(float), table[name].astype(float)), name
