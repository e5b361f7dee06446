import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import ndimage

from napari_unet.core.weights import boundary_weights, class_weights, separation_weights


def by_definition(labels, w0=10.0, sigma=5.0, spacing=None):
    """One distance map per object."""
    steps = np.array(spacing or [1.0] * labels.ndim) / min(spacing or [1.0])
    maps = [
        ndimage.distance_transform_edt(labels != one, sampling=steps)
        for one in np.unique(labels[labels != 0])
    ]
    if len(maps) < 2:
        return np.zeros(labels.shape)
    nearest, second = np.sort(maps, axis=0)[:2]
    return np.where(labels == 0, w0 * np.exp(-((nearest + second) ** 2) / (2 * sigma**2)), 0)


def discs(shape, n_discs, seed):
    rng = np.random.default_rng(seed)
    labels = np.zeros(shape, np.int32)
    grid = np.indices(shape)
    for one in range(1, n_discs + 1):
        centre = np.reshape(rng.uniform(0, shape), (-1, *[1] * len(shape)))
        labels[((grid - centre) ** 2).sum(0) < rng.uniform(2, 8) ** 2] = one
    return labels


def sparse_labels(ndim, max_side):
    shapes = hnp.array_shapes(min_dims=ndim, max_dims=ndim, min_side=1, max_side=max_side)
    return hnp.arrays(np.int16, shapes, elements=st.integers(1, 12), fill=st.just(0))


@given(labels=sparse_labels(2, 24), sigma=st.floats(0.5, 8), w0=st.floats(0.01, 50))
def test_two_dimensions_agree_with_the_definition(labels, sigma, w0):
    expected = by_definition(labels, w0, sigma)
    np.testing.assert_allclose(separation_weights(labels, w0=w0, sigma=sigma), expected, rtol=0, atol=1e-5)


@given(labels=sparse_labels(3, 9), spacing=st.tuples(*[st.floats(0.2, 20)] * 3), sigma=st.floats(0.5, 6))
def test_three_dimensions_with_spacing_agree_with_the_definition(labels, spacing, sigma):
    expected = by_definition(labels, 10, sigma, spacing)
    actual = separation_weights(labels, sigma=sigma, spacing=spacing)
    np.testing.assert_allclose(actual, expected, rtol=0, atol=1e-5)


@settings(max_examples=5)
@given(seed=st.integers(0, 1000), sigma=st.sampled_from([1.0, 5.0, 15.0]))
def test_crowded_discs_agree_with_the_definition(seed, sigma):
    labels = discs((160, 130), 60, seed)
    expected = by_definition(labels, 10, sigma)
    np.testing.assert_allclose(separation_weights(labels, sigma=sigma), expected, rtol=0, atol=1e-5)


def test_a_wide_anisotropic_field_of_objects_agrees_with_the_definition():
    labels = discs((12, 60, 70), 40, seed=3)
    spacing = (50.0, 4.0, 4.0)
    expected = by_definition(labels, 10, 5, spacing)
    np.testing.assert_allclose(separation_weights(labels, spacing=spacing), expected, rtol=0, atol=1e-5)


def test_objects_count_as_given_when_scattered_or_oddly_numbered():
    labels = np.zeros((20, 20), np.uint64)
    labels[2:5, 2:5] = labels[15:18, 2:5] = 2**63 + 5
    labels[2:5, 9:12] = 7
    np.testing.assert_allclose(separation_weights(labels), by_definition(labels), rtol=0, atol=1e-5)


def test_nested_objects_agree_with_the_definition():
    labels = np.full((30, 30), 4)
    labels[5:25, 5:25] = 0
    labels[12:18, 12:18] = 9
    np.testing.assert_allclose(separation_weights(labels), by_definition(labels), rtol=0, atol=1e-5)


def test_a_one_pixel_gap_has_the_weight_of_the_formula():
    weights = separation_weights([1, 0, 2], w0=10, sigma=5)
    np.testing.assert_allclose(weights, [0, 10 * np.exp(-4 / 50), 0], rtol=1e-6)


@pytest.mark.parametrize(
    "labels", [np.zeros((4, 5), int), np.pad([[3]], 4), np.full((3, 3), 3), np.zeros((0, 4), int)]
)
def test_without_a_second_object_the_term_is_zero(labels):
    weights = separation_weights(labels)
    assert weights.shape == labels.shape and not weights.any()


@pytest.mark.parametrize("dtype", [">u2", ">i4", "<u8", "i1"])
def test_any_integer_type_and_byte_order_gives_the_same_map(dtype):
    labels = discs((40, 40), 8, seed=1)
    labels.flags.writeable = False
    weights = separation_weights(labels.astype(dtype))
    assert weights.dtype == np.float32
    np.testing.assert_array_equal(weights, separation_weights(labels))


def test_only_relative_spacing_matters():
    labels = discs((20, 30), 8, seed=2)
    weights = [separation_weights(labels, spacing=spacing) for spacing in [(2, 1), (0.5, 0.25)]]
    np.testing.assert_array_equal(*weights)


@given(sparse_labels(2, 12))
def test_class_weights_give_both_classes_the_same_total_and_a_mean_of_one(labels):
    weights = class_weights(labels)
    assert weights.mean() == pytest.approx(1, rel=1e-5)
    if (labels == 0).any() and (labels != 0).any():
        assert weights[labels == 0].sum() == pytest.approx(weights[labels != 0].sum(), rel=1e-4)


def test_boundary_weights_are_balance_plus_separation():
    labels = discs((30, 30), 6, seed=4)
    expected = class_weights(labels) + separation_weights(labels, w0=3, sigma=2)
    np.testing.assert_array_equal(boundary_weights(labels, w0=3, sigma=2), expected)


@pytest.mark.parametrize(
    ("labels", "options", "error", "message"),
    [
        ([[0.5]], {}, TypeError, "float64"),
        ([[-3]], {}, ValueError, "-3"),
        ([[1]], {"sigma": 0}, ValueError, "sigma = 0"),
        ([[1]], {"w0": -1}, ValueError, "w0 = -1"),
        ([[1]], {"spacing": (1, 2, 3)}, ValueError, "2 sizes"),
        ([[1]], {"spacing": (0, 2)}, ValueError, "above 0"),
    ],
)
def test_what_makes_no_sense_is_refused_by_name(labels, options, error, message):
    with pytest.raises(error, match=message):
        boundary_weights(labels, **options)
