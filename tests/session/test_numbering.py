"""Objects keep their numbers from prediction to prediction, and go on across the borders of pieces."""

import tracemalloc

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from skimage.measure import label

from napari_unet.session.numbering import (
    facing,
    free_numbers,
    join_pieces,
    numbered_as_before,
    part_pieces,
    settle_numbers,
    sharing_most,
)

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
    numbers = numbered_as_before(found, before, 99)
    assert set(numbers[found == 1]) == {41} and set(numbers[found == 2]) == {40}


def test_new_objects_get_new_numbers_and_one_that_falls_apart_leaves_its_number_to_the_larger_part():
    before = squares((0, 0), side=10) * 9
    found = squares((0, 0), (12, 12))
    found[6:10, 0:10] = 3
    numbers = numbered_as_before(found, before, 9)
    assert numbers[8, 5] == 9 and {numbers[0, 0], numbers[13, 13]} == {10, 11}


@given(planes, planes)
def test_numbers_are_told_apart_as_what_was_found(found, before):
    numbers = numbered_as_before(found, before, 99)
    assert numbers.dtype == np.uint32
    pairs = {*zip(found.ravel().tolist(), numbers.ravel().tolist(), strict=True)}
    assert len(pairs) == len({one for one, _ in pairs}) == len({other for _, other in pairs})
    assert (numbers == 0).tolist() == (found == 0).tolist()


@given(planes)
def test_the_same_prediction_again_changes_nothing(found):
    numbers = numbered_as_before(found, np.zeros_like(found), 3)
    again = numbered_as_before(found[::-1][::-1], numbers, 99)
    assert np.array_equal(again, numbers)


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


def predict(plane, found):
    """Predict a plane in three pieces, one after the other, as an overlay shows them."""
    for columns in ((0, 10), (10, 20), (20, 30)):
        piece = plane[:, slice(*columns)]
        top = int(plane.max())
        piece[...] = numbered_as_before(label(found[:, slice(*columns)], connectivity=1), piece, top)
        part_pieces(plane, (0, len(plane)), columns)
        join_pieces(plane, (0, len(plane)), columns)
        settle_numbers(plane, top)


def test_cells_that_follow_a_blob_across_pieces_have_a_number_each():
    plane, cells = np.zeros((20, 30), np.uint32), np.zeros((20, 30), bool)
    predict(plane, np.ones((20, 30), bool))
    assert set(np.unique(plane)) == {1}
    cells[2:8, 2:7] = cells[10:16, 9:18] = cells[2:8, 12:16] = cells[3:18, 22:28] = True
    predict(plane, cells)
    parts, n_cells = label(cells, return_num=True)
    numbers = [set(np.unique(plane[parts == n]).tolist()) for n in range(1, n_cells + 1)]
    assert all(len(each) == 1 for each in numbers) and len(set.union(*numbers)) == n_cells
    before = plane.copy()
    predict(plane, cells)
    assert np.array_equal(plane, before)


@given(arrays(bool, (12, 30)), arrays(bool, (12, 30)))
def test_what_shares_a_number_hangs_together_and_the_same_again_changes_nothing(first, second):
    plane = np.zeros((12, 30), np.uint32)
    predict(plane, first)
    predict(plane, second)
    assert (plane != 0).tolist() == second.tolist()
    for number in np.unique(plane[plane != 0]):
        assert label(plane == number, connectivity=1).max() == 1
    before = plane.copy()
    predict(plane, second)
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


@given(st.lists(arrays(np.uint32, (8, 9), elements=st.integers(0, 6)), min_size=1, max_size=12))
def test_numbers_stay_as_low_as_there_are_objects_however_often_is_predicted(predictions):
    """No number is higher than the objects of two predictions one after the other together."""
    plane, most = np.zeros((8, 9), np.uint32), 0
    for found in predictions:
        n_before = len(np.unique(plane[plane > 0]))
        n_found = len(np.unique(found[found > 0]))
        most = max(most, n_before + n_found)
        top = int(plane.max())
        plane = numbered_as_before(found, plane, top)
        settle_numbers(plane, top)
        assert plane.max(initial=0) <= most
        assert len(np.unique(plane[plane > 0])) == n_found


@given(planes, st.integers(0, 9), st.integers(0, 4))
def test_free_numbers_are_the_lowest_that_nobody_has(plane, n, above):
    expected = [number for number in range(above + 1, 99) if number not in plane][:n]
    assert free_numbers(plane, n, above).tolist() == expected


def test_a_high_number_makes_no_long_table():
    plane = np.zeros((20, 30), np.uint32)
    plane[2:5, 2:5], plane[8:12, 8:14] = 2**31, 3 * 10**9
    tracemalloc.start()
    numbers = numbered_as_before(label(plane > 0), plane, 3 * 10**9)
    part_pieces(plane, (0, 20), (0, 10))
    join_pieces(plane, (0, 20), (0, 10))
    settle_numbers(plane, 2**31)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert set(np.unique(numbers)) == {0, 2**31, 3 * 10**9} and peak < 10**6
