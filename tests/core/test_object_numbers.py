"""What the seeds of blocks are called in the whole: from notes alone, in any order."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from napari_unet.core.object_numbers import SeedNumbers


@st.composite
def rows_of_blocks(draw):
    """Sizes of the seeds of blocks in a row; the last of each block may go on in the first of the next."""
    sizes = draw(st.lists(st.lists(st.integers(1, 9), max_size=5), min_size=1, max_size=6))
    goes_on = draw(st.lists(st.booleans(), min_size=len(sizes), max_size=len(sizes)))
    return sizes, [
        wish and bool(here) and bool(there)
        for wish, here, there in zip(goes_on, sizes, [*sizes[1:], []], strict=True)
    ]


@given(rows_of_blocks(), st.integers(1, 20), st.randoms(use_true_random=False))
def test_seeds_are_dropped_that_are_too_small_in_all_their_blocks_together(row, least, random):
    sizes, goes_on = row
    tiles, faces, wholes = [], [], []  # of each seed in the whole: size, whether a block has noted it
    expected = []
    for task, own in enumerate(sizes):
        comes = task > 0 and goes_on[task - 1]
        at_sides = ({1} if comes else set()) | ({len(own)} if goes_on[task] else set())
        parts = [[each, min(own[each - 1], least)] for each in sorted(at_sides)]
        tiles.append((task, {"n_objects": len(own)} | ({"parts": parts} if parts else {})))
        faces.append((task, {"pairs": [[task + 1, [[len(own), 1]]]]} if goes_on[task] else {}))
        places = []
        for each, size in enumerate(own, start=1):
            if not (each == 1 and comes):
                wholes.append([0, False])
            wholes[-1][0] += size
            wholes[-1][1] |= each in at_sides
            places.append(len(wholes))
        expected.append(places)
    random.shuffle(tiles), random.shuffle(faces)
    seeds = SeedNumbers(len(sizes), lambda: tiles, lambda: faces, least)
    dropped = {n for n, (size, noted) in enumerate(wholes, start=1) if noted and size < least}
    assert seeds.dropped.tolist() == sorted(dropped) and seeds.n_joined == len(wholes)
    for task, places in enumerate(expected):
        called = [0, *(0 if place in dropped else place for place in places)]
        np.testing.assert_array_equal(seeds.of_block(task), called)
