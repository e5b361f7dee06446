from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from napari.layers import Image
from qtpy.QtCore import Qt
from qtpy.QtGui import QColor
from qtpy.QtWidgets import QCheckBox, QColorDialog, QLineEdit, QWidget

from napari_unet.session.classes import COLOURS, DEFAULT_CLASSES, ClassStyle, add_class, checked
from napari_unet.session.images import ImageChoice
from napari_unet.session.state import SessionState
from napari_unet.widgets.classes_form import ClassesForm

THREE = add_class(DEFAULT_CLASSES)


@pytest.fixture
def form(make):
    return make(ClassesForm)


def names(form):
    return [edit.text() for edit in form.findChildren(QLineEdit) if not edit.parentWidget().isHidden()]


def rename(qtbot, form, position, name):
    edit = form.findChildren(QLineEdit)[position]
    edit.selectAll()
    qtbot.keyClicks(edit, name)
    qtbot.keyClick(edit, Qt.Key.Key_Return)


@st.composite
def classes(draw):
    n = draw(st.integers(2, 12))
    values = draw(st.permutations(range(1, n + 1)))
    background = draw(st.integers(0, n))
    colours = draw(st.lists(st.sampled_from(COLOURS), min_size=n, max_size=n))
    return checked(
        [
            ClassStyle(v, f"class {v}", c, i == background)
            for i, (v, c) in enumerate(zip(values, colours, strict=True))
        ]
    )


def test_what_is_set_is_read_back_and_shown(form, session):
    @given(classes())
    def check(shown):
        form.setValue(shown)
        assert form.value() == shown
        assert names(form) == [each.name for each in shown]

    check()
    session.set_classes.assert_not_called()


def test_a_class_is_renamed_by_typing(qtbot, form, session):
    rename(qtbot, form, 1, "nucleus")
    renamed = (DEFAULT_CLASSES[0], replace(DEFAULT_CLASSES[1], name="nucleus"))
    assert form.value() == renamed
    session.set_classes.assert_called_once_with(renamed)


def test_a_name_that_is_taken_is_refused_with_the_reason(qtbot, form, session):
    form.show()
    rename(qtbot, form, 1, "background")
    assert form.value() == DEFAULT_CLASSES
    assert names(form) == ["background", "foreground"]
    assert "called 'background'" in form.findChild(QWidget, "classes_refusal").text()
    session.set_classes.assert_not_called()


def test_what_is_being_typed_survives_the_next_state(qtbot, form):
    form.show()
    edit = form.findChildren(QLineEdit)[1]
    qtbot.keyClicks(edit, "nuc")
    form.show_state(SessionState(classes=THREE))
    assert "nuc" in edit.text()


def test_the_background_moves_to_another_class(qtbot, form, session):
    form.show()
    qtbot.mouseClick(form.findChildren(QCheckBox)[1], Qt.MouseButton.LeftButton)
    assert [each.is_background for each in form.value()] == [False, True]
    session.set_classes.assert_called_once_with(form.value())


def test_a_colour_is_changed_in_the_dialog(form, session, press, monkeypatch):
    monkeypatch.setattr(QColorDialog, "getColor", lambda *_: QColor("#123456"))
    press(form, "colour_2")
    assert form.value()[1].colour == "#123456"
    session.set_classes.assert_called_once_with(form.value())


def test_a_dialog_that_is_left_changes_nothing(form, session, press, monkeypatch):
    monkeypatch.setattr(QColorDialog, "getColor", lambda *_: QColor())
    press(form, "colour_2")
    session.set_classes.assert_not_called()


def test_a_class_is_added_chosen_and_removed(form, session, press, can_press):
    assert not can_press(form, "remove_class")
    press(form, "add_class")
    assert form.value() == THREE
    press(form, "class_3")
    session.select_class.assert_called_once_with(3)
    press(form, "remove_class")
    assert form.value() == DEFAULT_CLASSES


def test_the_chosen_class_is_highlighted(form):
    form.show_state(SessionState(classes=THREE, selected=3))
    chosen = [form.findChild(QWidget, f"class_{i}").isChecked() for i in (1, 2, 3)]
    assert chosen == [False, False, True]


def test_among_objects_words_stand_in_the_place_of_classes(form):
    form.show()
    form.show_state(SessionState(task="objects"))
    assert not form.findChild(QWidget, "add_class").isVisible()
    assert "some background" in form.findChild(QWidget, "objects_words").text()


@pytest.mark.parametrize(("name", "key"), [("next_object", "M"), ("paint_background", "0")])
def test_what_to_paint_next_among_objects_is_a_button_that_names_its_key(
    form, session, press, can_press, name, key
):
    form.show_state(SessionState(task="objects"))
    assert not can_press(form, name)
    form.show_state(SessionState(task="objects", choice=ImageChoice((Image(np.zeros((8, 8))),), "YX")))
    press(form, name)
    getattr(session, name).assert_called_once_with()
    assert f"[{key}]" in form.findChild(QWidget, name).text()
