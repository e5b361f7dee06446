from itertools import pairwise
from types import SimpleNamespace

import pytest
from qtpy.QtWidgets import QMessageBox, QPushButton, QWidget

from napari_unet.session.state import SessionState
from napari_unet.widgets.curves import Curves
from napari_unet.widgets.training_part import TrainingPart

NAMES = ("train", "pause", "stop", "new_model")
YES, NO = QMessageBox.StandardButton.Yes, QMessageBox.StandardButton.No


@pytest.fixture
def part(make):
    return make(TrainingPart)


def update(step, loss=float("nan"), dice=None):
    score = None if dice is None else SimpleNamespace(mean_dice=dice)
    return SimpleNamespace(step=step, loss=loss, score=score)


@pytest.mark.parametrize(
    ("state", "pressable"),
    [
        (SessionState(can_train="paint at least two classes"), []),
        (SessionState(), ["train"]),
        (SessionState(phase="preparing"), ["stop"]),
        (SessionState(phase="training", has_model=True), ["pause", "stop"]),
        (SessionState(phase="paused", has_model=True), ["pause", "stop"]),
        (SessionState(phase="stopping", has_model=True), []),
        (SessionState(phase="settled", has_model=True), ["train", "new_model"]),
        (SessionState(has_model=True), ["train", "new_model"]),
    ],
    ids=lambda value: value.phase if isinstance(value, SessionState) else "",
)
def test_only_what_makes_sense_can_be_pressed_and_the_rest_says_why(part, state, pressable):
    part.show_state(state)
    buttons = {name: part.findChild(QPushButton, name) for name in NAMES}
    assert [name for name in NAMES if buttons[name].isEnabled()] == pressable
    for name, button in buttons.items():
        assert ("Not now: " in button.toolTip()) == (name not in pressable)


def test_what_is_missing_is_said(part):
    part.show_state(SessionState(can_train="paint at least two classes"))
    assert part.findChild(QWidget, "verdict").text() == "To train: paint at least two classes."


@pytest.mark.parametrize(
    ("phase", "verdict", "words"),
    [
        ("training", "improving", "training: improving"),
        ("paused", "paused: press Resume to go on", "paused: press Resume to go on"),
        ("settled", "settled: it is good enough to segment", "settled: it is good enough to segment"),
    ],
)
def test_how_it_goes_is_said(part, phase, verdict, words):
    part.show_state(SessionState(phase=phase, verdict=verdict))
    assert part.findChild(QWidget, "verdict").text() == words


def test_the_buttons_ask_the_session(part, session, press):
    part.show_state(SessionState())
    press(part, "train")
    session.train.assert_called_once_with()
    part.show_state(SessionState(phase="training"))
    press(part, "pause")
    session.pause.assert_called_once_with()
    part.show_state(SessionState(phase="paused"))
    assert part.findChild(QPushButton, "pause").text() == "Resume"
    press(part, "pause")
    session.resume.assert_called_once_with()
    press(part, "stop")
    session.stop.assert_called_once_with()


@pytest.mark.parametrize(("answer", "times"), [(YES, 1), (NO, 0)])
def test_a_new_model_is_asked_about(part, session, press, monkeypatch, answer, times):
    asked = []
    monkeypatch.setattr(QMessageBox, "question", lambda *words: asked.append(words[2]) or answer)
    part.show_state(SessionState(has_model=True))
    press(part, "new_model")
    assert "is lost" in asked[0]
    assert session.new_model.call_count == times


def test_the_curves_grow_and_begin_anew_with_a_new_model(part):
    part.show()
    curves = part.findChild(Curves)
    assert not curves.isVisible()
    part.show_state(SessionState(phase="training", has_model=True))
    for change in (update(0), update(4, loss=1.5), update(8, loss=1.0, dice=0.5), update(8)):
        part.show_update(change)
    assert curves.isVisible()
    assert curves.values() == ([(4, 1.5), (8, 1.0)], [(8, 0.5)])
    part.show_state(SessionState())
    assert curves.values() == ([], [])
    assert not curves.isVisible()


def test_the_curves_begin_anew_where_another_model_has_taken_fewer_steps(part):
    part.show_state(SessionState(phase="training", has_model=True))
    for change in (update(500, loss=0.1, dice=0.9), update(1, loss=0.9), update(2, loss=0.8, dice=0.2)):
        part.show_update(change)
    assert part.findChild(Curves).values() == ([(1, 0.9), (2, 0.8)], [(2, 0.2)])


def test_a_long_training_has_curves_of_bounded_length_that_keep_their_shape(part, monkeypatch):
    monkeypatch.setattr("napari_unet.widgets.curves.MOST_POINTS", 100)
    for step in range(1, 1001):
        part.show_update(update(step, loss=1000.0 - step))
    losses, _ = part.findChild(Curves).values()
    steps = [step for step, _ in losses]
    assert 50 <= len(losses) <= 100 and steps[-1] == 1000
    assert {later - step for step, later in pairwise(steps[:-1])} == {16}
    assert all(loss - (1000 - step) == 7.5 for step, loss in losses[:-1])  # means of sixteen


def test_the_curves_follow_the_theme(qtbot, part):
    part.show()
    part.show_update(update(4, loss=1.5))
    curves, pens = part.findChild(Curves), []
    for colour in ("black", "white"):
        part.setStyleSheet(f"QWidget {{ color: {colour}; }}")
        qtbot.wait(10)
        pens.append(curves._loss.opts["pen"].color().lightness())
    assert pens[0] < pens[1]
