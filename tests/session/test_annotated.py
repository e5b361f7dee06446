"""An image with its annotation layer: which planes change, and the examples they make."""

import gc
import unicodedata
import weakref
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from napari.components import ViewerModel
from napari.layers import Image as ImageLayer
from napari.layers import Labels

from napari_unet.core.annotations import Meaning, SavedAnnotation
from napari_unet.core.examples import read_examples
from napari_unet.core.io import Image
from napari_unet.core.label_values import LabelOptions
from napari_unet.core.normalise import Intensity, normalise
from napari_unet.core.targets import OBJECT_CLASSES
from napari_unet.session.annotated import Annotated, image_key
from napari_unet.session.images import ImageChoice, guess_axes, placement, zeros

INTENSITY = Intensity((0.0,), (200.0,))


def annotated(data, axes=None, dtype=np.uint8, task="classes", **options):
    layer = ImageLayer(data, name="cells", **options)
    choice = ImageChoice((layer,), axes or guess_axes(layer))
    labels = Labels(zeros(choice.annotation_shape, dtype), **placement(choice))
    viewer = ViewerModel()
    viewer.add_layer(layer)
    viewer.add_layer(labels)
    return Annotated(choice, labels, task)


def noise(*shape):
    return np.random.default_rng(0).integers(0, 200, shape).astype(np.uint8)


def write(found, region, value):
    found.layer.data[region] = value
    found.layer.refresh()
    return found.changed_planes()


class Counting:
    """An array that remembers which regions have been read."""

    def __init__(self, array):
        self.array, self.regions = array, []
        self.shape, self.dtype, self.ndim = array.shape, array.dtype, array.ndim

    def __getitem__(self, region):
        self.regions.append(region)
        return self.array[region]


def test_planes_and_values_follow_what_is_painted():
    found = annotated(noise(5, 60, 70))
    assert found.planes == ()
    found.layer.paint((3, 10, 10), 2)
    found.layer.paint((1, 10, 10), 1)
    assert found.changed_planes() == {(1,), (3,)}
    assert found.planes == ((1,), (3,))
    assert (found.values((3,)), found.values((0,))) == ({2}, set())
    assert found.plane((3,))[10, 10] == 2
    found.mark_complete((0,), True)
    assert found.planes == ((0,), (1,), (3,))
    found.mark_complete((0,), False)
    assert found.planes == ((1,), (3,))


def test_an_example_is_the_annotated_region_of_the_normalised_image():
    image = noise(3, 900, 1000)
    found = annotated(image, scale=(2, 0.5, 0.5))
    write(found, (1, slice(300, 310), slice(520, 530)), 2)
    (example,) = found.examples(2, INTENSITY)
    rows, columns = slice(128, 640), slice(384, 896)
    np.testing.assert_array_equal(example.image, normalise(image[1:2, rows, columns], INTENSITY))
    np.testing.assert_array_equal(example.annotation, found.plane((1,))[rows, columns])
    assert (example.place, example.spacing) == ((1, 128, 384), (0.5, 0.5))


def test_images_of_the_same_name_are_different_sources():
    one, other = annotated(noise(60, 70)), annotated(noise(60, 70))
    examples = []
    for each in (one, other):
        write(each, (5, 5), 1)
        each.choice.layers[0].name = "renamed"
        examples += each.examples(2, INTENSITY)
    assert [example.source for example in examples] == [one.source, other.source]
    assert one.source != other.source


def test_unchanged_examples_are_the_same_objects():
    found = annotated(noise(3, 300, 300))
    write(found, (0, 5, 5), 1)
    write(found, (2, 5, 5), 1)
    before = found.examples(2, INTENSITY)
    assert all(a is b for a, b in zip(before, found.examples(2, Intensity((0.0,), (200.0,))), strict=True))
    write(found, (2, 7, 7), 2)
    after = found.examples(2, INTENSITY)
    assert after[0] is before[0]
    assert after[1] is not before[1]
    assert np.shares_memory(after[1].image, before[1].image)
    assert before[1].annotation[7, 7] == 0, "what has been handed out never changes"
    found.layer.data[2] = 9
    assert after[1].annotation.max() == 2


def test_only_regions_around_strokes_are_read_and_each_once():
    lazy = Counting(np.zeros((50, 2000, 2000), np.uint8))
    found = annotated(lazy, contrast_limits=(0, 200))
    lazy.regions.clear()
    write(found, (7, 1000, 1000), 1)
    lazy.regions.clear()
    found.examples(2, INTENSITY)
    found.layer.paint((7, 990, 1010), 2)
    found.changed_planes()
    assert len(found.examples(2, INTENSITY)) == 1
    assert lazy.regions == [(slice(7, 8), slice(640, 1152), slice(640, 1152))]


def test_what_is_read_before_is_not_read_by_examples():
    lazy = Counting(noise(3, 300, 300))
    found = annotated(lazy, contrast_limits=(0, 200))
    write(found, (0, 5, 5), 1)
    write(found, (2, 5, 5), 1)
    lazy.regions.clear()
    wanted = found.unread(2, INTENSITY)
    assert [each.where.start for each in wanted] == [(0, 0, 0), (2, 0, 0)] and not lazy.regions
    read = [each.read() for each in wanted]
    lazy.regions.clear()
    for each in read:
        found.keep(each)
    assert found.unread(2, INTENSITY) == () and len(found.examples(2, INTENSITY)) == 2
    assert not lazy.regions
    write(found, (1, 5, 5), 1)
    assert [each.where.start for each in found.unread(2, INTENSITY)] == [(1, 0, 0)]
    assert len(found.unread(2, Intensity((0.0,), (100.0,)))) == 3


def test_pixels_of_before_are_not_kept():
    found = annotated(noise(60, 70))
    write(found, (5, 5), 1)
    (before,) = found.unread(2, INTENSITY)
    found.choice.layers[0].data = np.full((60, 70), 100, np.uint8)
    found.keep(before.read())
    assert len(found.unread(2, INTENSITY)) == 1
    assert (found.examples(2, INTENSITY)[0].image == 0).all()


def test_other_intensities_make_other_examples():
    found = annotated(noise(60, 70))
    write(found, (5, 5), 1)
    (before,) = found.examples(2, INTENSITY)
    (after,) = found.examples(2, Intensity((0.0,), (100.0,)))
    assert after.image.mean() > before.image.mean()


def test_on_a_complete_plane_unlabelled_is_background():
    found = annotated(noise(3, 700, 300), dtype=np.uint16, task="objects")
    write(found, (1, slice(3, 9), slice(3, 9)), 4)
    found.mark_complete((1,), True)
    (example,) = found.examples(2, INTENSITY)
    assert example.annotation.shape == (700, 300)
    assert np.array_equal(np.unique(example.annotation, return_counts=True), [[1, 4], [210_000 - 36, 36]])
    assert found.plane((1,)).min() == 0, "the layer is as it was painted"
    found.mark_complete((1,), False)
    assert found.examples(2, INTENSITY)[0].annotation.min() == 0


def test_pixels_that_are_not_finite_are_unlabelled():
    image = noise(60, 70).astype(np.float32)
    image[:30] = np.nan
    found = annotated(image)
    found.mark_complete((), True)
    (example,) = found.examples(2, INTENSITY)
    assert not example.known[:30].any()
    assert (example.known[30:] == 1).all() and (example.annotation == 1).all()
    assert np.isfinite(example.image).all()
    found.mark_complete((), False)
    write(found, (slice(0, 5), slice(0, 5)), 1)
    assert found.examples(2, INTENSITY) == ()


def test_channels_and_time_points_are_told_apart():
    image = noise(2, 3, 4, 40, 50)
    found = annotated(image, "TCZYX")
    assert write(found, (1, 0, 2, 5, 5), 1) == {(1, 0, 2)}
    intensity = Intensity((0.0,) * 3, (200.0,) * 3)
    (flat,) = found.examples(2, intensity)
    np.testing.assert_array_equal(flat.image, normalise(image[1, :, 2], intensity))
    assert flat.place == (1, 0, 2, 0, 0)
    (deep,) = found.examples(3, intensity)
    np.testing.assert_array_equal(deep.image, normalise(image[1], intensity))
    assert deep.place == (1, 0, 0, 0)


def test_a_volume_around_a_few_planes_is_learnt_from_in_3d():
    image = noise(200, 300, 320)
    found = annotated(image, scale=(3, 1, 1))
    write(found, (40, slice(5, 9), 5), 2)
    write(found, (150, 5, 300), 1)
    found.mark_complete((150,), True)
    near, far = found.examples(3, INTENSITY)
    assert (near.place, near.annotation.shape) == ((0, 16, 0, 0), (64, 300, 320))
    np.testing.assert_array_equal(near.image[0], normalise(image[None, 16:80], INTENSITY)[0])
    assert near.spacing == (3, 1, 1)
    assert np.array_equal(near.annotation, found.layer.data[16:80])
    assert (far.place, far.annotation.shape) == ((0, 112, 0, 0), (64, 300, 320))
    assert far.annotation[150 - 112].min() == 1
    assert np.delete(far.annotation, 150 - 112, axis=0).max() == 0


def test_another_plane_of_a_known_volume_reads_nothing_again():
    lazy = Counting(noise(60, 100, 100))
    found = annotated(lazy, contrast_limits=(0, 200))
    write(found, (20, 5, 5), 1)
    (before,) = found.examples(3, INTENSITY)
    lazy.regions.clear()
    write(found, (25, 5, 5), 2)
    (after,) = found.examples(3, INTENSITY)
    assert lazy.regions == []
    assert np.shares_memory(before.image, after.image)
    assert after.annotation[25, 5, 5] == 2


def test_a_stack_of_one_plane_is_a_plane_and_a_volume():
    found = annotated(noise(1, 60, 70), "ZYX")
    write(found, (0, 5, 5), 1)
    assert found.examples(2, INTENSITY)[0].annotation.shape == (60, 70)
    assert found.examples(3, INTENSITY)[0].annotation.shape == (1, 60, 70)


def test_planes_have_no_volumes():
    found = annotated(noise(5, 60, 70), "TYX")
    with pytest.raises(ValueError, match="cells has no Z axis: choose 2D"):
        found.examples(3, INTENSITY)


@settings(max_examples=30)
@given(
    strokes=st.lists(
        st.tuples(st.integers(0, 2), st.integers(0, 799), st.integers(0, 1099), st.integers(1, 3)),
        min_size=1,
        max_size=8,
    ),
    ndim=st.sampled_from([2, 3]),
)
def test_every_labelled_pixel_is_in_exactly_one_example(strokes, ndim):
    found = annotated(np.zeros((3, 800, 1100), np.uint8))
    for z, y, x, value in strokes:
        found.layer.data[z, y : y + 40, x : x + 30] = value
    found.layer.refresh()
    found.changed_planes()
    seen = np.zeros_like(found.layer.data)
    for example in found.examples(ndim, INTENSITY):
        shape = (1,) * (3 - ndim) + example.annotation.shape
        start = example.place[-3:]
        part = seen[tuple(slice(at, at + size) for at, size in zip(start, shape, strict=True))]
        assert not (part.astype(bool) & example.annotation.astype(bool)).any()
        part += example.annotation.reshape(shape).astype(np.uint8)
    np.testing.assert_array_equal(seen, found.layer.data)


def test_data_of_another_shape_is_refused_until_it_fits_again():
    found = annotated(noise(3, 60, 70))
    found.layer.paint((1, 10, 10), 2)
    painted = found.layer.data
    found.changed_planes()
    found.layer.data = np.zeros((3, 60, 71), np.uint8)
    with pytest.raises(ValueError, match=r"has the shape \(3, 60, 71\) and cells needs \(3, 60, 70\)"):
        found.changed_planes()
    found.layer.data = np.zeros((60, 70), np.uint8)
    with pytest.raises(ValueError, match=r"give it data of that shape"):
        found.changed_planes()
    found.layer.data = painted
    assert found.changed_planes() == set()
    assert found.planes == ((1,),)


def test_an_image_whose_pixels_were_replaced_is_read_anew():
    found = annotated(noise(60, 70))
    write(found, (5, 5), 1)
    (before,) = found.examples(2, INTENSITY)
    found.choice.layers[0].data = np.full((60, 70), 100, np.uint8)
    (after,) = found.examples(2, INTENSITY)
    assert before.image.std() > 0
    assert (after.image == 0).all()


def test_multiscale_labels_are_refused():
    data = np.zeros((64, 64), np.uint8)
    choice = ImageChoice((ImageLayer(data),), "YX")
    with pytest.raises(ValueError, match="multiscale and takes no paint"):
        Annotated(choice, Labels([data, data[::2, ::2]], multiscale=True), "classes")


def test_layers_do_not_keep_it_alive():
    found = annotated(noise(60, 70))
    layer, gone = found.layer, weakref.ref(found)
    del found
    gc.collect()
    assert gone() is None
    layer.paint((5, 5), 1)


def test_an_image_is_known_again_by_where_it_is_from():
    def key(path, name="cells", shape=(60, 70), dtype=np.uint8, axes=None):
        layer = ImageLayer(np.zeros(shape, dtype), name=name)
        layer._source = layer.source.model_copy(update={"path": path})
        return image_key(ImageChoice((layer,), axes or guess_axes(layer)))

    here = key(str(Path("a.tif").resolve()))
    assert here == key("a.tif")
    assert len(here) == 16
    others = [key("b.tif"), key(None), key("a.tif", "other"), key("a.tif", shape=(60, 71))]
    others += [key("a.tif", dtype=np.uint16), key("s3://x/a.tif")]
    others += [key(None, shape=(3, 60, 70)), key(None, shape=(3, 60, 70), axes="CYX")]
    assert len({here, *others}) == 9


def test_kept_work_is_found_again_in_either_form():
    class Layer:
        level_shapes, dtype = ((4, 4),), "uint8"

        def __init__(self, path):
            self.source = type("Source", (), {"path": path})

    class Choice:
        axes = "YX"

        def __init__(self, form):
            self.layers, self.name = (
                (Layer(unicodedata.normalize(form, "/data/ä.tif")),),
                unicodedata.normalize(form, "ä"),
            )

    assert len({image_key(Choice(form)) for form in ("NFC", "NFD")}) == 1


@settings(max_examples=15)
@given(
    strokes=st.lists(
        st.tuples(st.integers(0, 69), st.integers(0, 199), st.integers(0, 799), st.integers(1, 3)),
        min_size=1,
        max_size=5,
    ),
    complete=st.sets(st.integers(0, 69), max_size=1),
    ndim=st.sampled_from([2, 3]),
)
def test_dock_and_command_line_train_on_the_same_regions(strokes, complete, ndim):
    pixels = np.broadcast_to(noise(1, 200, 800), (70, 200, 800))
    found = annotated(pixels, dtype=np.uint8, task="objects")
    for z, y, x, value in [*strokes, (3, 5, 5, 1), (3, 20, 5, 2)]:
        found.layer.data[z, y : y + 9, x : x + 30] = value
    found.layer.refresh()
    for _ in range(9):  # a few megabytes at a time
        found.changed_planes()
    for z in complete:
        found.mark_complete((z,), True)
    painted = found.examples(ndim, INTENSITY)
    image, labels = (
        Image(each, "ZYX", (1.0,) * 3, "pixel", ("",), "cells") for each in (pixels, found.layer.data)
    )
    meaning = Meaning("objects", OBJECT_CLASSES, tuple((z,) for z in complete))
    read = read_examples([(image, SavedAnnotation(labels, meaning))], LabelOptions(ndim=ndim)).examples
    places = [each.place[-ndim:] or (0,) * ndim for each in read]  # () where everything is read
    assert places == [each.place[-ndim:] for each in painted]
    for one, other in zip(read, painted, strict=True):
        assert np.array_equal(one.annotation, other.annotation)
