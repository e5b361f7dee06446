"""Objects keep their numbers from prediction to prediction, and go on across the borders of pieces."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from skimage.measure import label

from napari_unet.session.numbering import facing, join_pieces, numbered_as_before, part_pieces, sharing_most

planes = arrays(np.uint32, (6, 7), elements=st.integers(0, 5))


def squares(*corners, shape=(20, 20), side=5):
    """Return an array with a numbered square at each corner."""
    plane = np.zeros(shape, np.uint32)
    for number, (row, column) in enumerate(corners, 1):
        plane[row : row + side, column : column + side] = number
    return plane


def test_an_object_that_has_moved_a_little_keeps_its_number_whatever_it_was_found_as():
    before = np.array([0, 40, 41], np.uint32)[squares((1, 1), (10, 10))]
    found = squares((11, 10), (2, 1))
    numbers, highest = numbered_as_before(found, before, 41)
    assert highest == 41
    assert set(numbers[found == 1]) == {41} and set(numbers[found == 2]) == {40}


def test_new_objects_get_new_numbers_and_one_that_falls_apart_leaves_its_number_to_the_larger_part():
    before = squares((0, 0), side=10) * 9
    found = squares((0, 0), (12, 12))
    found[6:10, 0:10] = 3
    numbers, highest = numbered_as_before(found, before, 9)
    assert numbers[8, 5] == 9 and {numbers[0, 0], numbers[13, 13]} == {10, 11} and highest == 11


@given(planes, planes)
def test_numbers_are_told_apart_as_what_was_found(found, before):
    numbers, highest = numbered_as_before(found, before, 5)
    assert numbers.dtype == np.uint32 and highest >= numbers.max()
    pairs = {*zip(found.ravel().tolist(), numbers.ravel().tolist(), strict=True)}
    assert len(pairs) == len({one for one, _ in pairs}) == len({other for _, other in pairs})
    assert (numbers == 0).tolist() == (found == 0).tolist()


@given(planes)
def test_the_same_prediction_again_changes_nothing(found):
    numbers, highest = numbered_as_before(found, np.zeros_like(found), 3)
    again, same = numbered_as_before(found[::-1][::-1], numbers, highest)
    assert np.array_equal(again, numbers) and same == highest


@given(planes, planes)
def test_partners_are_one_to_one_and_share_most_pixels(first, second):
    table = sharing_most(first, second).tolist()
    for one, other, n_shared in table:
        assert n_shared == np.sum((first == one) & (second == other))
        assert all(n_shared >= np.sum((first == one) & (second == n)) for n in range(1, 6))
        assert all(n_shared >= np.sum((first == n) & (second == other)) for n in range(1, 6))
    assert len({row[0] for row in table}) == len({row[1] for row in table}) == len(table)
    assert table or not ((first != 0) & (second != 0)).any()


def test_an_object_across_borders_of_pieces_becomes_one_with_the_lower_number():
    plane = np.zeros((20, 20), np.uint32)
    plane[8:10, 4:16], plane[10:12, 4:10], plane[10:12, 10:16] = 7, 5, 9
    join_pieces(plane, (10, 20), (0, 10))  # its upper and right neighbours are there already
    join_pieces(plane, (10, 20), (10, 20))
    assert set(np.unique(plane)) == {0, 5}


def test_neighbours_that_touch_at_a_border_stay_two():
    plane = np.zeros((20, 20), np.uint32)
    plane[5:10, 0:8], plane[5:10, 8:16] = 1, 2
    plane[10:15, 0:10], plane[10:15, 10:16] = 3, 4  # 3 lies below 1, and reaches below 2
    join_pieces(plane, (10, 20), (0, 20))
    assert set(np.unique(plane)) == {0, 1, 2}
    assert (plane[10:15, 0:10] == 1).all() and (plane[10:15, 10:16] == 2).all()


def predict(plane, found, highest):
    """Predict a plane in three pieces, one after the other, as an overlay shows them."""
    for columns in ((0, 10), (10, 20), (20, 30)):
        piece = plane[:, slice(*columns)]
        piece[...], highest = numbered_as_before(
            label(found[:, slice(*columns)], connectivity=1), piece, highest
        )
        highest = part_pieces(plane, (0, len(plane)), columns, highest)
        join_pieces(plane, (0, len(plane)), columns)
    return highest


def test_cells_that_follow_a_blob_across_pieces_have_a_number_each():
    plane, cells = np.zeros((20, 30), np.uint32), np.zeros((20, 30), bool)
    highest = predict(plane, np.ones((20, 30), bool), 0)
    assert set(np.unique(plane)) == {1}
    cells[2:8, 2:7] = cells[10:16, 9:18] = cells[2:8, 12:16] = cells[3:18, 22:28] = True
    highest = predict(plane, cells, highest)
    parts, n_cells = label(cells, return_num=True)
    numbers = [set(np.unique(plane[parts == n]).tolist()) for n in range(1, n_cells + 1)]
    assert all(len(each) == 1 for each in numbers) and len(set.union(*numbers)) == n_cells
    before = plane.copy()
    predict(plane, cells, highest)
    assert np.array_equal(plane, before)


@given(arrays(bool, (12, 30)), arrays(bool, (12, 30)))
def test_what_shares_a_number_hangs_together_and_the_same_again_changes_nothing(first, second):
    plane = np.zeros((12, 30), np.uint32)
    highest = predict(plane, first, 0)
    highest = predict(plane, second, highest)
    assert (plane != 0).tolist() == second.tolist() and highest >= plane.max()
    for number in np.unique(plane[plane != 0]):
        assert label(plane == number, connectivity=1).max() == 1
    before = plane.copy()
    predict(plane, second, highest)
    assert np.array_equal(plane, before)


def test_a_short_contact_is_no_object_that_goes_on():
    inside, outside = np.zeros(20, np.uint32), np.zeros(20, np.uint32)
    inside[2:10], outside[9:18] = 1, 2
    assert not list(facing(inside, outside))
    outside[4:18] = 2
    assert list(facing(inside, outside)) == [(1, 2)]


def test_nothing_beyond_the_plane_is_looked_at():
    plane = squares((0, 0), (15, 15))
    before = plane.copy()
    join_pieces(plane, (0, 20), (0, 20))
    assert np.array_equal(plane, before)
