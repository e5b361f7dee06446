"""Parts that are a few buttons: what can be pressed when, and what it asks of the session."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from napari.layers import Image
from qtpy.QtWidgets import QApplication, QComboBox, QFileDialog, QMessageBox, QPushButton, QWidget

from napari_unet.session.images import ImageChoice
from napari_unet.session.jobs import Failure
from napari_unet.session.settings import ALL_OBJECTS, WantedObjects
from napari_unet.session.state import ImageState, PlaneState, SessionState
from napari_unet.widgets import message as message_module
from napari_unet.widgets.asking import MODEL_FILES, RESULT_FILES, path_to_save
from napari_unet.widgets.correct_part import CorrectPart
from napari_unet.widgets.images_table import ImagesTable, slices
from napari_unet.widgets.message import Message, RestoreBanner
from napari_unet.widgets.model_part import ModelPart
from napari_unet.widgets.planes_part import PlanesPart, place_words
from napari_unet.widgets.segment_part import SegmentPart

CHOICE = ImageChoice((Image(np.zeros((5, 8, 8), np.uint8), name="nuclei"),), "ZYX")
TOOLS = {"accept_objects", "split_objects", "merge_objects"}
READY = SessionState(choice=CHOICE, plane=(3,), has_model=True)
YES, NO = QMessageBox.StandardButton.Yes, QMessageBox.StandardButton.No


def pressable(part):
    return {button.objectName() for button in part.findChildren(QPushButton) if button.isEnabled()}


def chosen_file(monkeypatch, path, kind=""):
    for dialog in ("getSaveFileName", "getOpenFileName"):
        monkeypatch.setattr(QFileDialog, dialog, lambda *_: (path, kind))


@pytest.mark.parametrize(
    ("task", "model", "names"),
    [
        ("classes", False, set()),
        ("classes", True, {"take_prediction", "draw_box", "prediction"}),
        ("objects", False, {"weight_map"}),
        ("objects", True, {"take_prediction", "draw_box", "prediction", "weight_map"}),
    ],
)
def test_corrections_need_a_prediction_and_weight_maps_objects(make, task, model, names):
    part = make(CorrectPart)
    part.show_state(SessionState(task=task, has_model=model, plane=(3,)))
    assert pressable(part) == names


def test_corrections_ask_the_session(make, session, press):
    part = make(CorrectPart)
    part.show_state(SessionState(task="objects", has_model=True, plane=()))
    press(part, "take_prediction")
    session.take_prediction.assert_called_once_with()
    press(part, "draw_box")
    session.draw_box.assert_called_once_with()
    press(part, "prediction")
    session.toggle_prediction.assert_called_once_with()
    press(part, "weight_map")
    session.show_weight_map.assert_called_once_with(True)
    part.show_state(SessionState(task="objects", has_model=True, plane=(), weight_map=True))
    press(part, "weight_map")
    assert session.show_weight_map.call_args.args == (False,)


@pytest.mark.parametrize(
    ("painted", "predicted", "names"),
    [(False, False, set()), (True, False, TOOLS - {"accept_objects"}), (False, True, TOOLS)],
)
def test_tools_need_objects_and_say_so(make, painted, predicted, names):
    part = make(CorrectPart)
    state = SessionState(task="objects", plane=(3,), has_painted=painted, has_predicted=predicted)
    part.show_state(state)
    assert pressable(part) & TOOLS == names
    tips = {name: part.findChild(QPushButton, name).toolTip() for name in TOOLS}
    assert all(("Not now: " in tip) == (name not in names) for name, tip in tips.items())


@pytest.mark.parametrize("tool", ["accept", "split", "merge"])
def test_a_tool_is_asked_for_and_shown_while_it_is_up(make, session, press, tool):
    part = make(CorrectPart)
    state = SessionState(task="objects", plane=(), has_predicted=True)
    part.show_state(state)
    press(part, f"{tool}_objects")
    session.use_tool.assert_called_once_with(tool)
    part.show_state(replace(state, tool=tool))
    down = {button.objectName() for button in part.findChildren(QPushButton) if button.isChecked()}
    assert down == {f"{tool}_objects"}
    part.show_state(state)
    assert not any(button.isChecked() for button in part.findChildren(QPushButton))
    part.show_state(SessionState(task="objects"))
    assert not TOOLS & pressable(part)


@pytest.mark.parametrize(
    ("state", "names"),
    [
        (SessionState(), set()),
        (SessionState(choice=CHOICE, plane=(3,)), set()),
        (READY, {"segment_slice", "segment_stack", "segment_file"}),
        (SessionState(choice=CHOICE, has_model=True), {"segment_stack", "segment_file"}),
        (SessionState(choice=CHOICE, plane=(3,), has_model=True, segmenting=True), {"cancel"}),
    ],
)
def test_segmenting_needs_an_image_and_a_model(make, state, names):
    part = make(SegmentPart)
    part.show_state(state)
    assert pressable(part) == names


def test_a_cancelled_segmentation_is_said_to_end_and_what_is_there_to_go_on(make):
    part = make(SegmentPart)
    stack, cancel = (part.findChild(QPushButton, name) for name in ("segment_stack", "cancel"))
    ending = SessionState(choice=CHOICE, plane=(3,), has_model=True, segmenting=True, cancelling=True)
    part.show_state(ending)
    assert pressable(part) == set()
    assert all("it ends after the tile at work" in button.toolTip() for button in (stack, cancel))
    part.show_state(replace(READY, begun="2 of 5 slices are there"))
    assert "2 of 5 slices are there: with the same model and image it goes on" in stack.toolTip()
    part.show_state(READY)
    assert "goes on there" not in stack.toolTip()


def test_segmenting_asks_the_session(make, session, press, monkeypatch):
    part = make(SegmentPart)
    part.show_state(READY)
    press(part, "segment_slice")
    session.segment_slice.assert_called_once_with(ALL_OBJECTS)
    press(part, "segment_stack")
    session.segment_stack.assert_called_once_with(objects=ALL_OBJECTS)
    chosen_file(monkeypatch, "/data/result", "OME-Zarr (*.ome.zarr)")
    part.findChild(QComboBox).setCurrentText("probabilities")
    press(part, "segment_file")
    session.segment_stack.assert_called_with(Path("/data/result.ome.zarr"), "probabilities", ALL_OBJECTS)
    part.show_state(SessionState(segmenting=True))
    press(part, "cancel")
    session.cancel.assert_called_once_with()


def test_objects_can_be_sifted_and_linked(make, session, press):
    part = make(SegmentPart)
    part.show_state(replace(READY, task="objects"))
    size, border, link = (part.findChild(QWidget, name) for name in ("min_size", "keep_border", "link"))
    assert part.value() == ALL_OBJECTS
    size.setValue(30)
    border.click()
    link.click()
    press(part, "segment_stack")
    session.segment_stack.assert_called_once_with(objects=WantedObjects(30, False, True))
    assert "Not now" not in link.toolTip()
    part.show_state(replace(READY, task="objects", cannot_link="the image is no stack"))
    assert part.value() == WantedObjects(30, False) and not link.isEnabled()
    assert "Not now: the image is no stack." in link.toolTip()
    part.show_state(READY)
    assert part.value() == ALL_OBJECTS and not size.isVisible()


@pytest.mark.parametrize(("ndim", "words"), [(2, "at least (px)"), (3, "at least (voxels)")])
def test_sizes_are_in_pixels_or_voxels(make, ndim, words):
    part = make(SegmentPart)
    part.show_state(replace(READY, task="objects", ndim=ndim))
    assert part.findChild(QWidget, "min_size_unit").text() == words


def test_each_task_has_its_kinds_of_results(make):
    part = make(SegmentPart)
    kinds = part.findChild(QComboBox)
    part.show_state(SessionState(task="classes"))
    assert [kinds.itemData(i) for i in range(kinds.count())] == ["labels", "probabilities"]
    part.show_state(SessionState(task="objects"))
    assert kinds.currentData() == "objects"


def test_a_model_is_saved_where_the_user_says(make, session, press, monkeypatch):
    part = make(ModelPart)
    part.show_state(SessionState())
    assert pressable(part) == {"load_model"}
    part.show_state(READY)
    chosen_file(monkeypatch, "/data/model", "napari-unet model (*.safetensors)")
    press(part, "save_model")
    session.save_model.assert_called_once_with(Path("/data/model.safetensors"))


@pytest.mark.parametrize(
    ("typed", "written"),
    [
        ("mine", "mine.ome.tif"),
        ("run v1.2", "run v1.2.ome.tif"),
        ("mine.tif", "mine.tif"),
        ("mine.OME.TIF", "mine.OME.TIF"),
        ("mine.ome.zarr", "mine.ome.zarr"),
    ],
)
def test_a_name_gets_a_suffix_where_it_has_none(make, monkeypatch, typed, written):
    chosen_file(monkeypatch, f"/data/{typed}", RESULT_FILES.split(";;")[0])
    assert path_to_save(make(ModelPart), "Save", "", RESULT_FILES) == Path("/data") / written


@pytest.mark.parametrize("answer", [YES, NO])
@pytest.mark.parametrize(("typed", "n_questions"), [("mine", 1), ("mine.safetensors", 0), ("new", 0)])
def test_a_file_that_the_dialog_did_not_name_is_replaced_only_after_a_question(
    make, monkeypatch, tmp_path, answer, typed, n_questions
):
    (tmp_path / "mine.safetensors").write_text("precious")
    questions = []
    monkeypatch.setattr(QMessageBox, "question", lambda *each: questions.append(each) or answer)
    chosen_file(monkeypatch, str(tmp_path / typed), MODEL_FILES)
    path = path_to_save(make(ModelPart), "Save", "", MODEL_FILES)
    assert len(questions) == n_questions
    assert (path is None) == (n_questions == 1 and answer == NO)


def test_a_folder_of_results_is_replaced_only_after_a_question(make, monkeypatch, tmp_path):
    (tmp_path / "mine.ome.zarr").mkdir()
    monkeypatch.setattr(QMessageBox, "question", lambda *_: NO)
    chosen_file(monkeypatch, str(tmp_path / "mine.ome.zarr"), RESULT_FILES.split(";;")[1])
    assert path_to_save(make(ModelPart), "Save", "", RESULT_FILES) is None


def test_a_dialog_that_is_left_saves_nothing(make, session, press, monkeypatch):
    part = make(ModelPart)
    part.show_state(READY)
    chosen_file(monkeypatch, "")
    press(part, "save_model")
    session.save_model.assert_not_called()


@pytest.mark.parametrize(("has_model", "answer", "times"), [(False, NO, 1), (True, YES, 1), (True, NO, 0)])
def test_a_model_is_replaced_only_after_a_question(
    make, session, press, monkeypatch, has_model, answer, times
):
    part = make(ModelPart)
    part.show_state(SessionState(has_model=has_model))
    chosen_file(monkeypatch, "/data/model.safetensors")
    monkeypatch.setattr(QMessageBox, "question", lambda *_: answer)
    press(part, "load_model")
    assert session.load_model.call_count == times


def test_an_annotation_is_saved_once_something_is_painted(make, session, press, monkeypatch):
    part = make(ModelPart)
    part.show_state(SessionState(choice=CHOICE, images=(ImageState("nuclei", (PlaneState((3,), False),)),)))
    chosen_file(monkeypatch, "/data/painted.tif")
    press(part, "save_annotation")
    session.save_annotation.assert_called_once_with(Path("/data/painted.tif"))


@pytest.mark.parametrize(
    ("state", "words"),
    [
        (SessionState(), ""),
        (SessionState(choice=CHOICE), "no single slice of the image is in view"),
        (SessionState(choice=CHOICE, plane=(3,)), "slice 3: not painted yet"),
        (
            SessionState(
                choice=CHOICE, plane=(3,), images=(ImageState("nuclei", (PlaneState((3,), False),)),)
            ),
            "slice 3: painted",
        ),
        (SessionState(choice=CHOICE, plane=(3,), plane_complete=True), "slice 3: complete"),
    ],
)
def test_the_slice_that_is_looked_at_is_described(make, state, words):
    part = make(PlanesPart)
    part.show_state(state)
    assert part.findChild(QWidget, "plane_words").text() == words


def test_a_slice_is_marked_complete(make, session, press, can_press):
    part = make(PlanesPart)
    part.show_state(SessionState())
    assert not can_press(part, "complete")
    part.show_state(
        SessionState(choice=CHOICE, images=(ImageState("nuclei", ()),), plane=(3,), plane_complete=True)
    )
    assert part.findChild(QPushButton, "complete").isChecked()
    press(part, "complete")
    session.toggle_complete.assert_called_once_with()


@pytest.mark.parametrize(
    ("axes", "index", "words"),
    [("", (), "this image"), ("C", (0,), "this image"), ("TCZ", (1, 0, 5), "time 1, slice 5")],
)
def test_a_plane_is_named_by_its_axes(axes, index, words):
    assert place_words(axes, index) == words


@pytest.mark.parametrize(
    ("planes", "words"),
    [
        ([], "none yet"),
        ([((), False)], "painted"),
        ([((), True)], "painted ✓"),
        ([((3,), True), ((7,), False)], "3 ✓, 7"),
        ([((0, 0, 5), False)], "5"),
        ([((0, 0, 5), False), ((1, 0, 5), True)], "0, 1 ✓"),
        ([((0, 0, 5), False), ((1, 0, 6), True)], "0/5, 1/6 ✓"),
    ],
)
def test_annotated_slices_are_listed_by_what_differs(planes, words):
    assert slices([PlaneState(*plane) for plane in planes]) == words


def test_every_annotated_image_has_a_row(qtbot):
    table = ImagesTable()
    qtbot.addWidget(table)
    images = (
        ImageState("nuclei", (PlaneState((3,), True), PlaneState((7,), False))),
        ImageState("other", ()),
    )
    table.show_state(SessionState(choice=CHOICE, images=images))
    rows = [[table.item(i, j).text() for j in range(3)] for i in range(table.rowCount())]
    assert rows == [["nuclei", "3 ✓, 7", "1"], ["other", "none yet", ""]]
    assert [table.item(i, 0).font().bold() for i in (0, 1)] == [True, False]


@pytest.fixture
def message(qtbot):
    shown = Message()
    qtbot.addWidget(shown)
    return shown


def test_a_failure_is_a_sentence_with_details_to_copy(message, press):
    assert message.isHidden()
    message.show_failure(Failure("the disk is full: make room", "Traceback …"))
    assert message.findChild(QWidget, "message_words").text() == "The disk is full: make room"
    press(message, "copy_details")
    assert QApplication.clipboard().text() == "the disk is full: make room\n\nTraceback …"
    press(message, "close_message")
    assert message.isHidden()


def test_a_remark_has_no_details_and_hides_no_failure(message):
    message.show_words("class 3 is learnt from the start")
    assert message.findChild(QPushButton, "copy_details").isHidden()
    message.show_failure(Failure("broken", "details"))
    message.show_words("a remark")
    assert message.findChild(QWidget, "message_words").text() == "Broken"
    message.hide()
    message.show_words("a remark")
    assert message.findChild(QWidget, "message_words").text() == "A remark"


def test_what_was_kept_is_offered(make, session, press, monkeypatch):
    banner = make(RestoreBanner)
    banner.show_state(SessionState())
    assert banner.isHidden()
    banner.show_state(SessionState(kept="2 slices of nuclei were kept"))
    assert not banner.isHidden()
    press(banner, "restore")
    session.restore.assert_called_once_with()
    for answer in (False, True):
        monkeypatch.setattr(message_module, "agrees", lambda *_, answer=answer: answer)
        press(banner, "discard")
        assert session.discard_kept.called == answer
