"""What a result looks like: axes, types, and how probabilities and classes are stored."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_unet.core.io import Image
from napari_unet.core.objects import ObjectRules
from napari_unet.core.results import Finding, ResultLayout
from napari_unet.core.targets import OBJECT_CLASSES, ClassLabel

CLASSES = (ClassLabel(1, 0, "background"), ClassLabel(2, 300, "cell"), ClassLabel(3, 7, "rim"))
SIZES = {"T": 2, "C": 1, "Z": 3, "Y": 4, "X": 5}


def layout_of(axes, kind="labels", ndim=2, classes=CLASSES, **options):
    spacing = (1.0,) * sum(axis in "ZYX" for axis in axes)
    image = Image(np.zeros([SIZES[axis] for axis in axes]), axes, spacing, "µm", ("",), "made")
    return ResultLayout(image, kind, classes, ndim, **options)


@given(st.lists(st.sampled_from("TCZYX"), unique=True).filter(lambda axes: {"Y", "X"} <= set(axes)))
def test_a_result_has_the_axes_of_the_image_in_the_usual_order(axes):
    axes = "".join(axes)
    labels, scores = layout_of(axes), layout_of(axes, "probabilities")
    assert labels.axes == "".join(axis for axis in "TZYX" if axis in axes)
    assert scores.axes == "".join(axis for axis in "TCZYX" if axis in axes or axis == "C")
    assert labels.shape == tuple(SIZES[axis] for axis in labels.axes)
    assert scores.shape == tuple((SIZES | {"C": 3})[axis] for axis in scores.axes)


@pytest.mark.parametrize(
    ("value", "dtype"), [(1, "uint8"), (255, "uint8"), (256, "uint16"), (70_000, "uint32")]
)
def test_labels_have_the_smallest_type_that_holds_the_values(value, dtype):
    layout = layout_of("YX", classes=(CLASSES[0], ClassLabel(2, value, "cell")))
    encoded = layout.encode(np.array([[0, 1]], np.uint8))
    assert layout.dtype == encoded.dtype == dtype
    np.testing.assert_array_equal(encoded, [[0, value]])


def test_objects_are_everything_but_the_class_that_writes_0():
    said = np.array([[0, 1, 2]], np.uint8)
    np.testing.assert_array_equal(layout_of("YX", "objects").encode(said), [[[0, 255, 255]]] * 2)
    other = (CLASSES[1], CLASSES[0])
    found = layout_of("YX", "objects", classes=other).encode(said[:, :2])
    np.testing.assert_array_equal(found, [[[255, 0]]] * 2)


def test_of_objects_that_are_grown_the_scores_are_kept():
    layout = layout_of("YX", "objects", finding=Finding(ObjectRules(), grows=True))
    said = np.float32([[[1, 0.2]], [[0, 0.2]], [[0, 0.6]]])
    assert layout.needs_probabilities and not layout_of("YX", "objects").needs_probabilities
    np.testing.assert_array_equal(layout.encode(said), np.uint8([[[0, 204]], [[0, 153]]]))


@pytest.mark.parametrize(
    ("finding", "halo"),
    [
        (Finding(ObjectRules(reach=(9, 9))), (0, 0)),  # connected parts are joined over faces
        (Finding(ObjectRules(reach=(9, 12)), fill_holes=True), (9, 12)),
        (Finding(ObjectRules(), grows=True), (64, 64)),
        (Finding(ObjectRules(reach=(3, 9, 9)), grows=True), (64, 64)),  # of another number of axes
    ],
)
def test_a_tile_looks_as_far_as_the_largest_object_reaches(finding, halo):
    assert finding.halo(2) == halo


@given(st.lists(st.floats(0, 1, width=32), min_size=1, max_size=20))
def test_probabilities_lose_no_more_than_their_type_must(values):
    said = np.array(values, np.float32)
    stored = {name: layout_of("YX", "probabilities", score_type=name).encode(said) for name in MOST_LOST}
    for name, encoded in stored.items():
        assert encoded.dtype == name
        back = encoded / np.float64(255) if name == "uint8" else encoded.astype(np.float64)
        assert np.abs(back - said).max() <= MOST_LOST[name]
    np.testing.assert_array_equal(stored["uint8"][said == 1], 255)


MOST_LOST = {"float32": 0, "float16": 2**-11, "uint8": 0.5 / 255 + 1e-7}


def test_a_part_has_a_place_in_the_axes_of_the_result():
    layout = layout_of("CTZYX", "probabilities")
    outer, spatial = (slice(1, 2), slice(0, 2)), (slice(2, 4), slice(0, 5))
    assert layout.place(outer, spatial) == (slice(1, 2), slice(0, 3), slice(0, 2), slice(2, 4), slice(0, 5))
    assert layout.block_shape((1, 2, 2, 5)) == (1, 3, 2, 2, 5)
    assert layout_of("XY").place((slice(0, 1),), spatial) == spatial


def test_channels_are_named_after_the_classes():
    assert layout_of("YX", "probabilities").channels == ("background", "cell", "rim")
    assert layout_of("YX").channels == ()


def test_classes_that_are_written_alike_are_likely_together():
    image = Image(np.zeros((1, 3), np.uint8), "YX", (1.0, 1.0), "pixel", ("",), "made")
    layout = ResultLayout(image, "labels", OBJECT_CLASSES, 2)
    assert layout.needs_probabilities
    said = np.float32([[[0.4, 0.6, 0.0]], [[0.3, 0.3, 0.0]], [[0.3, 0.1, 1.0]]])
    np.testing.assert_array_equal(layout.encode(said), [[1, 0, 1]])
