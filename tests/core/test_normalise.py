"""Intensities: robust statistics measured once, and what the network gets to see."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_unet.core.normalise import (
    CLIP,
    Intensity,
    choose_method,
    count_nonfinite,
    measure_intensity,
    normalise,
    sample_regions,
)


def measure(array):
    return measure_intensity(lambda region: array[:, *region], array.shape[1:])


def test_outliers_do_not_move_the_range():
    image = np.random.default_rng(0).normal(100, 10, (1, 512, 512))
    image[0, :5, :5] = 1e6
    measured = measure(image)
    assert 70 < measured.low[0] < 85 and 120 < measured.high[0] < 145


def test_each_channel_has_its_own_range():
    image = np.stack([np.linspace(0, 1, 4096), np.linspace(1000, 3000, 4096)]).reshape(2, 64, 64)
    measured = measure(image)
    assert measured.high[0] < 1 < 1000 < measured.low[1] < measured.high[1] < 3000


def test_nan_and_infinity_are_left_out():
    clean = np.random.default_rng(0).random((1, 100, 100))
    dirty = np.concatenate([clean, np.full((1, 100, 100), np.nan), np.full((1, 100, 100), np.inf)], axis=1)
    assert measure(dirty) == measure(clean)


@pytest.mark.parametrize("value", [0, 7, 1e30, -3.5, 1.7e308, -1.7e308, np.nan])
def test_a_constant_image_becomes_finite_and_constant(value):
    image = np.full((1, 8, 8), value)
    result = normalise(image, measure(image))
    assert np.isfinite(result).all() and np.ptp(result) == 0


def test_rare_signal_on_a_constant_background_stays_visible():
    image = np.zeros((1, 200, 200), np.uint8)
    image[0, 5, 5:10] = 200
    result = normalise(image, measure(image))
    assert result.max() - result.min() == 2


def test_a_large_stack_is_sampled_in_at_most_64_small_chunks():
    seen = []

    def read(region):
        seen.append(region)
        return rng.integers(0, 255, (1, *(part.stop - part.start for part in region)), np.uint8)

    rng = np.random.default_rng(0)
    measure_intensity(read, (3, 5000, 100_000, 100_000))
    assert len(seen) == 64
    assert sum(np.prod([part.stop - part.start for part in region]) for region in seen) <= 64 * 128 * 128
    assert len({region[1].start for region in seen}) == 64


@given(st.lists(st.integers(1, 400), min_size=2, max_size=4), st.integers(1, 64))
def test_samples_lie_inside_and_are_the_same_each_time(shape, n_chunks):
    regions = sample_regions(shape, (16, 16), n_chunks)
    assert regions == sample_regions(shape, (16, 16), n_chunks)
    for region in regions:
        assert all(0 <= part.start < part.stop <= size for part, size in zip(region, shape, strict=True))


@pytest.mark.parametrize("dtype", ["uint8", ">u2", "int32", "uint64", "float16", ">f4", "float64", "bool"])
def test_every_type_is_mapped_alike(dtype):
    raw = np.array([[0, 1, 1, 0]]).astype(dtype)
    raw.flags.writeable = False
    result = normalise(raw, Intensity((0.0,), (1.0,)))
    assert result.dtype == np.float32 and result.dtype.isnative
    np.testing.assert_array_equal(result, [[-1, 1, 1, -1]])


def test_wide_integers_keep_small_differences():
    raw = np.array([[2**30, 2**30 + 1]], np.int32)
    result = normalise(raw, Intensity((2.0**30,), (2.0**30 + 1,)))
    np.testing.assert_array_equal(result, [[-1, 1]])


def test_nonfinite_pixels_are_raw_zero_and_the_input_is_not_changed():
    raw = np.array([[np.nan, np.inf, -np.inf, 0.0, 1.0]])
    result = normalise(raw, Intensity((0.0,), (1.0,)))
    np.testing.assert_array_equal(result, [[-1, -1, -1, -1, 1]])
    assert np.isnan(raw[0, 0])


def test_extremes_are_clipped():
    result = normalise(np.array([[-1e38, 1e38]], np.float32), Intensity((0.0,), (1.0,)))
    assert tuple(result[0]) == CLIP


def test_nonfinite_pixels_are_counted():
    assert count_nonfinite(np.array([np.nan, 1, -np.inf])) == 2
    assert count_nonfinite(np.zeros(5, np.uint8)) == 0


def test_other_channels_than_measured_are_an_error():
    with pytest.raises(ValueError, match="2 channels"):
        normalise(np.zeros((2, 3)), Intensity((0.0,), (1.0,)))


def test_an_empty_range_is_an_error():
    with pytest.raises(ValueError, match="low has to be"):
        Intensity((1.0,), (1.0,))


def test_dim_structures_are_lifted_in_mostly_dark_images_only():
    dark = np.full((1, 100, 100), 10.0)
    dark[:, :3], dark[:, 3:6] = 200.0, 30.0
    grey = np.linspace(0, 1, 10_000).reshape(1, 100, 100)
    assert choose_method([measure(dark)]) == "percentile-asinh"
    assert choose_method([measure(grey)]) == "percentile"
    linear = measure(dark)
    compressed = replace(linear, method="percentile-asinh")
    assert normalise(dark, linear)[0, 4, 0] < -0.7
    assert normalise(dark, compressed)[0, 4, 0] > -0.4
    for each in (linear, compressed):  # the ends of the range stay where they are
        assert np.ptp(normalise(dark, each)) == pytest.approx(2, abs=1e-5)


def test_an_unknown_way_to_normalise_is_refused():
    with pytest.raises(ValueError, match=r"'zscore': choose one of percentile, percentile-asinh"):
        Intensity((0.0,), (1.0,), method="zscore")


CELLS = np.random.default_rng(0).normal(1000, 200, (64, 64)).round()


@given(
    before=st.tuples(st.integers(0, 300), st.integers(0, 300)),
    after=st.tuples(st.integers(0, 900), st.integers(0, 900)),
    fill=st.sampled_from([0, -1, 65535, 3e9]),
)
@settings(max_examples=25, deadline=None)
def test_padding_of_any_size_and_value_changes_nothing(before, after, fill):
    """But for thin padding, which may be anything."""
    before, after = (tuple(0 if 0 < n < 9 else n for n in each) for each in (before, after))
    padded = np.pad(CELLS, tuple(zip(before, after, strict=True)), constant_values=fill)[None]
    expected, found = measure(CELLS[None]), measure(padded)
    assert (found.low, found.high, found.median) == (expected.low, expected.high, expected.median)
    inside = tuple(slice(at, at + 64) for at in before)
    assert (normalise(padded, found)[(0, *inside)] == normalise(CELLS[None], expected)[0]).all()
    outside = np.ones(padded.shape[1:], bool)
    outside[inside] = False
    assert (normalise(padded, found)[0, outside] == -1).all()


def test_content_is_found_in_a_mosaic_and_in_a_sparse_stack():
    mosaic = np.zeros((1, 3000, 3000), np.uint16)
    mosaic[0, 2000:2064, 500:564] = CELLS
    stack = np.zeros((1, 300, 256, 256), np.uint16)
    for z in (40, 170, 250):
        stack[0, z, 100:164, 100:164] = CELLS
    expected = measure(CELLS[None].astype(np.uint16))
    for image in (mosaic, stack):
        found = measure(image)
        assert found.low == pytest.approx(expected.low, rel=0.03)
        assert found.high == pytest.approx(expected.high, rel=0.03)


def test_an_empty_image_of_any_size_is_read_in_a_bounded_number_of_small_pieces():
    seen = []

    def read(region):
        seen.append(np.prod([part.stop - part.start for part in region]))
        return np.zeros((1, *(part.stop - part.start for part in region)), np.uint8)

    found = measure_intensity(read, (5000, 100_000, 100_000))
    assert found.low == (0.0,) and found.high == (1.0,)
    assert len(seen) == 64 + 1024 + 8192 and max(seen) <= 128 * 128


def test_dark_background_without_noise_is_no_padding_where_the_image_has_such_pixels():
    """An 8-bit image of dim nuclei has solid black areas, and black pixels everywhere else too."""
    rng = np.random.default_rng(0)
    image = np.zeros((1, 400, 400), np.uint8)
    image[0, :200, :200] = rng.poisson(0.5, (200, 200))
    image[0, 50:80, 50:80] = rng.integers(50, 200, (30, 30))
    found = measure(image)
    assert not found.padding
    low, high, median = (float(np.percentile(image, q)) for q in (1, 99.8, 50))
    assert (found.low, found.high, found.median) == ((low,), (high,), (median,))


def test_pixels_that_are_not_finite_are_as_dark_as_the_background():
    """Raw 0 may be the brightest value that there is."""
    values = CELLS[None] - 5000
    values[0, :, :16] = np.nan
    values[0, 0, 0], values[0, 0, 1] = np.inf, -np.inf
    result = normalise(values, measure(values))
    assert (result[0, :, :16] == -1).all() and np.isfinite(result).all()


def test_channels_are_padded_by_themselves():
    image = np.stack([np.pad(CELLS, 100), np.pad(CELLS, 100, constant_values=7000)])
    found = measure(image)
    assert found.padding == (0.0, 7000.0) and found.low[0] == found.low[1]


def test_content_of_a_channel_is_found_though_another_is_full():
    full = np.random.default_rng(0).normal(500, 9, (4000, 4000)).astype(np.float32)
    sparse = np.zeros_like(full)
    sparse[1900:1964, 1900:1964] = CELLS
    found = measure(np.stack([full, sparse]))
    alone = measure(CELLS[None])
    assert found.high[0] < 550
    np.testing.assert_allclose((found.low[1], found.high[1]), (alone.low[0], alone.high[0]), rtol=0.05)
