"""A click or a stroke of the mouse changes objects, on the slice that is shown, and Ctrl+Z takes it back."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from napari.utils.interactions import mouse_move_callbacks, mouse_press_callbacks, mouse_release_callbacks

from napari_unet.session.views import Place


class Mouse:
    """A mouse over the canvas: napari calls what the active layer has bound."""

    def __init__(self, viewer):
        self.viewer = viewer

    def _event(self, kind, spot, modifiers=(), button=1):
        layer = self.viewer.layers.selection.active
        full = (*np.asarray(layer.world_to_data(self.viewer.dims.point))[:-2], *spot)
        return SimpleNamespace(
            type=kind,
            pos=np.array(spot[::-1]) * 2,
            position=layer.data_to_world(full),
            modifiers=modifiers,
            button=button,
            is_dragging=kind == "mouse_move",
        )

    def drag(self, *spots, **how):
        layer = self.viewer.layers.selection.active
        # napari hands the callbacks a shell, whose event is replaced
        shell = Shell(self._event("mouse_press", spots[0], **how))
        mouse_press_callbacks(layer, shell)
        for spot in spots[1:]:
            mouse_move_callbacks(layer, self._event("mouse_move", spot, **how))
        mouse_release_callbacks(layer, self._event("mouse_release", spots[-1], **how))

    def click(self, *spot, **how):
        self.drag(spot, **how)


class Shell:
    def __init__(self, event):
        self.__dict__["__wrapped__"] = event

    def __getattr__(self, name):
        return getattr(self.__dict__["__wrapped__"], name)

    def __setattr__(self, name, value):
        assert name == "__wrapped__"
        self.__dict__[name] = value


def predict(session, plane, shape=(64, 64)):
    """Show predicted objects: two that touch and one apart."""
    found = np.zeros(shape, np.uint8)
    found[10:20, 10:20], found[10:20, 20:30], found[40:50, 40:50] = 1, 2, 3
    choice = session.state.choice
    whole = Place(plane, (0, shape[0]), (0, shape[1]))
    previews = session.teaching.previews
    previews.follow(choice, plane, 2)
    previews.show(SimpleNamespace(place=whole), found, None)
    return session.viewer.layers[f"{choice.name} prediction"]


def show_piece(session, rows, columns, view=None):
    """Show the same objects again, in a piece of a view of its own unless another is given."""
    overlay, place = session.viewer.layers["blobs prediction"], Place((), rows, columns)
    found = overlay.data[slice(*rows), slice(*columns)].astype(np.uint8)
    previews = session.teaching.previews
    previews._seen = (previews._seen[0], view or place, *previews._seen[2:])
    previews.show(SimpleNamespace(place=place), found, None)


@pytest.fixture
def cells(session):
    session.set_task("objects")
    session.annotate()
    predict(session, ())
    return session


@pytest.fixture
def mouse(viewer):
    return Mouse(viewer)


def objects(session):
    return session.desk.current.layer.data


def test_nothing_is_left_to_accept_where_another_model_has_predicted_nothing_yet(cells, mouse):
    assert cells.state.has_predicted
    cells.teaching.previews.forget()
    assert not cells.state.has_predicted
    cells.use_tool("accept")
    mouse.click(15, 15)
    assert cells.failures == ["no object is predicted here: click on one, or paint it"]


def test_a_click_that_misses_leaves_nothing_to_report_and_the_next_one_works(cells, mouse):
    told = []
    cells.failed.connect(told.append)
    cells.use_tool("accept")
    mouse.click(60, 60)
    assert [each.details for each in told] == [""] and "no object is predicted here" in told[0].sentence
    mouse.click(15, 15)
    assert cells.sentences[-1] == "100 pixels are accepted as object 2" and len(told) == 1


def test_a_click_accepts_an_object_and_one_undo_takes_it_back(cells, mouse):
    cells.use_tool("accept")
    mouse.click(15, 15)
    assert (objects(cells)[10:20, 10:20] == 2).all() and not (objects(cells)[10:20, 20:30]).any()
    assert cells.sentences[-1] == "100 pixels are accepted as object 2" and not cells.failures
    mouse.click(45, 45)
    assert (objects(cells)[40:50, 40:50] == 3).all()
    layer = cells.desk.current.layer
    layer.undo()
    assert not objects(cells)[30:].any() and (objects(cells)[10:20, 10:20] == 2).all()
    layer.undo()
    assert not objects(cells).any()


def test_shift_click_makes_it_background_and_that_is_learnt(cells, mouse):
    cells.use_tool("accept")
    mouse.click(15, 15, modifiers=("Shift",))
    assert (objects(cells)[10:20, 10:20] == 1).all() and (objects(cells) != 0).sum() == 100
    assert cells.desk.painted_values() == {1}
    cells.desk.current.layer.undo()
    assert not objects(cells).any()


def test_shift_click_takes_back_what_was_accepted_in_one_step(cells, mouse):
    cells.use_tool("accept")
    mouse.click(15, 15)
    accepted = objects(cells).copy()
    mouse.click(15, 15, modifiers=("Shift",))
    assert np.array_equal(objects(cells) == 1, accepted == 2) and not cells.failures
    cells.desk.current.layer.undo()
    assert np.array_equal(objects(cells), accepted)


def test_a_click_beside_objects_says_so_and_paints_nothing(cells, mouse):
    cells.use_tool("accept")
    mouse.click(30, 5)
    mouse.click(-20, 5)
    assert not objects(cells).any()
    assert cells.failures == [
        "no object is predicted here: click on one, or paint it",
        "this is beside the image: click on a predicted object",
    ]


@pytest.mark.parametrize(
    ("tool", "spots"),
    [("accept", [(15, 15)]), ("split", [(5, 14), (25, 14)]), ("merge", [(15, 15), (15, 24)])],
)
def test_an_object_that_is_predicted_in_part_only_is_refused_until_it_is_in_view(cells, mouse, tool, spots):
    show_piece(cells, (0, 18), (0, 64))  # the other rows were seen before
    cells.use_tool(tool)
    mouse.drag(*spots)
    assert cells.failures == ["only a part of this object is predicted: move it into view"]
    assert not objects(cells).any()
    show_piece(cells, (0, 32), (0, 64))
    mouse.drag(*spots)
    assert len(cells.failures) == 1 and objects(cells).any()


def test_an_object_across_two_pieces_of_a_view_is_whole_once_both_are_predicted(cells, mouse):
    whole = Place((), (0, 64), (0, 64))
    cells.use_tool("accept")
    show_piece(cells, (0, 18), (0, 64))
    show_piece(cells, (0, 15), (0, 64), whole)
    mouse.click(12, 12)
    assert len(cells.failures) == 1 and not objects(cells).any()
    show_piece(cells, (15, 64), (0, 64), whole)
    mouse.click(12, 12)
    assert (objects(cells) != 0).sum() == 100


def test_an_object_at_the_border_of_the_image_is_accepted_and_a_cut_one_rejected(cells, mouse):
    found = np.zeros((64, 64), np.uint8)
    found[:8, 56:] = 1
    cells.teaching.previews.show(SimpleNamespace(place=Place((), (0, 64), (0, 64))), found, None)
    cells.use_tool("accept")
    mouse.click(3, 60)
    assert (objects(cells) != 0).sum() == 64 and not cells.failures
    cells.desk.current.layer.undo()
    show_piece(cells, (0, 5), (0, 64))
    mouse.click(3, 60, modifiers=("Shift",))
    assert (objects(cells) == 1).sum() == 64 and not cells.failures


def test_moving_the_image_is_no_click_and_other_buttons_are_napari_s(cells, mouse):
    cells.use_tool("accept")
    mouse.drag((15, 15), (16, 20), (18, 25))
    mouse.click(15, 15, button=2)
    assert not objects(cells).any() and not cells.failures


@pytest.mark.parametrize("predicted", [True, False])
def test_a_stroke_splits_and_another_one_merges_each_undone_at_once(cells, mouse, predicted):
    if not predicted:
        cells.use_tool("accept")
        mouse.click(15, 15)
    before = objects(cells).copy()
    cells.use_tool("split")
    mouse.drag((5, 14), (15, 14), (25, 14))
    assert len(np.unique(objects(cells)[10:20, 10:20])) == 2 and not cells.failures
    assert objects(cells)[15, 11] != objects(cells)[15, 18]
    divided = objects(cells).copy()
    cells.use_tool("merge")
    mouse.drag((15, 11), (15, 18))
    assert len(np.unique(objects(cells)[10:20, 10:20])) == 1 and not cells.failures
    cells.desk.current.layer.undo()
    assert np.array_equal(objects(cells), divided)
    cells.desk.current.layer.undo()
    assert np.array_equal(objects(cells), before)


def test_predicted_neighbours_are_merged_into_one_object(cells, mouse):
    cells.use_tool("merge")
    mouse.drag((15, 15), (15, 25))
    assert (objects(cells)[10:20, 10:30] == 2).all()


@pytest.mark.parametrize("tool", ["accept", "split", "merge"])
def test_painting_leaves_the_tool_and_the_same_tool_again_gives_the_brush_back(cells, mouse, tool):
    layer = cells.desk.current.layer
    cells.use_tool(tool)
    assert cells.state.tool == tool and layer.mode == "pan_zoom"
    assert layer.mouse_pan == (tool == "accept")  # a stroke must not move the image
    layer.mode = "paint"
    assert cells.state.tool == ""
    cells.tick()
    layer.mode = "pan_zoom"  # to move the image, and nothing else
    assert cells.state.tool == ""
    cells.use_tool(tool)
    cells.use_tool(tool)
    assert cells.state.tool == "" and layer.mode == "paint" and layer.mouse_pan is False


@pytest.mark.parametrize("tool", ["accept", "split", "merge"])
@pytest.mark.parametrize("taken_up", ["layer", "brush"])
def test_the_mouse_is_napari_s_again_once_the_tool_has_gone(cells, tool, taken_up):
    layer = cells.desk.current.layer
    cells.use_tool(tool)
    if taken_up == "layer":
        cells.viewer.layers.selection.active = cells.viewer.layers["blobs"]
    else:
        layer.mode = "paint"
    cells.tick()
    if taken_up == "brush":
        assert layer.mode == "paint" and layer.mouse_pan is False and layer.cursor == "circle"
        layer.mode = "pan_zoom"
    assert layer.mouse_pan is True and layer.cursor == "standard"


def test_a_tool_shows_what_is_painted(cells):
    layer = cells.desk.current.layer
    layer.visible = False
    cells.use_tool("accept")
    assert layer.visible


@pytest.mark.parametrize(("ndim", "numbers"), [(3, [2, 2]), (2, [2, 3])])
def test_an_object_that_is_accepted_on_two_slices_has_one_number_for_a_3d_network_only(
    viewer, blobs, new_session, mouse, ndim, numbers
):
    viewer.add_image(blobs(4, 64, 64), name="stack")
    session = new_session(viewer)
    session.set_task("objects")
    session.teaching.settings = replace(session.teaching.settings, ndim=ndim)
    for z in (1, 2):
        viewer.dims.set_point(0, z)
        session.annotate()
        predict(session, (z,))
        session.use_tool("accept")
        mouse.click(15, 15)
        session.use_tool("accept")
    assert not session.failures
    assert [int(objects(session)[z, 15, 15]) for z in (1, 2)] == numbers
    assert (objects(session) != 0).sum() == 200


def test_one_tool_replaces_another_and_acts_once(cells, mouse):
    for tool in ("accept", "split", "accept"):
        cells.use_tool(tool)
    mouse.click(15, 15)
    assert cells.sentences == ["100 pixels are accepted as object 2"]


def test_another_layer_leaves_the_tool_and_the_next_object_too(cells):
    cells.use_tool("accept")
    cells.viewer.layers.selection.active = cells.viewer.layers["blobs"]
    assert cells.state.tool == ""
    cells.use_tool("accept")
    assert cells.state.tool == "accept"
    cells.next_object()
    assert cells.state.tool == "" and cells.desk.current.layer.mode == "paint"


@pytest.mark.parametrize("mode", ["paint", "erase", "fill", "pick", "pan_zoom", "transform"])
def test_the_next_object_has_a_new_number_and_the_brush_ready(cells, mode):
    cells.paint(5, (0, 3), (0, 3))
    layer = cells.desk.current.layer
    layer.mode = mode
    cells.next_object()
    assert layer.selected_label == 6 and layer.mode == "paint"
    layer.mode = "polygon"
    cells.next_object()
    assert layer.mode == "polygon"


def test_only_the_shown_slice_of_a_moved_and_scaled_stack_changes(viewer, blobs, new_session, mouse):
    viewer.add_image(blobs(4, 64, 64), name="stack", scale=(3, 0.5, 0.5), translate=(10, 5, -5))
    session = new_session(viewer)
    viewer.dims.set_point(0, 16)
    session.set_task("objects")
    session.annotate()
    predict(session, (2,))
    session.use_tool("accept")
    mouse.click(15, 15)
    data = objects(session)
    assert (data[2, 10:20, 10:20] == 2).all() and not data[[0, 1, 3]].any()
    assert session.sentences[-1] == "100 pixels are accepted as object 2 on this slice"
    session.use_tool("split")
    mouse.drag((5, 14), (25, 14))
    assert set(np.unique(data[2, 10:20, 10:20])) == {2, 3} and not data[[0, 1, 3]].any()
    viewer.dims.ndisplay = 3
    session._act(lambda: session.pointing._stroke("split", [(16, 5, 5), (16, 6, 6)]))
    assert session.failures == ["no slice of the image is shown: go to one, in 2D view"]


def test_a_hidden_prediction_takes_no_click(cells, mouse):
    cells.use_tool("accept")
    cells.viewer.layers["blobs prediction"].visible = False
    mouse.click(15, 15)
    assert cells.failures and not objects(cells).any()


def test_among_classes_there_is_nothing_to_accept(session):
    session.use_tool("accept")
    assert session.failures == ["this is done to objects: choose the task Objects first"]
    assert session.state.tool == ""


def test_numbers_that_the_layer_cannot_hold_are_refused(cells, mouse):
    cells.paint(65535, (60, 62), (60, 62))
    cells.use_tool("accept")
    mouse.click(15, 15)
    assert cells.failures == [
        "blobs objects has objects up to number 65,535 and none can be higher: "
        "fill (F) the highest one with a lower number that is free, and try again"
    ]


def test_an_object_keeps_its_number_and_colour_from_preview_to_preview(cells):
    overlay = cells.viewer.layers["blobs prediction"]
    before = overlay.data.copy()
    assert before.dtype == np.uint32 and len(np.unique(before)) == 4
    whole = Place((), (0, 64), (0, 64))
    moved = np.roll(np.array([0, 3, 1, 2], np.uint8)[before], 1, axis=0)  # found in another order
    cells.teaching.previews.show(SimpleNamespace(place=whole), moved, None)
    assert np.array_equal(overlay.data, np.roll(before, 1, axis=0))


def test_the_objects_of_a_training_are_shown_by_numbers(viewer, blobs, new_session):
    viewer.add_image(blobs(64, 64), name="cells")
    session = new_session(viewer)
    session.set_task("objects")
    session.paint(1, (2, 14), (2, 62))
    session.paint(2, (17, 31), (17, 31))
    session.paint(3, (17, 31), (49, 62))
    session.tick()
    session.train_for(40)
    overlay = viewer.layers["cells prediction"]
    assert overlay.data.dtype == np.uint32 and overlay.data[24, 24]
    session.set_task("classes")
    assert not overlay.data.any() and not session.failures
