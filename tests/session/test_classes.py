import unicodedata
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_unet.core.targets import MAX_CLASSES, ClassLabel
from napari_unet.session.classes import (
    COLOURS,
    DEFAULT_CLASSES,
    ClassStyle,
    add_class,
    checked,
    class_labels,
    class_of_key,
    class_styles,
    colormap,
    prediction_colormap,
    without_class,
)

BACKGROUND, FOREGROUND = DEFAULT_CLASSES


def all_classes():
    classes = DEFAULT_CLASSES
    while len(classes) < MAX_CLASSES:
        classes = add_class(classes)
    return classes


def test_twenty_classes_have_a_value_a_name_and_a_colour_each():
    classes = all_classes()
    assert [each.value for each in classes] == list(range(1, 21))
    assert len({each.name for each in classes}) == len({each.colour for each in classes}) == 20
    with pytest.raises(ValueError, match="20 classes already"):
        add_class(classes)


@given(st.sets(st.integers(1, 20), max_size=17))
def test_what_was_removed_is_the_first_to_come_back(removed):
    classes = tuple(each for each in all_classes() if each.value not in removed)
    for value in sorted(removed):
        classes = add_class(classes)
        assert classes[-1].value == value
    assert {each.colour for each in classes} == set(COLOURS)


def test_a_new_class_takes_no_name_that_is_in_use():
    taken = (BACKGROUND, ClassStyle(2, "class 3", "#ffffff"))
    assert add_class(taken)[-1].name == "class 1"


def test_a_value_that_was_painted_becomes_a_class():
    assert add_class(DEFAULT_CLASSES, 40)[-1] == ClassStyle(40, "class 40", COLOURS[2])
    with pytest.raises(ValueError, match="painted with '2'"):
        add_class(DEFAULT_CLASSES, 2)


def test_two_classes_are_the_fewest():
    assert without_class(add_class(DEFAULT_CLASSES), 2)[-1].value == 3
    with pytest.raises(ValueError, match="at least two"):
        without_class(DEFAULT_CLASSES, 2)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"value": 1}, "painted with '1'"),
        ({"name": " background "}, "two classes are called 'background'"),
        ({"is_background": True}, "two classes are the background"),
    ],
)
def test_classes_that_contradict_each_other_are_refused(change, sentence):
    with pytest.raises(ValueError, match=sentence):
        checked((BACKGROUND, replace(FOREGROUND, **change)))


@pytest.mark.parametrize("change", [{"value": 0}, {"name": "  "}, {"colour": "red"}, {"colour": "#12345"}])
def test_a_class_that_makes_no_sense_is_refused(change):
    with pytest.raises(ValueError, match=r"class 2|foreground"):
        replace(FOREGROUND, **change)


def test_more_classes_than_the_network_takes_are_refused():
    with pytest.raises(ValueError, match="20 are the most"):
        checked((*all_classes(), ClassStyle(21, "one more", "#ffffff")))


def test_the_background_is_written_as_0_and_the_others_as_their_value():
    classes = (ClassStyle(3, "empty", "#000000", is_background=True), FOREGROUND)
    assert class_labels(classes) == (ClassLabel(3, 0, "empty"), ClassLabel(2, 2, "foreground"))


def test_classes_of_a_model_become_paintable_and_known_names_keep_their_colour():
    labels = class_labels(all_classes())
    assert class_styles(labels, all_classes()) == all_classes()
    dense = (ClassLabel(1, 0, "background"), ClassLabel(2, 1, "nucleus"))
    styles = class_styles(dense)
    assert styles[0] == BACKGROUND
    assert styles[1].colour not in {BACKGROUND.colour, FOREGROUND.colour}


def rgb(colour):
    return [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]


def test_the_annotation_shows_classes_and_nothing_else():
    colours = colormap(DEFAULT_CLASSES).map(np.array([0, 1, 2, 7]))
    np.testing.assert_allclose(colours[1:3, :3], [rgb(each.colour) for each in DEFAULT_CLASSES], atol=1e-6)
    assert list(colours[:, 3]) == [0, 1, 1, 0]


def test_the_prediction_shows_no_background():
    colours = prediction_colormap(DEFAULT_CLASSES).map(np.array([0, 1, 2]))
    np.testing.assert_allclose(colours[2, :3], rgb(FOREGROUND.colour), atol=1e-6)
    assert list(colours[:, 3]) == [0, 0, 1]


def test_the_prediction_of_a_model_that_writes_other_values_has_the_colours_that_are_painted():
    dense = (ClassLabel(1, 0, "background"), ClassLabel(2, 1, "foreground"))
    colours = prediction_colormap(DEFAULT_CLASSES, dense).map(np.array([0, 1, 2]))
    np.testing.assert_allclose(colours[1, :3], rgb(FOREGROUND.colour), atol=1e-6)
    assert list(colours[:, 3]) == [0, 1, 0]


def test_keys_choose_classes_in_their_order():
    assert class_of_key(DEFAULT_CLASSES, 2) == FOREGROUND
    assert class_of_key(DEFAULT_CLASSES, 3) is None
    assert class_of_key(DEFAULT_CLASSES, 0) is None


@pytest.mark.parametrize("form", ["NFC", "NFD"])
def test_names_compare_alike_in_either_unicode_form(form):
    style = ClassStyle(1, unicodedata.normalize(form, "ä"), "#000000")
    assert style == ClassStyle(1, "ä", "#000000")
    with pytest.raises(ValueError, match="two classes are called 'ä'"):
        checked([style, ClassStyle(2, "ä", "#ffffff")])
