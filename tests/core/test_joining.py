"""Objects labelled block by block are those of the whole."""

from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_unet.core.joining import join, touching
from napari_unet.core.numbered import connected_objects


def label_blocks(foreground, cuts):
    """Return for every block, by its place in the grid: where it is and its own labels."""
    edges = [[0, *inner, size] for inner, size in zip(cuts, foreground.shape, strict=True)]
    regions = {
        place: tuple(slice(*edges[axis][at : at + 2]) for axis, at in enumerate(place))
        for place in product(*(range(len(along) - 1) for along in edges))
    }
    return {place: (region, connected_objects(foreground[region])) for place, region in regions.items()}


def faces(blocks):
    """Pairs of neighbouring blocks, and what touches between them."""
    numbers = {place: number for number, place in enumerate(blocks)}
    for place, axis in product(blocks, range(len(next(iter(blocks))))):
        after = tuple(at + (along == axis) for along, at in enumerate(place))
        if after in blocks:
            last = blocks[place][1].take(-1, axis=axis)
            first = blocks[after][1].take(0, axis=axis)
            yield numbers[place], numbers[after], touching(last, first)


def assemble(shape, blocks, joined):
    whole = np.zeros(shape, np.uint32)
    for number, (region, labels) in enumerate(blocks.values()):
        whole[region] = joined.numbers(number)[labels]
    return whole


@st.composite
def tilings(draw):
    shape = draw(st.sampled_from([2, 3]).flatmap(lambda n: st.tuples(*[st.integers(1, 32 // n)] * n)))
    cuts = [sorted(draw(st.sets(st.integers(1, size - 1), max_size=3))) if size > 1 else [] for size in shape]
    noise = np.random.default_rng(draw(st.integers(0, 99))).random(shape)
    return noise < draw(st.sampled_from([0.3, 0.5, 0.6, 1.0])), cuts


@given(tilings())
def test_joined_blocks_are_the_objects_of_the_whole_in_any_tiling(case):
    foreground, cuts = case
    blocks = label_blocks(foreground, cuts)
    joined = join([labels.max() for _, labels in blocks.values()], faces(blocks))
    whole = assemble(foreground.shape, blocks, joined)
    expected = connected_objects(foreground)
    matches = np.unique(np.stack((expected.ravel(), whole.ravel())), axis=1)
    n_objects = int(expected.max())
    assert joined.n_objects == n_objects
    assert sorted(matches[0]) == sorted(matches[1]) == list(range(int(foreground.all()), n_objects + 1))


def test_a_snake_through_every_block_is_one_object():
    foreground = np.zeros((63, 64), bool)
    foreground[::2] = True
    foreground[1::4, -1] = foreground[3::4, 0] = True
    blocks = label_blocks(foreground, [range(8, 63, 8), range(8, 64, 8)])
    joined = join([labels.max() for _, labels in blocks.values()], faces(blocks))
    np.testing.assert_array_equal(assemble(foreground.shape, blocks, joined), foreground)


def test_numbers_follow_the_first_appearance_without_gaps():
    pairs = [(2, 0, np.array([[1, 2]])), (1, 2, np.array([[2, 3]])), (1, 0, np.array([[1, 1]]))]
    joined = join(np.array([2, 2, 3]), pairs)
    assert joined.n_objects == 4
    assert [joined.numbers(block).tolist() for block in range(3)] == [[0, 1, 2], [0, 1, 3], [0, 2, 4, 3]]


def test_without_pairs_every_object_is_its_own():
    joined = join([1, 0, 2], [(0, 2, np.empty((0, 2), np.uint32))])
    assert [joined.numbers(block).tolist() for block in range(3)] == [[0, 1], [0], [0, 2, 3]]
    assert join([], []).n_objects == 0


def test_each_meeting_is_told_once_with_large_numbers_too():
    largest = 2**32 - 1
    first = np.array([[largest, largest], [0, 7]], np.uint32)
    second = np.array([[1, 1], [largest, largest]], np.uint32)
    np.testing.assert_array_equal(touching(first, second), [[7, largest], [largest, 1]])


def test_faces_that_differ_are_refused():
    with pytest.raises(ValueError, match=r"\(3,\) and \(4,\) differ"):
        touching(np.ones(3), np.ones(4))


@pytest.mark.parametrize(
    ("pair", "message"),
    [
        ((0, 1, [[1, 3]]), "objects"),
        ((0, 1, [[0, 1]]), "objects"),
        ((0, 2, [[1, 1]]), "blocks"),
        ((-1, 0, [[1, 1]]), "blocks"),
    ],
)
def test_a_pair_of_what_does_not_exist_is_refused(pair, message):
    with pytest.raises(ValueError, match=f"^{message} .* are not among .*; label the blocks anew"):
        join([2, 2], [(*pair[:2], np.array(pair[2]))])


def test_more_objects_than_32_bits_can_number_are_refused():
    with pytest.raises(ValueError, match="4294967296 objects are more than 32 bits can number"):
        join([2**31, 2**31], [])
