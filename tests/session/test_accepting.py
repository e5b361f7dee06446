"""What a click on a predicted object paints."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_unet.session import picking
from napari_unet.session.accepting import accept, accepted_numbers, continued, reject
from napari_unet.session.picking import along, object_at, objects_under


@pytest.fixture
def predicted():
    """Two squares that touch, and one apart."""
    plane = np.zeros((40, 60), np.uint32)
    plane[10:20, 10:20], plane[10:20, 20:30], plane[10:20, 40:50] = 7, 8, 9
    return plane


@pytest.fixture
def annotation():
    return np.zeros((40, 60), np.uint16)


def painted(annotation, edit):
    """Return the annotation as it is after an edit."""
    after = annotation.copy()
    rows, columns, values = edit.places
    after[rows, columns] = values
    return after


def test_an_accepted_object_is_painted_with_a_free_number(annotation, predicted):
    edit = accept(annotation, predicted, (15, 15), 4)
    after = painted(annotation, edit)
    assert np.array_equal(after == 4, predicted == 7)
    assert edit.words == "100 pixels are accepted as object 4"


def test_nothing_but_the_object_is_painted(annotation, predicted):
    after = painted(annotation, accept(annotation, predicted, (15, 15), 4))
    assert np.array_equal(after != 0, predicted == 7)


def test_an_object_that_lies_over_most_of_it_on_the_next_slice_goes_on(annotation, predicted):
    below, above = annotation.copy(), annotation.copy()
    below[12:20, 10:20], above[10:14, 10:20] = 5, 6
    found = object_at(predicted, (15, 15))
    assert continued(annotation, found, [below]) == 5
    assert continued(annotation, found, [above]) is None  # less than half of it
    assert continued(annotation, found, [above, below]) == 5
    below[12:17] = 0
    above[above == 6] = 5
    assert continued(annotation, found, [above, below]) is None  # nor of two slices together
    assert continued(annotation, found, []) is None


def test_a_number_goes_on_in_one_object_of_a_slice_only(annotation, predicted):
    below = annotation.copy()
    below[10:20, 10:30] = 5  # lies over two that touch
    first = painted(annotation, accept(annotation, predicted, (15, 15), 6, [below]))
    both = painted(first, accept(first, predicted, (15, 25), 6, [below]))
    assert (both[predicted == 7] == 5).all() and (both[predicted == 8] == 6).all()
    assert continued(annotation, object_at(predicted, (15, 25)), [below], given=[5]) is None


def test_what_is_painted_stays(annotation, predicted):
    annotation[10:13, 5:20] = 1
    annotation[17:30, 10:14] = 6  # most of this object lies elsewhere
    after = painted(annotation, accept(annotation, predicted, (15, 15), 7))
    assert np.array_equal(after[annotation != 0], annotation[annotation != 0])
    assert (after[13:17, 10:20] == 7).all()


def test_what_is_painted_of_an_object_grows_instead_of_becoming_two(annotation, predicted):
    annotation[14:16, 12:18] = 5
    edit = accept(annotation, predicted, (11, 11), 6)
    after = painted(annotation, edit)
    assert np.array_equal(after == 5, predicted == 7) and not (after == 6).any()
    assert edit.words == "88 pixels are added to object 5"


def test_a_piece_of_an_object_that_lies_elsewhere_is_no_beginning_of_this_one(annotation, predicted):
    annotation[11, 11] = 6  # alone in it
    annotation[17:30, 10:14] = 6  # most of this piece lies elsewhere
    assert accept(annotation, predicted, (15, 15), 7).words.endswith("added to object 6")
    annotation[11, 11] = 0
    assert accept(annotation, predicted, (15, 15), 7).words.endswith("accepted as object 7")


def test_of_a_whole_slice_objects_go_on_as_by_clicks(annotation, predicted):
    annotation[12:18, 12:18], annotation[30:35, 50:55] = 5, 9
    numbers = accepted_numbers(annotation, predicted, [], highest=9)
    assert numbers[[7, 8, 9]].tolist() == [5, 10, 11] and not numbers[:7].any()


def test_of_a_whole_slice_what_does_not_fit_to_the_painted_objects_is_left(annotation, predicted):
    annotation[12:14, 12:14], annotation[16:18, 16:18] = 3, 5  # two in one
    annotation[5:25, 20:32] = 6  # most of it beyond what is predicted
    assert accepted_numbers(annotation, predicted, [], highest=6)[[7, 8, 9]].tolist() == [0, 0, 7]


def test_of_a_whole_slice_each_piece_of_a_number_counts_by_itself(annotation, predicted):
    annotation[12:14, 12:18], annotation[30:35, 10:20] = 5, 5  # the second where nothing is predicted
    assert accepted_numbers(annotation, predicted, [], highest=5)[[7, 8, 9]].tolist() == [5, 6, 7]
    annotation[12:14, 22:28] = 5  # in another object too
    assert accepted_numbers(annotation, predicted, [], highest=5)[[7, 8, 9]].tolist() == [0, 0, 6]


def test_of_a_whole_slice_objects_go_on_from_the_next_slices_one_to_one(annotation, predicted):
    below, above = annotation.copy(), annotation.copy()
    below[10:20, 10:30] = 4  # lies over most of both
    below[10:13, 10:20] = 0
    above[10:20, 40:50] = 1
    above[10:16, 40:50] = 6
    assert accepted_numbers(annotation, predicted, [below, above], 6)[[7, 8, 9]].tolist() == [7, 4, 6]
    annotation[30:35, 5:10] = 4  # on this slice it is elsewhere
    assert accepted_numbers(annotation, predicted, [below, above], 6)[[7, 8, 9]].tolist() == [7, 8, 6]


@given(
    st.lists(st.integers(0, 6), min_size=24, max_size=24),
    st.lists(st.integers(0, 4), min_size=24, max_size=24),
)
def test_of_a_whole_slice_no_two_objects_get_one_number(values, found):
    annotation, predicted = np.array(values).reshape(4, 6), np.array(found).reshape(4, 6)
    numbers = accepted_numbers(annotation, predicted, [annotation[::-1]], highest=6)
    given_to = numbers[numbers > 0].tolist()
    assert len(given_to) == len(set(given_to)) and not set(given_to) & {1}
    assert not numbers[np.setdiff1d(np.arange(len(numbers)), predicted)].any()
    for number in set(given_to) & set(values):
        assert (annotation[predicted == numbers.tolist().index(number)] == number).any()


def test_an_object_that_holds_two_painted_ones_is_to_be_split(annotation, predicted):
    annotation[12:14, 12:14], annotation[16:18, 16:18] = 3, 5
    with pytest.raises(ValueError, match="objects 3 and 5 are painted in it: split it"):
        accept(annotation, predicted, (15, 15), 6)


def test_a_rejected_object_is_background_where_nothing_is_painted(annotation, predicted):
    annotation[10:12, 10:20] = 3
    edit = reject(annotation, predicted, (15, 15))
    after = painted(annotation, edit)
    assert (after[12:20, 10:20] == 1).all() and (after[10:12, 10:20] == 3).all()
    assert (after != 0).sum() == 100 and edit.words == "rejected: 80 pixels are background"


def test_an_object_that_is_painted_already_is_rejected_whole_and_no_other(annotation, predicted):
    annotation[10:22, 10:20], annotation[10:20, 20:30], annotation[30:35, 10:20] = 3, 4, 3
    edit = reject(annotation, predicted, (15, 15))
    after = painted(annotation, edit)
    assert np.array_equal(after == 1, (annotation == 3) & (np.arange(40) < 30)[:, None])
    assert np.array_equal(after[after != 1], annotation[after != 1])
    assert edit.words == "rejected: 120 pixels are background"


@pytest.mark.parametrize("do", [reject, lambda *of: accept(*of, 2)])
def test_where_nothing_is_predicted_or_all_is_painted_it_says_so(annotation, predicted, do):
    with pytest.raises(ValueError, match="no object is predicted here"):
        do(annotation, predicted, (0, 0))
    annotation[:] = 1
    with pytest.raises(ValueError, match="painted already"):
        do(annotation, predicted, (15, 15))


def test_the_whole_object_is_found_however_far_it_reaches(monkeypatch):
    monkeypatch.setattr(picking, "REACH", 2)
    plane = np.zeros((60, 80), int)
    plane[5, 3:75] = plane[5:50, 74] = 3
    plane[30, 3:20] = 3  # the same number elsewhere is another object
    part = object_at(plane, (5, 4))
    assert part.mask.sum() == 72 + 44 and part.box == (slice(4, 51), slice(2, 76))
    assert part.holds((49, 74)) and not part.holds((30, 5)) and not part.holds((59, 79))


@given(st.integers(0, 39), st.integers(0, 59))
def test_objects_at_the_border_of_the_plane_are_whole(row, column):
    plane = np.zeros((40, 60), int)
    plane[max(0, row - 2) : row + 3, max(0, column - 2) : column + 3] = 1
    part = object_at(plane, (row, column))
    found = np.zeros(plane.shape, bool)
    found[part.box] = part.mask
    assert np.array_equal(found, plane == 1)


def test_a_stroke_is_whole_and_ends_at_the_border():
    spots = along([(2, -3), (2, 4), (9, 4)], (6, 6))
    assert spots == [(2, 0), (2, 1), (2, 2), (2, 3), (2, 4), (3, 4), (4, 4), (5, 4)]
    assert along([(2, 3)], (6, 6)) == [(2, 3)] and along([(9, 9)], (6, 6)) == []


def test_objects_under_a_stroke_come_once_each_in_its_order(predicted):
    numbers = [
        int(predicted[part.box][part.mask][0])
        for part in objects_under(predicted, along([(15, 55), (15, 5), (12, 55)], predicted.shape))
    ]
    assert numbers == [9, 8, 7]
