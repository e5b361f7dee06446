"""Regions around annotated cells."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from napari_unet.core.annotated_regions import CELL_SHAPE, cells_in, pixels_of, regions_around

shapes = st.tuples(st.integers(1, 200), st.integers(1, 3000), st.integers(1, 3000))


@st.composite
def painted(draw):
    shape = draw(shapes)[-draw(st.sampled_from([2, 3])) :]
    grid = [-(-size // cell) for size, cell in zip(shape, CELL_SHAPE[-len(shape) :], strict=True)]
    cells = st.tuples(*(st.integers(0, n - 1) for n in grid))
    return shape, draw(st.sets(cells, min_size=1, max_size=12))


@given(painted())
def test_each_cell_lies_whole_in_one_region_and_half_a_cell_from_its_border(given_cells):
    shape, cells = given_cells
    regions = regions_around(cells, shape)
    for cell in cells:
        holding = [
            region
            for region in regions
            if all(
                part.start <= max(0, p.start - c // 2) and min(size, p.stop + c // 2) <= part.stop
                for part, p, c, size in zip(
                    region, pixels_of(cell), CELL_SHAPE[-len(shape) :], shape, strict=True
                )
            )
        ]
        assert len(holding) == 1


@given(painted())
def test_regions_stay_inside_and_never_overlap(given_cells):
    shape, cells = given_cells
    count = np.zeros([-(-size // 16) for size in shape], np.uint8)
    for region in regions_around(cells, shape):
        assert all(0 <= part.start < part.stop <= size for part, size in zip(region, shape, strict=True))
        count[tuple(slice(part.start // 16, -(-part.stop // 16)) for part in region)] += 1
    assert count.max() == 1


@given(painted())
def test_cells_in_a_region_are_those_whose_pixels_it_touches(given_cells):
    shape, cells = given_cells
    for region in regions_around(cells, shape):
        touched = set(cells_in(region))
        for cell in cells:
            pixels = pixels_of(cell)
            meets = all(p.start < r.stop and r.start < p.stop for p, r in zip(pixels, region, strict=True))
            assert (cell in touched) == meets


def test_far_strokes_are_regions_of_their_own_and_near_ones_share_one():
    assert len(regions_around([(0, 0), (0, 2)], (256, 2048))) == 2
    assert len(regions_around([(0, 0), (1, 1)], (2048, 2048))) == 1


def test_boxes_of_hooked_groups_merge_where_they_overlap():
    hook = [(0, 0), (1, 0), (2, 0), (3, 0), (3, 1), (3, 2), (3, 3)]
    assert regions_around([*hook, (1, 2)], (1024, 1024)) == [(slice(0, 1024), slice(0, 1024))]


def test_nothing_painted_is_no_region():
    assert regions_around([], (300, 300)) == []
