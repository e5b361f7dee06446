"""What a stroke over objects paints: two of one, or one of several."""

import numpy as np
import pytest
from scipy import ndimage

from napari_unet.session.dividing import merge, split
from napari_unet.session.picking import along

NOTHING = np.zeros((40, 60), np.uint32)


@pytest.fixture
def painted():
    """Two painted objects side by side."""
    plane = np.zeros((40, 60), np.uint16)
    plane[10:20, 10:30], plane[10:20, 30:40] = 5, 6
    return plane


@pytest.fixture
def predicted():
    plane = NOTHING.copy()
    plane[10:20, 10:30], plane[10:20, 30:40] = 5, 6
    return plane


def after(annotation, edit):
    result = annotation.copy()
    rows, columns, values = edit.places
    result[rows, columns] = values
    return result


def stroke(*corners):
    return along(corners, NOTHING.shape)


@pytest.mark.parametrize("corners", [[(5, 15), (25, 15)], [(5, 13), (25, 18)], [(9, 14), (15, 17), (20, 16)]])
def test_a_painted_object_falls_into_two_along_the_stroke(painted, corners):
    edit = split(painted, NOTHING, stroke(*corners), 7)
    result = after(painted, edit)
    whole = painted == 5
    assert set(np.unique(result[whole])) == {5, 7} and np.array_equal(result[~whole], painted[~whole])
    assert (result[whole] == 5).sum() > (result[whole] == 7).sum()  # the larger part stays what it was
    assert (result[10:20, 10] == 7).all() and (result[10:20, 29] == 5).all()
    assert edit.words == "split: one part is object 7 now"


def test_a_stroke_across_both_divides_both(painted):
    edit = split(painted, NOTHING, stroke((14, 5), (14, 45)), 7)
    result = after(painted, edit)
    assert set(np.unique(result)) == {0, 5, 6, 7, 8}
    assert set(np.unique(result[10:20, 30:40])) == {6, 8}
    assert edit.words == "split: one part of each is object 7 and 8 now"


@pytest.mark.parametrize("corners", [[(5, 15), (15, 15)], [(0, 0), (0, 50)], [(9, 12), (12, 9)]])
def test_a_stroke_that_goes_not_right_across_divides_nothing(painted, corners):
    with pytest.raises(ValueError, match="right across"):
        split(painted, NOTHING, stroke(*corners), 7)


def test_a_predicted_object_is_accepted_in_two_parts(predicted):
    annotation = np.zeros(predicted.shape, np.uint16)
    annotation[10:12, 10:12] = 1
    edit = split(annotation, predicted, stroke((5, 15), (25, 15)), 2)
    result = after(annotation, edit)
    assert set(np.unique(result[10:20, 10:30])) == {1, 2, 3}
    assert (result[10:12, 10:12] == 1).all() and (result[10:20, 30:40] == 0).all()
    assert not result[predicted != 5].any()
    assert edit.words == "accepted in parts, as objects 2 and 3"


def test_a_half_that_is_background_already_stays_so(predicted):
    annotation = np.zeros(predicted.shape, np.uint16)
    annotation[8:22, 8:16] = 1
    edit = split(annotation, predicted, stroke((5, 15), (25, 15)), 2)
    assert np.array_equal(after(annotation, edit) == 2, (predicted == 5) & (annotation == 0))
    assert edit.words == "one part is accepted, as object 2"


def test_what_is_painted_of_each_part_goes_on(predicted):
    annotation = np.zeros(predicted.shape, np.uint16)
    annotation[12:14, 12:14], annotation[12:14, 25:28] = 3, 5  # accepting it says to split it first
    result = after(annotation, split(annotation, predicted, stroke((5, 18), (25, 18)), 6))
    assert set(np.unique(result[10:20, 10:18])) == {3} and set(np.unique(result[10:20, 19:30])) == {5}
    assert np.array_equal(result != 0, predicted == 5)


@pytest.mark.parametrize("columns", [6, 14])
def test_an_object_that_is_predicted_as_one_with_a_painted_neighbour_is_split_off(predicted, columns):
    annotation = np.zeros(predicted.shape, np.uint16)
    annotation[11:19, 11 : 10 + columns] = 3  # much less than half of it, or more
    column = 10 + columns
    result = after(annotation, split(annotation, predicted, stroke((5, column), (25, column)), 6))
    assert set(np.unique(result[10:20, 10:column])) == {3}
    assert set(np.unique(result[10:20, column + 1 : 30])) == {6}


def test_parts_go_on_from_the_next_slice_each_with_its_number(painted, predicted):
    empty, below = np.zeros_like(painted), np.zeros_like(painted)
    below[10:20, 10:15], below[10:20, 16:30] = 8, 9
    result = after(empty, split(empty, predicted, stroke((5, 15), (25, 15)), 10, [below]))
    assert (result[10:20, 10:15] == 8).all() and (result[10:20, 16:30] == 9).all()
    below[below == 9] = 5
    result = after(painted, split(painted, empty, stroke((5, 15), (25, 15)), 10, [below]))
    assert (result[10:20, 10:15] == 8).all() and (result[10:20, 16:30] == 5).all()
    below[below == 8], below[10:20, 16:30] = 5, 8  # the larger part is the other one now
    result = after(painted, split(painted, empty, stroke((5, 15), (25, 15)), 10, [below]))
    assert (result[10:20, 10:15] == 5).all() and (result[10:20, 16:30] == 8).all()


def test_the_number_stays_where_it_goes_on_from_the_next_slice(painted):
    below = np.zeros_like(painted)
    below[10:20, 10:15] = 5
    result = after(painted, split(painted, NOTHING, stroke((5, 15), (25, 15)), 7, [below]))
    assert (result[10:20, 10:15] == 5).all() and (result[10:20, 16:30] == 7).all()
    below[10:20, 10:30] = 5
    result = after(painted, split(painted, NOTHING, stroke((5, 15), (25, 15)), 7, [below]))
    assert (result[10:20, 10:15] == 7).all() and (result[10:20, 16:30] == 5).all()


def test_of_two_slices_beside_the_one_that_is_split_already_tells(painted, predicted):
    empty, split_already, whole = (np.zeros_like(painted) for _ in range(3))
    split_already[10:20, 10:15], split_already[10:20, 16:30], whole[10:20, 10:30] = 8, 5, 5
    for slices in ([split_already, whole], [whole, split_already]):
        result = after(painted, split(painted, NOTHING, stroke((5, 15), (25, 15)), 9, slices))
        assert (result[10:20, 10:15] == 8).all() and (result[10:20, 16:30] == 5).all()
        result = after(empty, split(empty, predicted, stroke((5, 15), (25, 15)), 9, slices))
        assert (result[10:20, 10:15] == 8).all() and (result[10:20, 16:30] == 5).all()


def test_a_part_does_not_join_what_lies_over_both_nor_loses_the_number_to_another(painted):
    below, above = np.zeros_like(painted), np.zeros_like(painted)
    below[10:20, 10:30] = 8
    result = after(painted, split(painted, NOTHING, stroke((5, 15), (25, 15)), 9, [below]))
    assert (result[10:20, 10:15] == 9).all() and (result[10:20, 16:30] == 5).all()
    below[:], above[:] = 0, 0
    below[10:19, 16:30], above[10:20, 16:30] = 5, 8  # both lie over the larger part
    result = after(painted, split(painted, NOTHING, stroke((5, 15), (25, 15)), 9, [below, above]))
    assert (result[10:20, 10:15] == 9).all() and (result[10:20, 16:30] == 5).all()


def test_several_that_are_painted_in_one_are_merged_only_where_the_stroke_is_over_them(predicted):
    annotation = np.zeros(predicted.shape, np.uint16)
    annotation[14:16, 11:13], annotation[14:16, 26:28] = 2, 3
    with pytest.raises(ValueError, match="objects 2 and 3 are painted in it"):
        merge(annotation, predicted, stroke((15, 12), (15, 18)), 4)
    result = after(annotation, merge(annotation, predicted, stroke((15, 12), (15, 27)), 4))
    assert np.array_equal(result == 2, predicted == 5)


def test_of_three_that_are_painted_in_one_the_part_with_two_is_left(predicted):
    annotation = np.zeros(predicted.shape, np.uint16)
    for number, column in ((2, 11), (3, 18), (4, 26)):
        annotation[14:16, column : column + 2] = number
    result = after(annotation, split(annotation, predicted, stroke((5, 15), (25, 15)), 5))
    assert (result[10:20, 10:15] == 2).all()
    assert np.array_equal(result[:, 16:], annotation[:, 16:])
    annotation[14:16, 11:13] = 3  # one number on both sides of the stroke
    annotation[14:16, 26:28] = 0
    result = after(annotation, split(annotation, predicted, stroke((5, 15), (25, 15)), 5))
    assert np.array_equal(result[:, :15], annotation[:, :15]) and (result[10:20, 16:30] == 3).all()


def test_a_stroke_across_what_is_predicted_of_a_painted_object_but_not_across_that_paints_nothing(predicted):
    annotation = np.zeros(predicted.shape, np.uint16)
    annotation[12:25, 10:30] = 5
    with pytest.raises(ValueError, match="right across"):
        split(annotation, predicted, stroke((5, 12), (21, 12)), 6)


def test_a_part_that_is_background_does_not_go_on_from_the_next_slice(predicted):
    annotation, below = np.zeros(predicted.shape, np.uint16), np.zeros(predicted.shape, np.uint16)
    annotation[11:20, 10:15], below[10:20, 10:15] = 1, 8
    result = after(annotation, split(annotation, predicted, stroke((5, 15), (25, 15)), 9, [below]))
    assert set(np.unique(result)) == {0, 1, 9} and not result[10, 10:15].any()


def test_what_is_painted_beside_the_stroke_in_merged_objects_becomes_one_with_them(predicted):
    annotation = np.zeros(predicted.shape, np.uint16)
    annotation[12:14, 12:14], annotation[12:14, 35:37] = 9, 8
    edit = merge(annotation, predicted, stroke((15, 25), (15, 33)), 10)
    assert np.array_equal(after(annotation, edit) == 9, predicted != 0)
    assert edit.words == "merged: 2 objects are object 9 now"


def test_two_parts_over_one_object_of_the_next_slice_do_not_share_its_number(predicted):
    empty, below = NOTHING.astype(np.uint16), NOTHING.astype(np.uint16)
    below[10:20, 10:30] = 9
    result = after(empty, split(empty, predicted, stroke((5, 15), (25, 15)), 10, [below]))
    assert set(np.unique(result[10:20, 10:30])) == {9, 10}


def test_what_is_merged_goes_on_from_the_next_slice(predicted):
    empty, below = NOTHING.astype(np.uint16), NOTHING.astype(np.uint16)
    below[10:20, 30:40] = 9
    result = after(empty, merge(empty, predicted, stroke((15, 25), (15, 35)), 10, [below]))
    assert np.array_equal(result == 9, predicted != 0)


def test_what_is_painted_is_divided_rather_than_what_is_predicted_there(painted, predicted):
    result = after(painted, split(painted, predicted, stroke((5, 15), (25, 15)), 7))
    assert set(np.unique(result)) == {0, 5, 6, 7}


def test_painted_objects_become_the_first_one(painted):
    edit = merge(painted, NOTHING, stroke((15, 35), (15, 25)), 7)
    assert np.array_equal(after(painted, edit), np.where(painted == 5, 6, painted))
    assert edit.words == "merged: 2 objects are object 6 now"


def test_predicted_objects_are_accepted_as_one(predicted):
    annotation = np.zeros(predicted.shape, np.uint16)
    result = after(annotation, merge(annotation, predicted, stroke((15, 25), (15, 35)), 2))
    assert np.array_equal(result == 2, predicted != 0) and not (result == 1).any()


def test_a_predicted_object_joins_a_painted_one(painted, predicted):
    painted[painted == 6] = 0
    result = after(painted, merge(painted, predicted, stroke((15, 35), (15, 25)), 7))
    assert np.array_equal(result == 5, predicted != 0)


def test_what_is_predicted_of_a_painted_object_is_no_second_one(painted, predicted):
    predicted[20, 10:30] = 5  # it is predicted a little larger
    with pytest.raises(ValueError, match="not over two objects"):
        merge(painted, predicted, stroke((12, 12), (20, 12)), 7)


def test_the_prediction_of_a_painted_object_does_not_count_as_another(painted, predicted):
    painted[:] = 0
    painted[13:17, 12:16] = 9  # a dot in what is predicted as 5
    with pytest.raises(ValueError, match="not over two objects"):
        merge(painted, predicted, stroke((15, 13), (15, 25)), 10)
    edit = merge(painted, predicted, stroke((15, 13), (15, 35)), 10)
    assert np.array_equal(after(painted, edit) == 9, predicted != 0)  # that of the dot is the dot's
    assert edit.words == "merged: 2 objects are object 9 now"


@pytest.mark.parametrize("gap", [1, 2, 5])
@pytest.mark.parametrize("corners", [((15, 12), (15, 45)), ((11, 12), (19, 45))])
def test_the_gap_between_objects_that_are_merged_is_theirs(gap, corners):
    annotation = NOTHING.astype(np.uint16)
    annotation[10:20, 10:20], annotation[10:20, 20 + gap : 50] = 5, 6
    result = after(annotation, merge(annotation, NOTHING, stroke(*corners), 7))
    whole = np.zeros(annotation.shape, bool)
    whole[10:20, 10:50] = True
    assert not result[~whole].any() and (result[13:17, 10:50] == 5).all()
    assert ndimage.label(result)[1] == 1


def test_each_gap_is_closed_by_its_own_width():
    annotation = np.zeros((92, 90), np.uint16)
    annotation[0:40, 0:40], annotation[0:40, 44:84], annotation[52:92, 44:84] = 5, 6, 7
    spots = along([(20, 20), (20, 64), (72, 64)], annotation.shape)
    result = after(annotation, merge(annotation, np.zeros_like(annotation), spots, 8))
    assert (result[10:30, 40:44] == 5).all() and (result[40:52, 54:74] == 5).all()
    assert not result[42:, :40].any()


def test_objects_far_apart_get_one_number_and_no_thread_between_them():
    annotation = NOTHING.astype(np.uint16)
    annotation[10:16, 4:10], annotation[20:26, 50:56] = 5, 6
    edit = merge(annotation, NOTHING, stroke((13, 7), (23, 53)), 7)
    assert np.array_equal(after(annotation, edit), np.where(annotation, 5, 0))


def test_what_is_predicted_beside_the_stroke_is_no_gap():
    annotation = np.zeros((45, 90), np.uint16)
    predicted = annotation.astype(np.uint32)
    annotation[0:41, 0:20], annotation[0:41, 60:80] = 5, 6
    predicted[0:41, 0:22], predicted[0:41, 60:80], predicted[15:39, 28:52] = 1, 2, 3
    edit = merge(annotation, predicted, along([(5, 10), (5, 70)], annotation.shape), 8)
    result = after(annotation, edit)
    assert not result[predicted == 3].any() and (result[20, :28] == 5).all()


def test_only_predicted_objects_can_be_cut_by_the_view():
    annotation = NOTHING.astype(np.uint16)
    annotation[5:35, 10:20], annotation[5:35, 22:30] = 5, 6
    edit = merge(annotation, NOTHING, stroke((15, 12), (15, 25)), 7)
    view = [(slice(10, 20), slice(0, 60))]
    assert not edit.is_cut(annotation, NOTHING, view)
    predicted = np.where(annotation == 6, annotation, 0)
    annotation[annotation == 6] = 0
    edit = merge(annotation, predicted, stroke((15, 12), (15, 25)), 7)
    assert edit.is_cut(annotation, predicted, view)


def test_background_that_is_painted_in_the_gap_stays():
    annotation = NOTHING.astype(np.uint16)
    annotation[10:20, 10:20], annotation[10:20, 22:30], annotation[10:13, 20:22] = 5, 6, 1
    result = after(annotation, merge(annotation, NOTHING, stroke((15, 12), (15, 25)), 7))
    assert (result[10:13, 20:22] == 1).all() and (result[15, 10:30] == 5).all()


def test_pieces_of_one_number_are_one_object(painted):
    painted[10:20, 30:34] = 0
    painted[painted == 6] = 5
    with pytest.raises(ValueError, match="these are object 5 already"):
        merge(painted, NOTHING, stroke((15, 25), (15, 38)), 7)
    painted[30:35, 20:40] = 6
    edit = merge(painted, NOTHING, stroke((15, 25), (15, 38), (32, 38)), 7)
    assert edit.words == "merged: 2 objects are object 5 now"


def test_splitting_and_merging_gives_one_object_again(painted):
    parts = after(painted, split(painted, NOTHING, stroke((5, 15), (25, 15)), 7))
    whole = after(parts, merge(parts, NOTHING, stroke((15, 25), (15, 12)), 8))
    assert np.array_equal(whole, painted)
