"""What can be pressed to measure objects when, and what it asks of the session."""

from pathlib import Path
from unittest.mock import MagicMock

import pytest
from qtpy.QtWidgets import QCheckBox, QFileDialog, QLabel, QMessageBox, QPushButton

from napari_unet.session.measuring import Measuring
from napari_unet.session.state import MeasureState, SessionState
from napari_unet.widgets.measure_part import MeasurePart

READY = MeasureState(layer="cells")
DONE = MeasureState(layer="cells", count="3 objects", has_planes=True)
BUSY = MeasureState(layer="cells", why_not="it is measuring already", busy=True)
ENDING = MeasureState(layer="cells", why_not="it is measuring already", busy=True, ending=True)


@pytest.fixture
def session(session):
    session.measuring = MagicMock(spec=Measuring)
    return session


@pytest.fixture
def part(make):
    part = make(MeasurePart)
    part.show_state(SessionState(measure=DONE))
    return part


def pressable(part):
    return {button.objectName() for button in part.findChildren(QPushButton) if button.isEnabled()}


@pytest.mark.parametrize(
    ("state", "names"),
    [
        (MeasureState(why_not="there are no objects"), set()),
        (READY, {"measure"}),
        (DONE, {"measure", "save_table", "boxes"}),
        (BUSY, {"cancel_measuring"}),
        (ENDING, set()),
    ],
)
def test_what_can_be_pressed(make, state, names):
    part = make(MeasurePart)
    part.show_state(SessionState(measure=state))
    assert pressable(part) == names


def test_it_is_there_for_objects_or_where_a_layer_of_them_is(make):
    part = make(MeasurePart)
    for state, is_there in (
        (SessionState(), False),
        (SessionState(task="objects"), True),
        (SessionState(measure=READY), True),
    ):
        part.show_state(state)
        assert part.isHidden() != is_there


@pytest.mark.parametrize(
    ("state", "words"),
    [(MeasureState(), ""), (READY, "cells: not measured"), (DONE, "cells: 3 objects")],
)
def test_the_count_is_said(make, state, words):
    part = make(MeasurePart)
    part.show_state(SessionState(task="objects", measure=state))
    label = part.findChild(QLabel, "measure_words")
    assert label.text() == words and label.isHidden() == (not words)


def test_it_is_measured_whole_or_slice_by_slice_where_there_are_slices(part, session, press):
    press(part, "measure")
    assert session.measuring.measure.call_args.args == (False,)
    check = part.findChild(QCheckBox, "measure_planes")
    check.setChecked(True)
    press(part, "measure")
    assert session.measuring.measure.call_args.args == (True,)
    part.show_state(SessionState(measure=READY))  # another layer, without slices
    assert check.isHidden()
    press(part, "measure")
    assert session.measuring.measure.call_args.args == (False,)


def test_boxes_and_the_end_are_asked_for(make, part, session, press):
    press(part, "boxes")
    session.measuring.show_boxes.assert_called_once_with()
    part.show_state(SessionState(measure=BUSY))
    press(part, "cancel_measuring")
    session.measuring.cancel.assert_called_once_with()


def test_the_table_is_saved_where_the_dialog_says(part, session, press, monkeypatch, tmp_path):
    asked = []
    monkeypatch.setattr(
        QFileDialog, "getSaveFileName", lambda *args: asked.append(args) or (str(tmp_path / "a.tsv"), "")
    )
    press(part, "save_table")
    session.measuring.save.assert_called_once_with(tmp_path / "a.tsv")
    assert asked[0][2] == "cells.csv"


@pytest.mark.parametrize(
    ("chosen", "answer", "is_saved"), [("", None, False), ("a", "No", False), ("a", "Yes", True)]
)
def test_no_file_is_replaced_unasked(part, session, press, monkeypatch, tmp_path, chosen, answer, is_saved):
    (tmp_path / "a.csv").write_text("of before")
    path = chosen and str(tmp_path / chosen)  # without a suffix the dialog does not ask by itself
    monkeypatch.setattr(QFileDialog, "getSaveFileName", lambda *_: (path, "Table (*.csv *.tsv)"))
    buttons = QMessageBox.StandardButton
    monkeypatch.setattr(QMessageBox, "question", lambda *_: getattr(buttons, answer))
    press(part, "save_table")
    saved = [call.args[0] for call in session.measuring.save.call_args_list]
    assert saved == ([Path(path + ".csv")] if is_saved else [])
