"""Tiles: a partition of any image, and mirrored borders."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_unet.core.tiling import TileGrid, balanced_tile_shape, mirror_indices, read_mirrored


@st.composite
def grids(draw):
    ndim = draw(st.integers(1, 3))

    def axis_sizes(low, high):
        return tuple(draw(st.lists(st.integers(low, high), min_size=ndim, max_size=ndim)))

    tile_shape, halo, margin, spare = axis_sizes(1, 12), axis_sizes(0, 9), axis_sizes(0, 5), axis_sizes(0, 3)
    read_shape = tuple(np.add(tile_shape, np.multiply(2, np.add(halo, margin))) + spare)
    return TileGrid(axis_sizes(1, 30), tile_shape, halo, margin, tuple(int(size) for size in read_shape))


@given(grids())
def test_write_regions_partition_any_shape(grid):
    written = np.zeros(grid.shape, int)
    for tile in grid:
        written[tile.write] += 1
    assert (written == 1).all()


@given(grids())
def test_crop_of_the_output_is_where_the_tile_writes(grid):
    for tile in grid:
        for read, crop, write, margin, size in zip(
            tile.read, tile.crop, tile.write, grid.margin, grid.read_shape, strict=True
        ):
            output_start = read.start + margin  # the network's output lacks the margin
            assert (output_start + crop.start, output_start + crop.stop) == (write.start, write.stop)
            assert read.stop - read.start == size and crop.stop <= size - 2 * margin


@given(grids())
def test_a_network_that_does_nothing_gives_the_image_back(grid):
    image = np.random.default_rng(0).random(grid.shape)
    result = np.full(grid.shape, np.nan)
    for tile in grid:
        places = [
            mirror_indices(part.start, part.stop, size)
            for part, size in zip(tile.read, grid.shape, strict=True)
        ]
        output = image[np.ix_(*places)]
        without_margin = output[
            tuple(slice(lost, output.shape[axis] - lost) for axis, lost in enumerate(grid.margin))
        ]
        result[tile.write] = without_margin[tile.crop]
    np.testing.assert_array_equal(result, image)


@given(st.integers(1, 20), st.integers(0, 70), st.integers(0, 70))
def test_mirroring_is_numpys_reflect_at_any_overhang(size, before, after):
    expected = np.pad(np.arange(size), (before, after), mode="reflect")
    np.testing.assert_array_equal(mirror_indices(-before, size + after, size), expected)


@given(st.integers(1, 500), st.integers(1, 300), st.sampled_from([1, 2, 8, 16]))
def test_balanced_tiles_are_multiples_of_the_stride_that_cover_with_little_waste(size, largest, stride):
    (tile,) = balanced_tile_shape((size,), (largest,), (stride,))
    n_tiles = -(-size // tile)
    assert tile % stride == 0 and tile <= max(stride, largest)
    assert n_tiles * tile - size < n_tiles * stride


def test_a_grid_is_a_sequence():
    grid = TileGrid((10, 10), (4, 4), (1, 1), (0, 0), (6, 6))
    assert len(grid) == 9 and grid[-1] == list(grid)[8]
    with pytest.raises(IndexError, match="no tile 9"):
        grid[9]


def test_tiles_that_read_too_little_or_are_empty_are_errors():
    with pytest.raises(ValueError, match="too small"):
        TileGrid((10,), (4,), (2,), (0,), (7,))
    with pytest.raises(ValueError, match="empty"):
        TileGrid((10,), (0,), (2,), (0,), (7,))


def test_a_region_beyond_the_image_reads_only_the_image():
    image, seen = np.arange(70.0).reshape(2, 5, 7), []

    def read(region):
        seen.append(region)
        return image[:, *region]

    block = read_mirrored(read, (slice(-9, 12), slice(3, 20)), (5, 7))
    expected = np.pad(image, ((0, 0), (9, 7), (0, 13)), mode="reflect")[:, :, 3:20]
    np.testing.assert_array_equal(block, expected)
    assert seen == [(slice(0, 5), slice(0, 7))]
