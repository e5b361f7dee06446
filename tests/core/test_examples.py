"""Images and label files to examples: what a value means, which planes count, what is refused."""

import numpy as np
import pytest

from napari_unet.core.annotations import Meaning, SavedAnnotation
from napari_unet.core.examples import read_examples
from napari_unet.core.io.image import Image
from napari_unet.core.label_values import LabelOptions, annotation_of
from napari_unet.core.targets import OBJECT_CLASSES, ClassLabel

SPARSE = "ignore"


def image(array, axes=None, spacing=None, name="image"):
    array = np.asarray(array)
    axes = axes or "TCZYX"[-array.ndim :] if array.ndim < 4 else axes
    spatial = [letter for letter in "ZYX" if letter in axes]
    n_channels = array.shape[axes.index("C")] if "C" in axes else 1
    return Image(array, axes, spacing or (1.0,) * len(spatial), "µm", ("",) * n_channels, name)


def ramp(shape, dtype=np.uint8):
    return np.arange(np.prod(shape)).reshape(shape).astype(dtype)


def read(pixels, labels, options=None, **extra):
    return read_examples([(image(pixels, **extra), image(labels, name="labels"))], options)


def values(dataset):
    return [(label.annotation_value, label.output_value) for label in dataset.classes]


@pytest.mark.parametrize(("file", "expected"), [([0, 1], [(1, 0), (2, 1)]), ([1, 2], [(2, 1), (3, 2)])])
def test_dense_files_give_their_own_values_back(file, expected):
    labels = np.resize(file, (4, 4))
    dataset = read(ramp((4, 4)), labels)
    assert values(dataset) == expected
    np.testing.assert_array_equal(dataset.examples[0].annotation, labels + 1)


def test_sparse_files_keep_their_values_and_0_is_unlabelled():
    labels = np.resize([0, 1, 4], (4, 4))
    dataset = read(ramp((4, 4)), labels, LabelOptions(unlabelled=SPARSE))
    assert values(dataset) == [(1, 1), (4, 4)]
    np.testing.assert_array_equal(dataset.examples[0].annotation, labels)


def test_objects_are_background_and_numbers():
    dense = read(ramp((2, 3)), [[0, 1, 7], [0, 0, 0]], LabelOptions("objects"))
    sparse = read(ramp((2, 3)), [[0, 1, 7], [0, 0, 0]], LabelOptions("objects", SPARSE))
    assert dense.examples[0].annotation.tolist() == [[1, 2, 8], [1, 1, 1]]
    assert sparse.examples[0].annotation.tolist() == [[0, 1, 7], [0, 0, 0]]
    assert values(dense) == values(sparse) == [(1, 0), (2, 1), (3, 1)]


def test_a_thousand_objects_are_no_thousand_classes():
    assert len(read(ramp((40, 40)), ramp((40, 40), int), LabelOptions("objects")).classes) == 3
    with pytest.raises(ValueError, match="--task objects"):
        read(ramp((40, 40)), ramp((40, 40), int))


def test_strokes_of_background_that_are_taken_for_an_object_are_doubted():
    labels = np.zeros((32, 32), int)
    labels[::4], labels[9:11, 9:11], labels[17:19, 17:19] = 1, 5, 6
    pixels = ramp((32, 32))
    assert "add --unlabelled ignore" in read(pixels, labels, LabelOptions("objects")).notes[0]
    assert not read(pixels, labels, LabelOptions("objects", SPARSE)).notes
    assert not read(pixels, np.where(labels == 1, 0, labels), LabelOptions("objects")).notes


def test_values_with_gaps_are_doubted_to_be_classes():
    labels = np.resize([0, 1, 6, 10, 45], (10, 10))
    assert "add --task objects" in read(ramp((10, 10)), labels).notes[0]
    assert not read(ramp((10, 10)), np.resize([0, 1, 2, 3, 4], (10, 10))).notes


def test_planes_without_labels_in_a_labelled_stack_are_unlabelled_and_it_is_said():
    labels = np.zeros((6, 4, 4), int)
    labels[[1, 4], :2] = 1
    dataset = read(ramp((6, 4, 4)), labels)
    assert len(dataset.examples) == 2
    assert dataset.notes == ("image: planes 0, 2-3, 5 hold no label and count as unlabelled",)


@pytest.mark.parametrize("task", ["classes", "objects"])
def test_a_truly_empty_plane_counts_once_the_labels_are_raised_by_one(task):
    labels = np.zeros((3, 4, 4), int)
    labels[0, :2] = 1
    dense = read(ramp((3, 4, 4)), labels, LabelOptions(task))
    raised = read(ramp((3, 4, 4)), labels + 1, LabelOptions(task, SPARSE))
    assert (len(dense.examples), len(raised.examples)) == (1, 3)
    np.testing.assert_array_equal(raised.examples[0].annotation, dense.examples[0].annotation)
    assert (raised.examples[2].annotation == 1).all()


def test_a_single_dense_image_without_objects_is_all_background():
    pairs = [
        (image(ramp((4, 4)), name="full"), image(np.eye(4, dtype=int))),
        (image(ramp((4, 4)), name="empty"), image(np.zeros((4, 4), int))),
    ]
    dataset = read_examples(pairs, LabelOptions("objects"))
    assert [example.source for example in dataset.examples] == ["full", "empty"]
    assert (dataset.examples[1].annotation == 1).all() and not dataset.notes


def test_only_the_wanted_planes_are_used_each_once():
    labels = np.ones((5, 4, 4), int)
    labels[:, 0] = 2
    dataset = read(ramp((5, 4, 4)), labels, LabelOptions(planes=(3, 0, 3)))
    assert len(dataset.examples) == 2 and not dataset.notes


def test_a_complete_plane_of_a_sparse_stack_is_background_where_it_is_not_labelled():
    labels = np.zeros((3, 2, 2), int)
    labels[0, 0], labels[1, 0, 0] = 2, 2
    options = LabelOptions("objects", SPARSE, complete=(1, 2))
    dataset = read(ramp((3, 2, 2)), labels, options)
    assert [e.annotation.tolist() for e in dataset.examples] == [
        [[2, 2], [0, 0]],
        [[2, 1], [1, 1]],
        [[1, 1], [1, 1]],  # complete and empty: background
    ]


def test_a_volume_is_one_example_whose_other_planes_are_unlabelled():
    labels = np.zeros((3, 4, 4), int)
    labels[1, :2] = 1
    dataset = read(ramp((3, 4, 4)), labels, LabelOptions(ndim=3), spacing=(4.0, 1.0, 0.5))
    (example,) = dataset.examples
    assert dataset.axes == "ZYX" and dataset.spacing == example.spacing == (4.0, 1.0, 0.5)
    assert (example.annotation != 0).any((1, 2)).tolist() == [False, True, False]


def test_planes_of_a_stack_carry_the_spacing_in_the_plane():
    labels = np.resize([0, 1], (3, 4, 4))
    dataset = read(ramp((3, 4, 4)), labels, spacing=(50.0, 4.0, 3.0))
    assert dataset.spacing == dataset.examples[0].spacing == (4.0, 3.0) and dataset.unit == "µm"


def test_every_time_point_is_read():
    pixels = image(ramp((3, 4, 4)), "TYX")
    labels = image(np.resize([0, 1], (3, 4, 4)), "TYX")
    dataset = read_examples([(pixels, labels)])
    assert len(dataset.examples) == 3 and {e.source for e in dataset.examples} == {"image"}


def test_all_planes_of_a_stack_share_one_normalisation():
    """A plane of twice the brightness stays twice as bright."""
    pixels = np.stack([ramp((16, 16)), ramp((16, 16)) // 2])
    dataset = read(pixels, np.resize([0, 1], (2, 16, 16)))
    assert dataset.examples[0].image.max() > dataset.examples[1].image.max() + 0.5


def test_colours_are_channels():
    pixels = image(ramp((4, 5, 3)), "YXC")
    dataset = read_examples([(pixels, image(np.resize([0, 1], (4, 5))))])
    assert dataset.examples[0].image.shape == (3, 4, 5) and len(dataset.channels) == 3


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_pixels_that_are_not_finite_are_unlabelled_and_counted(bad):
    pixels = ramp((4, 4), np.float32)
    pixels[0, :2] = bad
    dataset = read(pixels, np.resize([0, 1], (4, 4)))
    assert dataset.notes == ("image: 2 pixels are not finite and count as unlabelled",)
    assert (dataset.examples[0].known == 0).sum() == 2
    assert np.isfinite(dataset.examples[0].image).all()


def test_a_pixel_is_not_finite_if_any_of_its_channels_is_not():
    pixels = ramp((2, 4, 4), np.float32)
    pixels[1, 0, 0] = np.nan
    dataset = read_examples([(image(pixels, "CYX"), image(np.resize([0, 1], (4, 4))))])
    assert dataset.examples[0].known[0, 0] == 0 and dataset.examples[0].annotation[0, 0] != 0


def test_only_if_no_finite_pixel_is_annotated_it_is_refused():
    pixels = ramp((2, 4, 4), np.float32)
    pixels[0] = np.nan
    assert len(read(pixels, np.resize([0, 1], (2, 4, 4))).examples) == 1
    with pytest.raises(ValueError, match="no finite pixel is annotated: label"):
        read(pixels * np.nan, np.resize([0, 1], (2, 4, 4)))


@pytest.mark.parametrize("dtype", ["u1", ">u2", ">f4", "<i4", "f8", "?"])
def test_types_byte_orders_and_read_only_arrays_do_not_matter(dtype):
    pixels = np.resize([0, 1], (4, 4)).astype(dtype)
    labels = np.resize([0, 1, 1], (4, 4)).astype(">i2")
    pixels.flags.writeable = labels.flags.writeable = False
    (example,) = read(pixels, labels).examples
    assert example.image.dtype == np.float32 and example.image.dtype.isnative
    np.testing.assert_allclose(np.unique(example.image), [-1, 1])


@pytest.mark.parametrize("shape", [(1, 8), (8, 1), (1, 8, 8), (1, 1, 8)])
def test_axes_of_one_pixel_and_constant_images_work(shape):
    dataset = read(np.full(shape, 7), np.resize([0, 1], shape))
    assert np.isfinite(dataset.examples[0].image).all()


@pytest.mark.parametrize(
    ("shape", "labels_shape"), [((4, 4), (4, 5)), ((3, 4, 4), (4, 4)), ((3, 4, 4), (2, 4, 4))]
)
def test_labels_of_another_shape_are_refused_with_both_shapes(shape, labels_shape):
    with pytest.raises(ValueError, match=f"labels are {'×'.join(map(str, labels_shape))} .* give labels"):
        read(ramp(shape), np.resize([0, 1], labels_shape))


def test_float_and_negative_labels_are_refused():
    with pytest.raises(ValueError, match="float32; save them as integers"):
        read(ramp((4, 4)), np.ones((4, 4), np.float32))
    with pytest.raises(ValueError, match="negative value -3"):
        read(ramp((4, 4)), np.full((4, 4), -3))


@pytest.mark.parametrize(
    ("labels", "options", "said"),
    [
        ([[0, 0]], LabelOptions(), "single value 0"),
        ([[2, 2]], LabelOptions(), "single value 2"),
        ([[0, 2]], LabelOptions(unlabelled=SPARSE), "single value 2"),
        ([[0, 0]], LabelOptions(unlabelled=SPARSE), "no finite pixel is annotated"),
        ([[0, 0]], LabelOptions("objects"), "hold no objects"),
        ([[3, 2]], LabelOptions("objects"), "hold no background"),
        ([[0, 2]], LabelOptions("objects", SPARSE), "hold no background"),
    ],
)
def test_one_class_only_is_refused(labels, options, said):
    with pytest.raises(ValueError, match=said):
        read(ramp((1, 2)), labels, options)


@pytest.mark.parametrize("options", [LabelOptions(planes=(0, 3)), LabelOptions(planes=(-1,))])
def test_a_plane_out_of_range_is_named(options):
    with pytest.raises(ValueError, match=r"image has no plane (3|-1): choose planes from 0 to 2"):
        read(ramp((3, 4, 4)), np.resize([0, 1], (3, 4, 4)), options)


def test_a_complete_plane_out_of_range_is_named():
    with pytest.raises(ValueError, match="image has no plane 9"):
        read(ramp((3, 4, 4)), np.resize([1, 2], (3, 4, 4)), LabelOptions(unlabelled=SPARSE, complete=(9,)))


def test_complete_planes_of_a_dense_file_make_no_sense():
    with pytest.raises(ValueError, match="--unlabelled ignore"):
        LabelOptions(complete=(3,))


def test_a_plane_cannot_train_a_3d_network():
    with pytest.raises(ValueError, match="no Z: use --ndim 2"):
        read(ramp((4, 4)), np.resize([0, 1], (4, 4)), LabelOptions(ndim=3))


def test_images_of_different_channels_are_refused():
    one, three = image(ramp((4, 4)), name="grey"), image(ramp((3, 4, 4)), "CYX", name="colour")
    labels = image(np.resize([0, 1], (4, 4)))
    with pytest.raises(ValueError, match=r"colour has 3 channels but grey has 1: .* --channels"):
        read_examples([(one, labels), (three, labels)])


def test_an_annotation_is_a_copy():
    labels = np.array([1, 2])
    annotation_of(labels, LabelOptions(unlabelled=SPARSE))[0] = 9
    assert labels.tolist() == [1, 2]


def test_a_time_point_without_labels_is_unlabelled_too():
    pixels = np.random.default_rng(0).random((3, 16, 16))
    values = np.zeros((3, 16, 16), np.uint8)
    values[1, :8] = 1
    image = Image(pixels, "TYX", (1.0, 1.0), "pixel", ("",), "movie")
    labels = Image(values, "TYX", (1.0, 1.0), "pixel", ("",), "labels")
    assert len(read_examples([(image, labels)]).examples) == 1


NAMED = (ClassLabel(1, 5, "cell"), ClassLabel(2, 0, "background"), ClassLabel(3, 3, "unused"))


def saved(array, complete=(), task="classes", classes=NAMED):
    return SavedAnnotation(image(array, name="strokes"), Meaning(task, classes, complete))


def test_a_saved_annotation_says_itself_what_its_values_mean():
    labels = np.zeros((3, 4, 4), np.uint8)
    labels[0, 0], labels[1, 1] = 1, 1
    pixels = image(ramp((3, 4, 4)))
    dataset = read_examples([(pixels, saved(labels, ((1,),)))], LabelOptions("objects"))
    assert dataset.task == "classes" and dataset.classes == NAMED[:2]
    first, second = (example.annotation for example in dataset.examples)
    assert set(first.flat) == {0, 1} and first[0].all()
    assert second[1].tolist() == [1] * 4 and (second[[0, 2, 3]] == 2).all()
    only = read_examples([(pixels, saved(labels, ((1,),)))], LabelOptions(planes=(1,)))
    assert len(only.examples) == 1


def test_complete_planes_of_a_saved_annotation_are_those_of_their_time_point():
    labels = np.zeros((2, 2, 4, 4), np.uint8)
    labels[..., 0, 0] = 2
    series = SavedAnnotation(image(labels, "TZYX"), Meaning("objects", OBJECT_CLASSES, ((1, 0),)))
    dataset = read_examples([(image(ramp((2, 2, 4, 4)), "TZYX"), series)])
    assert [bool((e.annotation == 1).any()) for e in dataset.examples] == [False, False, True, False]
    assert dataset.classes == OBJECT_CLASSES


def test_a_saved_annotation_of_another_shape_is_refused():
    with pytest.raises(ValueError, match="give labels of the same shape"):
        read_examples([(image(ramp((4, 5))), saved(np.ones((4, 4), np.uint8)))])
