"""Intensities: robust statistics measured once, and what the network gets to see."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
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


@pytest.mark.parametrize("value", [0, 7, 1e30, -3.5, np.nan])
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
        return np.zeros((1, *(part.stop - part.start for part in region)), np.uint8)

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
