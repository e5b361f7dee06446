"""Annotation to training target: classes, objects, the line between them, and their weights."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from scipy.ndimage import distance_transform_edt

from napari_unet.core import targets
from napari_unet.core.rims import separate_touching
from napari_unet.core.targets import (
    UNLABELLED,
    ClassLabel,
    Example,
    Target,
    TargetOptions,
    annotated_classes,
    class_weights,
    make_target,
)
from napari_unet.core.weights import separation_weights

annotations = arrays(np.int64, array_shapes(min_dims=2, max_dims=3, max_side=6), elements=st.integers(0, 4))


def example(annotation, spacing=None):
    annotation = np.asarray(annotation)
    image = np.zeros((1, *annotation.shape), np.float32)
    return Example(image, annotation, spacing or (1.0,) * annotation.ndim, "here")


def classes_of(annotation, options):
    return make_target(example(annotation), options).classes


@pytest.mark.parametrize(
    ("values", "dense", "expected"),
    [
        ([1, 2], True, [(1, 0), (2, 1)]),  # 0/1 in gives 0/1 out
        ([2, 3], True, [(2, 1), (3, 2)]),  # 1/2 in gives 1/2 out
        ([7, 1, 7, 0], False, [(1, 1), (7, 7)]),  # 0 is no class
    ],
)
def test_a_class_exists_where_its_value_occurs_and_gives_back_the_files_value(values, dense, expected):
    found = annotated_classes(values, dense=dense)
    assert [(label.annotation_value, label.output_value) for label in found] == expected


@pytest.mark.parametrize(
    ("values", "said"), [([], "no value at all"), ([5], "single value 4"), (range(1, 22), "--task objects")]
)
def test_too_few_and_too_many_classes_are_refused_with_a_remedy(values, said):
    with pytest.raises(ValueError, match=said):
        annotated_classes(list(values), dense=True)


def test_twenty_classes_are_allowed():
    assert len(annotated_classes(range(1, 21), dense=True)) == 20


def test_classes_become_indices_and_zero_stays_unlabelled():
    options = TargetOptions(classes=(ClassLabel(3, 3, "a"), ClassLabel(9, 9, "b")))
    target = make_target(example([[0, 3], [9, 3]]), options)
    assert target.classes.tolist() == [[UNLABELLED, 0], [1, 0]]
    assert target.classes.dtype == np.uint8
    assert not target.separation.any() and target.separation.dtype == np.float32
    assert target.source == "here"


def test_a_value_that_is_no_class_is_named():
    with pytest.raises(ValueError, match=r"holds 5, which is none of the classes \[1, 2\]"):
        classes_of([[1, 5]], TargetOptions(classes=annotated_classes([1, 2], dense=False)))


def test_objects_are_rim_and_core_whatever_their_numbers():
    options = TargetOptions("objects")
    row = [0, 1, 2, 1, *[4000] * 5, 1]
    expected = [0, 0, 2, 0, 1, 2, 2, 2, 1, 0]  # a dot has no rim
    assert classes_of([row] * 9, options)[4].tolist() == expected


@given(annotations)
def test_every_pixel_keeps_its_meaning_and_unlabelled_ones_weigh_nothing(annotation):
    target = make_target(example(annotation), TargetOptions("objects"))
    unlabelled = target.classes == UNLABELLED
    assert (annotation[unlabelled] == 0).all()
    assert not unlabelled[annotation >= 1].any()
    assert (target.classes[annotation == 1] == 0).all()
    assert ((annotation >= 2) == np.isin(target.classes, (1, 2))).all()
    assert not target.separation[unlabelled].any()
    assert np.array_equal(target.objects == 0, unlabelled)


def test_unlabelled_pixels_right_beside_an_object_are_background_and_no_others():
    annotation = np.zeros((15, 15), int)
    annotation[5:9, 5:9] = 2
    away = distance_transform_edt(annotation == 0)
    target = make_target(example(annotation), TargetOptions("objects"))
    assert (target.classes[(away > 0) & (away <= 2.5)] == 0).all()
    assert (target.classes[away > 2.5] == UNLABELLED).all()


def test_where_the_image_is_not_finite_nothing_is_learnt_and_objects_go_on():
    image, annotation = np.zeros((1, 20, 20), np.float32), np.zeros((20, 20), int)
    annotation[5:15, 5:15] = 2
    missing = np.zeros(annotation.shape, bool)
    missing[9, 9] = missing[4, 8] = missing[12, 3:8] = True  # in it, beside it, across its border
    whole = make_target(Example(image, annotation, (1, 1)), TargetOptions("objects"))
    target = make_target(Example(image, annotation, (1, 1), missing=missing), TargetOptions("objects"))
    assert (target.classes[missing] == UNLABELLED).all() and not target.separation[missing].any()
    assert np.array_equal(target.classes[~missing], whole.classes[~missing])
    assert np.array_equal(target.core_share, whole.core_share)


@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (4.0, 1.0, 1.0), (1.0, 2.0, 2.0)])
def test_an_object_on_one_plane_of_a_volume_is_learnt_as_in_2d_and_nothing_is_said_above_and_below(spacing):
    plane = np.zeros((24, 24), int)
    plane[6:16, 6:18] = 2
    volume = np.zeros((5, 24, 24), int)
    volume[2] = plane
    options = TargetOptions("objects")
    target, flat = (
        make_target(example(*each), options) for each in ((volume, spacing), (plane, spacing[1:]))
    )
    np.testing.assert_array_equal(target.classes[2], flat.classes)
    np.testing.assert_allclose(target.core_share[2], flat.core_share)
    assert (target.classes[[0, 1, 3, 4]] == UNLABELLED).all()


def test_an_object_of_a_volume_ends_where_the_next_plane_is_labelled_otherwise():
    volume = np.zeros((9, 30, 30), int)
    volume[2:6, 5:25, 5:25] = 2
    volume[6] = 1  # above it ends; below it may go on
    core = make_target(example(volume), TargetOptions("objects")).classes == 2
    assert core[2].any() and not core[5].any()


@given(annotations)
def test_classes_of_objects_are_what_there_is_more_of_and_background_has_no_core(annotation):
    target = make_target(example(annotation), TargetOptions("objects"))
    share, classes = target.core_share, target.classes
    assert share.min() >= 0 and share.max() <= 1 and not share[classes == 0].any()
    assert (share[classes == 1] <= 0.5).all() and (share[classes == 2] > 0.5).all()


def test_rim_and_core_weigh_alike_and_together_as_much_as_the_background():
    annotation = np.ones((30, 30), int)
    annotation[5:15, 5:15] = 2
    target = make_target(example(annotation), TargetOptions("objects"))
    background, rim, core = class_weights([target], 3)
    assert rim == core and rim * 100 == pytest.approx(background * 800)


def test_weights_are_measured_between_the_separated_objects_with_the_examples_spacing():
    annotation = np.full((12, 12), 2)
    annotation[:, 6:] = 3
    annotation[0] = 1
    target = make_target(example(annotation, (2.0, 1.0)), TargetOptions("objects", w0=7.0, sigma=3.0))
    objects = separate_touching(np.where(annotation >= 2, annotation, 0))
    expected = separation_weights(objects, w0=7.0, sigma=3.0, spacing=(2.0, 1.0))
    np.testing.assert_array_equal(target.separation, expected)
    assert (target.separation[1:, 5:7] > 1).all()  # on the line between them


def test_classes_that_lack_pixels_weigh_more_and_unlabelled_pixels_do_not_count():
    classes = np.array([[0, 0, 0, 1, UNLABELLED, UNLABELLED]], np.uint8)
    target = Target(np.zeros((1, 1, 6), np.float32), classes, np.zeros((1, 6), np.float32))
    weights = class_weights([target, target], 3)
    np.testing.assert_allclose(weights, [4 / 6, 2, 0])
    labelled = classes[classes != UNLABELLED]
    assert weights[labelled].mean() == pytest.approx(1)


@given(annotations, st.tuples(*[st.integers(0, 9)] * 6), st.sampled_from([1.0, 2.5]))
def test_what_is_around_the_annotation_changes_no_target(annotation, widths, depth):
    """Targets are computed in a box around what is annotated; here in all of the region, too."""
    ndim = annotation.ndim
    padded = np.pad(annotation, [widths[2 * axis : 2 * axis + 2] for axis in range(ndim)])
    region = example(padded, (depth, 1.0, 2.0)[-ndim:])
    found = make_target(region, TargetOptions("objects"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(targets, "_annotated_box", lambda annotation: (slice(None),) * annotation.ndim)
        expected = make_target(region, TargetOptions("objects"))
    for name in ("classes", "objects", "core_share"):
        np.testing.assert_array_equal(getattr(found, name), getattr(expected, name))
        assert getattr(found, name).dtype == getattr(expected, name).dtype
    np.testing.assert_allclose(found.separation, expected.separation, atol=1e-6)  # what is less is not exact
