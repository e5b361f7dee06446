"""Another voxel size: the same picture, whatever is read at once, and every pixel gets its result."""

from dataclasses import replace
from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_unet.core.io.image import Image
from napari_unet.core.resampling import COARSER, Regrid, resampled

SIZES = st.floats(0.2, 5)


def make(pixels, axes="YX", spacing=None):
    n_channels = pixels.shape[axes.index("C")] if "C" in axes else 1
    spacing = spacing or (1.0,) * len(set(axes) & set("ZYX"))
    return Image(pixels, axes, tuple(spacing), "µm", ("",) * n_channels, "cells")


@st.composite
def resamplings(draw):
    axes = draw(st.sampled_from(["YX", "YXC", "TZYX", "CZYX"]))
    shape = draw(st.tuples(*[st.integers(1, 12)] * len(axes)))
    n_axes = len(set(axes) & set("ZYX"))
    image = make(
        np.random.default_rng(0).integers(0, 65536, shape, np.uint16),
        axes,
        draw(st.tuples(*[SIZES] * n_axes)),
    )
    return image, resampled(image, draw(st.tuples(*[SIZES] * n_axes)))


@st.composite
def tiled(draw):
    image, view = draw(resamplings())
    edges = [
        sorted({0, size, *draw(st.sets(st.integers(0, size), max_size=3))}) for size in view.spatial_shape
    ]
    return image, view, list(product(*(list(map(slice, along, along[1:])) for along in edges)))


@given(tiled(), st.data())
def test_tiles_of_a_view_are_the_whole_view(case, data):
    _, view, regions = case
    t = data.draw(st.integers(0, view.n_timepoints - 1))
    whole = view.read(t=t)
    for region in regions:
        np.testing.assert_array_equal(view.read(region, t=t), whole[:, *region])


@given(tiled())
def test_results_of_tiles_reach_every_pixel_once_and_from_where_it_lies(case):
    image, view, regions = case
    written = np.zeros(image.spatial_shape, int)
    result = np.zeros((2, *image.spatial_shape), int)  # a channel axis is left alone
    numbers = np.arange(np.prod(view.spatial_shape)).reshape(1, *view.spatial_shape)

    class Sink:
        def write(self, region, array):
            assert array.size
            written[region[1:]] += 1
            result[region] = array

    sink = Regrid(Sink(), image, view)
    for region in regions:
        sink.write((slice(1, 2), *region), numbers[:, *region])
    assert (written == 1).all() and not result[0].any()
    for centre, size, nearest in zip(
        np.indices(image.spatial_shape),
        np.divide(view.spacing, image.spacing),
        np.unravel_index(result[1], view.spatial_shape),
        strict=True,
    ):
        distance = abs((centre + 0.5) / size - (nearest + 0.5))
        assert (
            distance <= 0.5 + 0.5 * (nearest == nearest.max()) + 1e-9
        ).all()  # the last ones reach further


@given(resamplings())
def test_a_view_covers_the_same_extent_to_half_a_pixel(case):
    image, view = case
    assert view.axes == image.axes and (view is image or view.dtype == np.float32)
    for size, old, n_pixels, new in zip(
        image.spatial_shape, image.spacing, view.spatial_shape, view.spacing, strict=True
    ):
        assert n_pixels >= 1 and (abs(n_pixels * new - size * old) <= new / 2 + 1e-9 or n_pixels == 1)


@pytest.mark.parametrize("new", [0.3, 0.5, 1.4, 1.6, 2.0, 3.7])
def test_a_ramp_stays_the_ramp_of_its_place(new):
    view = resampled(make(np.arange(60.0).reshape(1, 60) + 0.5), (1.0, new))  # value = distance from the edge
    expected = (np.arange(view.spatial_shape[1]) + 0.5) * new
    inside = (expected > new / 2 + 0.5) & (expected < 60 - new / 2 - 0.5)
    assert inside.sum() > 10
    tolerance = 1e-5 if new <= COARSER or new.is_integer() else 0.13  # footprints cut through pixels
    np.testing.assert_allclose(view.read()[0, 0, inside], expected[inside], atol=tolerance, rtol=1e-6)


def test_a_checkerboard_is_averaged_when_much_coarser():
    board = np.indices((40, 40)).sum(axis=0) % 2 * 200
    np.testing.assert_allclose(resampled(make(board), (2, 4)).read(), 100)
    volume = resampled(make(np.stack([board, 200 - board]), "ZYX"), (2, 1, 1))
    np.testing.assert_allclose(volume.read(), 100)


def test_the_mean_stays_when_footprints_are_cut_through_pixels():
    pixels = np.random.default_rng(0).random((50, 75))
    view = resampled(make(pixels), (2.5, 2.5))
    assert view.spatial_shape == (20, 30)
    assert view.read().mean() == pytest.approx(pixels.mean(), rel=1e-5)


@pytest.mark.parametrize(("new", "n_lost"), [(0.5, 4), (1.2, 2), (2.0, 1), (3.0, 1)])
def test_what_is_not_finite_spreads_only_to_what_draws_upon_it(new, n_lost):
    pixels = np.ones((1, 24))
    for value in (np.nan, np.inf):
        pixels[0, 10] = value
        values = resampled(make(pixels), (1.0, new)).read()[0, 0]
        finite = np.isfinite(values)
        assert (~finite).sum() == n_lost
        np.testing.assert_allclose(values[finite], 1, rtol=1e-6)


def test_only_what_lies_below_a_region_is_read():
    class Endless:
        shape, dtype = (10**6, 10**6), np.dtype(np.uint8)

        def __getitem__(self, region):
            rows, columns = region
            assert 999 <= rows.start < rows.stop <= 1201 and 1999 <= columns.start < columns.stop <= 2051
            return np.ones((rows.stop - rows.start, columns.stop - columns.start), np.uint8)

    view = resampled(make(Endless()), (2.0, 0.5))
    assert view.spatial_shape == (500_000, 2_000_000)
    assert (view.read((slice(500, 600), slice(4000, 4100))) == 1).all()
    assert view.read((slice(500, 500), slice(4000, 4100))).shape == (1, 0, 100)


def test_an_image_of_the_wanted_voxel_size_is_left_alone():
    image = make(np.arange(64, dtype=np.uint16).reshape(4, 4, 4), "ZYX", (2.0, 0.65, 0.65))
    assert resampled(image, (2, 0.6499999, 0.65)) is image
    planes = resampled(image, (2.001, 1.3, 1.3))
    assert planes.spacing == (2.0, 1.3, 1.3) and planes.spatial_shape == (4, 2, 2)
    np.testing.assert_allclose(planes.read(), image.read().reshape(1, 4, 2, 2, 2, 2).mean(axis=(3, 5)))


def test_what_else_is_known_of_an_image_is_kept():
    image = replace(make(np.zeros((6, 6, 2)), "YXC"), channels=("dna", "actin"))
    view = resampled(image, (2, 2))
    assert replace(view, data=image.data, spacing=image.spacing).__dict__ == image.__dict__


@pytest.mark.parametrize("spacing", [(1.0,), (1.0, 0.0), (1.0, np.nan), (np.inf, 1.0), (1.0, -1.0)])
def test_a_voxel_size_that_is_none_is_refused(spacing):
    with pytest.raises(
        ValueError, match=r"cells: no image of voxel size (1|inf).*positive number for each of YX"
    ):
        resampled(make(np.zeros((4, 4))), spacing)
