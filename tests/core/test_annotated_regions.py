"""Regions around annotated cells."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from napari_unet.core.annotated_regions import (
    CELL_SHAPE,
    cell_pixels,
    cells_in,
    example_regions,
    labelled_cells,
    regions_around,
)

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
                    region, cell_pixels(cell), CELL_SHAPE[-len(shape) :], shape, strict=True
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
            pixels = cell_pixels(cell)
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


@st.composite
def stroked(draw):
    """A small volume with some boxes of labels, each an object, that may touch."""
    shape = draw(st.tuples(st.integers(1, 120), st.integers(1, 900), st.integers(1, 900)))
    boxes = []
    for _ in range(draw(st.integers(1, 5))):
        first = [draw(st.integers(0, size - 1)) for size in shape]
        extent = [draw(st.integers(1, most)) for most in (6, 60, 60)]
        boxes.append(tuple(slice(at, at + n) for at, n in zip(first, extent, strict=True)))
    return shape, boxes


def cells_of(labels):
    return {z: labelled_cells(plane) for z, plane in enumerate(labels) if plane.any()}


@settings(max_examples=40)
@given(stroked(), st.sampled_from([2, 3]))
def test_examples_cover_what_is_labelled_with_context_and_cut_no_object(made, ndim):
    shape, boxes = made
    labels = np.zeros(shape, np.uint8)
    for box in boxes:
        labels[box] = 1
    regions = example_regions(cells_of(labels), shape, ndim)
    owner = np.zeros(shape, np.uint8)
    for number, region in enumerate(regions, 1):
        assert not owner[region].any(), "regions overlap"
        owner[region] = number
    structure = np.ones((3,) * 3)
    structure[[0, 2]] *= ndim == 3  # planes by themselves
    parts, n_parts = ndimage.label(labels, structure)
    assert len(regions) <= n_parts
    context = [cell // 2 if ndim == 3 or axis else 0 for axis, cell in enumerate(CELL_SHAPE)]
    for part, found in enumerate(ndimage.find_objects(parts), 1):
        (number,) = np.unique(owner[parts == part])
        region = regions[number - 1]
        for along, inside, around, size in zip(region, found, context, shape, strict=True):
            assert along.start <= max(0, inside.start - around)
            assert along.stop >= min(size, inside.stop + around)
    # as large as the boxes of what lies together, whatever the size of the image
    reach = [2 * cell for cell in CELL_SHAPE]
    for region in regions:
        inside = np.argwhere(labels[region])
        for axis, along in enumerate(region):
            assert inside[:, axis].min() <= reach[axis]
            assert along.stop - along.start - 1 - inside[:, axis].max() <= reach[axis]


@pytest.mark.parametrize("ndim", [2, 3])
def test_the_same_strokes_make_the_same_regions_in_images_of_any_size(ndim):
    cells = {700: [(3, 4)], 703: [(3, 5)]}
    small, large = ((n, 10 * n, 10 * n) for n in (1000, 4000))
    assert example_regions(cells, small, ndim) == example_regions(cells, large, ndim)


def test_a_plane_has_regions_without_z():
    assert example_regions({0: [(0, 0)]}, (5000, 5000), 2) == [(slice(0, 384), slice(0, 384))]


def test_a_plane_that_is_labelled_everywhere_is_one_region():
    every = cells_in((slice(0, 1000), slice(0, 900)))
    assert example_regions({7: every}, (90, 1000, 900), 2) == [(slice(7, 8), slice(0, 1000), slice(0, 900))]
    assert example_regions({7: every}, (90, 1000, 900), 3) == [(slice(0, 48), slice(0, 1000), slice(0, 900))]
