"""Rim and core of objects, and the line between those that touch."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from scipy.ndimage import distance_transform_edt
from skimage.segmentation import find_boundaries

from napari_unet.core.rims import core_share_of, separate_touching

annotations = arrays(np.int64, array_shapes(min_dims=2, max_dims=3, max_side=6), elements=st.integers(0, 4))


def core_of(objects, spacing):
    return core_share_of(objects, spacing) > 0.5


@given(arrays(np.int64, array_shapes(min_dims=2, max_dims=3, max_side=7), elements=st.integers(0, 3)))
def test_borders_to_whatever_is_labelled_are_those_of_the_whole_array(objects):
    spacing = (1.0,) * objects.ndim
    border = find_boundaries(objects, mode="inner")
    depth = distance_transform_edt(~border) + 1 if border.any() else np.ones(objects.shape)
    depth[separate_touching(objects) != objects] = 0
    expected = np.zeros(objects.shape)
    for number in set(objects.ravel().tolist()) - {0}:
        inside = objects == number
        expected[inside] = 2 * depth[inside] / max(1, depth[inside].max()) - 0.5
    np.testing.assert_allclose(core_share_of(objects, spacing), expected.clip(0, 1), atol=1e-6)


@given(annotations)
def test_after_the_line_no_two_objects_share_a_face_and_nothing_else_changes(annotation):
    objects = np.where(annotation >= 2, annotation, 0)
    before = objects.copy()
    separated = separate_touching(objects)
    assert (objects == before).all()  # a copy
    drawn = separated != objects
    assert (separated[drawn] == 0).all()
    for axis in range(objects.ndim):
        one, other = np.moveaxis(separated, axis, 0)[:-1], np.moveaxis(separated, axis, 0)[1:]
        assert not ((one != other) & (one != 0) & (other != 0)).any()


def test_only_pixels_at_the_other_object_become_the_line():
    objects = np.zeros((6, 6), int)
    objects[:, :3], objects[:, 3:] = 2, 3
    separated = separate_touching(objects)
    assert (separated == 0).tolist() == [[False, False, True, True, False, False]] * 6


@given(annotations, st.sampled_from([1.0, 0.3, 4.0]))
def test_the_core_of_an_object_never_touches_that_of_another(objects, first_spacing):
    core = np.where(core_of(objects, (first_spacing, *[1.0] * (objects.ndim - 1))), objects, 0)
    assert (separate_touching(core) == core).all()


@given(annotations)
def test_an_object_that_touches_no_other_has_a_core(annotation):
    objects = (annotation > 2).astype(int)
    assert core_of(objects, (1.0,) * objects.ndim).any() == objects.any()


@given(annotations, st.integers(1, 3), st.floats(0.1, 10))
def test_cores_depend_on_neither_numbers_nor_units(objects, step, unit):
    spacing = np.arange(1.0, objects.ndim + 1)
    expected = core_of(objects, spacing.tolist())
    np.testing.assert_array_equal(core_of(objects * step * 1000, spacing.tolist()), expected)
    np.testing.assert_array_equal(core_of(objects, (spacing * 2 ** round(unit)).tolist()), expected)


def test_the_core_is_the_inner_half_and_depths_are_distances():
    objects = np.zeros((14, 14), int)
    objects[2:12, 2:12] = 5  # 10 pixels wide: depths from 1 to 5
    core = np.zeros((14, 14), bool)
    core[4:10, 4:10] = True
    np.testing.assert_array_equal(core_of(objects, (1.0, 1.0)), core)
    flat = np.zeros((7, 20, 20), int)
    flat[1:6, 2:18, 2:18] = 5  # as high as it is wide, and its core as well, where a plane is four pixels
    inside = core_of(flat, (4.0, 1.0, 1.0))
    assert inside[3].sum() > 0 and not inside[[0, 1, 5, 6]].any()
    assert inside.any((0, 2)).sum() < 12 < core_of(flat, (1.0, 1.0, 1.0)).any((0, 2)).sum()


def test_the_border_of_an_image_is_none_of_an_object():
    objects = np.zeros((8, 6), int)
    objects[:6] = 3  # goes on above, left and right
    np.testing.assert_array_equal(core_of(objects, (1.0, 1.0)).all(1), np.arange(8) < 3)
    assert core_of(np.full((4, 5), 2), (1.0, 1.0)).all()
