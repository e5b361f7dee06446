"""Objects of planes are linked through z."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage

from napari_unet.core.linking import link, overlaps


@st.composite
def stacks(draw):
    """Planes (n, 8, 8) of objects whose numbers tell those of all planes apart."""
    rng = np.random.default_rng(draw(st.integers(0, 999)))
    planes = np.zeros((draw(st.integers(1, 5)), 8, 8), np.uint32)
    highest = 0
    for plane in planes:
        parts, n_parts = ndimage.label(rng.random(plane.shape) < draw(st.sampled_from([0.3, 0.5, 0.7])))
        numbers = highest + rng.permutation(n_parts) + 1
        plane[parts > 0] = numbers[parts[parts > 0] - 1]
        highest += n_parts
    return planes


def tables(planes):
    return [overlaps(*pair) for pair in pairwise(planes)]


def linked(planes, **options):
    numbers = link(np.bincount(planes.ravel()), tables(planes), **options)
    return numbers, numbers[planes]


def iou(plane, a, b, other):
    return ((plane == a) & (other == b)).sum() / ((plane == a) | (other == b)).sum()


def ball(shape, centre, radius):
    return sum((at - c) ** 2 for at, c in zip(np.indices(shape), centre, strict=True)) <= radius**2


@given(stacks())
def test_every_object_gets_a_number_and_none_is_left_out(planes):
    numbers, whole = linked(planes)
    np.testing.assert_array_equal(whole == 0, planes == 0)
    assert sorted(set(numbers[1:].tolist())) == list(range(1, int(whole.max()) + 1))
    assert numbers[0] == 0


@given(stacks(), st.sampled_from([0.1, 0.25, 0.5, 1.0]))
def test_objects_are_linked_exactly_where_each_is_the_best_of_the_other(planes, least_iou):
    numbers, _ = linked(planes, least_iou=least_iou)
    for below, above in pairwise(planes):
        of_below, of_above = (np.unique(plane[plane > 0]) for plane in (below, above))
        table = np.array([[iou(below, a, b, above) for b in of_above] for a in of_below])
        for (i, j), value in np.ndenumerate(table):
            best = value == table[i].max() and value == table[:, j].max() and value >= least_iou
            is_linked = numbers[of_below[i]] == numbers[of_above[j]]
            assert not is_linked or best
            is_only = (table[i] == value).sum() == (table[:, j] == value).sum() == 1
            assert is_linked or not (best and is_only)


@given(stacks())
def test_a_chain_has_one_object_in_each_plane_and_skips_none(planes):
    numbers, _ = linked(planes)
    for number in range(1, int(numbers.max()) + 1):
        members = np.flatnonzero(numbers == number)
        at = [int(np.flatnonzero((planes == member).any((1, 2)))[0]) for member in members]
        assert sorted(at) == list(range(min(at), max(at) + 1))


@given(stacks(), st.integers(1, 7), st.randoms())
def test_pieces_of_planes_in_any_order_link_like_whole_planes(planes, cut, random):
    pieces = tables(planes[:, :cut]) + tables(planes[:, cut:])
    random.shuffle(pieces)
    numbers = link(np.bincount(planes.ravel()), iter(pieces))
    np.testing.assert_array_equal(numbers, linked(planes)[0])


def test_sections_of_balls_that_touch_in_a_plane_stay_two_balls():
    shape = (20, 20, 40)
    truth = ball(shape, (10, 10, 12), 7.5) + 2 * ball(shape, (10, 10, 28), 7.5)
    planes, highest = np.zeros(shape, np.uint32), 0
    for z, plane in enumerate(truth):
        for number in np.unique(plane[plane > 0]):
            highest += 1
            planes[z][plane == number] = highest
    _, whole = linked(planes)
    np.testing.assert_array_equal(whole, truth)


def test_an_object_that_parts_in_two_goes_on_in_the_larger():
    planes = np.uint32([[1, 1, 1, 1, 1], [2, 2, 0, 3, 3], [4, 4, 0, 5, 0]])
    planes[1, 2] = 2
    assert linked(planes)[1].tolist() == [[1] * 5, [1, 1, 1, 2, 2], [1, 1, 0, 2, 0]]


def test_numbers_that_no_object_has_leave_no_gap():
    planes = np.uint32([[3, 0, 9], [7, 0, 0]])
    numbers, whole = linked(planes)
    assert whole.tolist() == [[1, 0, 2], [1, 0, 0]] and numbers.shape == (10,)


def test_many_planes_are_one_chain():
    planes = np.arange(1, 1001, dtype=np.uint32)[:, None] * np.ones((1, 4), np.uint32)
    assert linked(planes)[1].max() == 1


def test_large_numbers_are_not_cut():
    high = 2**32 - 1
    assert overlaps([high, high], np.uint32([high - 1, 0])).tolist() == [[high, high - 1, 1]]


def test_nothing_links_nothing():
    assert link([5], []).tolist() == [0]
    assert link([5, 2, 2], []).tolist() == [0, 1, 2]


@pytest.mark.parametrize("least_iou", [0, -1, 1.5])
def test_an_impossible_overlap_is_refused(least_iou):
    with pytest.raises(ValueError, match="above 0, at most 1"):
        link([0, 1], [], least_iou=least_iou)


@pytest.mark.parametrize("row", [[1, 9, 1], [1, 3, 1]])
def test_an_overlap_of_an_object_without_a_size_is_refused(row):
    with pytest.raises(ValueError, match="count all objects anew"):
        link([0, 1, 1, 0], [np.array([row])])


def test_planes_of_two_shapes_are_refused():
    with pytest.raises(ValueError, match=r"\(2,\) and \(3,\)"):
        overlaps([1, 1], [1, 1, 1])
