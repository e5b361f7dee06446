"""Sparse labels to examples: only the neighbourhood of what is annotated is read, and nothing is lost."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_unet.core.annotations import Meaning, SavedAnnotation
from napari_unet.core.examples import read_examples
from napari_unet.core.io import Image
from napari_unet.core.label_values import LabelOptions
from napari_unet.core.normalise import CHUNK_SIDE, N_CHUNKS
from napari_unet.core.targets import UNLABELLED, ClassLabel, TargetOptions, make_target
from napari_unet.core.validation import split_validation

SPARSE = LabelOptions("classes", "ignore")


class Made:
    """An array of any size that is made up as it is read: 0 but for some boxes; it notes what is read."""

    def __init__(self, shape, boxes=(), dtype=np.uint8):
        self.shape, self.dtype, self.boxes, self.n_read, self.largest = shape, np.dtype(dtype), boxes, 0, 0

    def __getitem__(self, region):
        sizes = [part.stop - part.start for part in region]
        self.n_read += int(np.prod(sizes))
        self.largest = max(self.largest, int(np.prod(sizes)))
        found = np.zeros(sizes, self.dtype)
        for box, value in self.boxes:
            inside = [
                slice(max(0, b.start - part.start), max(0, b.stop - part.start))
                for b, part in zip(box, region, strict=True)
            ]
            found[tuple(inside)] = value
        return found


class Textured(Made):
    """An image, which has no two neighbours alike, as padding would."""

    def __getitem__(self, region):
        super().__getitem__(region)
        return (sum(np.ogrid[region]) * 37 % 101).astype(self.dtype)


def image_of(data, axes=None, name="image"):
    axes = axes or "ZYX"[-len(data.shape) :]
    return Image(data, axes, (1.0,) * sum(a in "ZYX" for a in axes), "pixel", ("",), name)


def strokes(*corners):
    """Beside each other a stroke of background and one of a class at each corner."""
    boxes = []
    for *outer, y, x in corners:
        alone = [slice(at, at + 1) for at in outer]
        boxes.append(((*alone, slice(y, y + 5), slice(x, x + 20)), 1))
        boxes.append(((*alone, slice(y + 10, y + 15), slice(x, x + 20)), 2))
    return boxes


SAMPLED = N_CHUNKS * CHUNK_SIDE**2
"""Pixels that measuring the intensities may read."""


@pytest.mark.parametrize(
    ("shape", "corners", "ndim", "most"),
    [
        ((20_000, 20_000), [(300, 300), (15_000, 9000)], 2, 2 * 768**2),
        ((500, 2048, 2048), [(7, 300, 300), (250, 1200, 1200)], 2, 2 * 768**2),
        ((500, 2048, 2048), [(7, 300, 300), (250, 1200, 1200)], 3, 2 * 64 * 768**2),
    ],
)
def test_only_the_neighbourhood_of_strokes_is_read(shape, corners, ndim, most):
    image, labels = Textured(shape), Made(shape, strokes(*corners))
    options = LabelOptions("classes", "ignore", ndim=ndim)
    dataset = read_examples([(image_of(image), image_of(labels))], options)
    assert len(dataset.examples) == len(corners)
    assert sum(example.annotation.size for example in dataset.examples) <= most
    assert image.n_read <= most + SAMPLED
    assert labels.largest <= max(2**26, most), "labels are read a block at a time"
    for corner, example in zip(corners, dataset.examples, strict=True):
        (*_, y, x), (*_, top, left) = corner, example.place
        assert (example.annotation[..., y - top, x - left] == 1).any()
        assert int((example.annotation > 0).sum()) == 200


@st.composite
def annotated(draw):
    shape = draw(st.tuples(st.integers(1, 70), st.integers(1, 400), st.integers(2, 900)))
    labels = np.zeros(shape, draw(st.sampled_from([np.uint8, np.uint16, np.int32])))
    for _ in range(draw(st.integers(1, 6))):
        first = [draw(st.integers(0, size - 1)) for size in shape]
        box = tuple(slice(at, at + draw(st.integers(1, n))) for at, n in zip(first, (3, 40, 40), strict=True))
        labels[box] = draw(st.integers(1, 3))
    labels[0, 0, 0], labels[-1, -1, -1] = 1, 2
    complete = draw(st.sets(st.integers(0, shape[0] - 1), max_size=1))
    planes = draw(st.none() | st.just(tuple(sorted({0, shape[0] - 1, *complete}))))
    return labels, LabelOptions("classes", "ignore", tuple(complete), planes, draw(st.sampled_from([2, 3])))


@settings(max_examples=15)
@given(annotated())
def test_each_labelled_pixel_is_in_one_example_with_its_value_and_its_intensity(made):
    labels, options = made
    pixels = np.random.default_rng(0).integers(0, 200, labels.shape).astype(np.uint8)
    dataset = read_examples([(image_of(pixels), image_of(labels))], options)
    wanted = np.zeros(labels.shape, int)
    for z in range(len(labels)) if options.planes is None else options.planes:
        wanted[z] = np.where((labels[z] == 0) & (z in options.complete), 1, labels[z])
    seen, whole = np.zeros_like(wanted), []
    planes = sorted(np.unique(np.nonzero(wanted)[0]))
    for at, example in enumerate(dataset.examples):
        shape = (1,) * (3 - options.ndim) + example.annotation.shape
        t, *start = example.place or (0, planes[at] if options.ndim == 2 else 0, 0, 0)
        region = tuple(slice(first, first + size) for first, size in zip(start, shape, strict=True))
        assert t == 0 and not seen[region][example.annotation.reshape(shape) > 0].any()
        seen[region] += example.annotation.reshape(shape)
        whole.append((pixels[region].ravel(), example.image.ravel()))
    np.testing.assert_array_equal(seen, wanted)
    raw, found = (np.concatenate(each) for each in zip(*whole, strict=True))
    for value in np.unique(raw)[::50]:
        assert np.unique(found[raw == value]).size == 1, "one scale for all"


def test_what_is_labelled_throughout_is_read_whole_and_has_no_place():
    labels = np.resize([1, 2], (4, 700, 700)).astype(np.uint8)
    pixels = np.random.default_rng(0).integers(0, 200, labels.shape).astype(np.uint8)
    for ndim, n in ((2, 4), (3, 1)):
        for options in (LabelOptions(ndim=ndim), LabelOptions("classes", "ignore", ndim=ndim)):
            dataset = read_examples([(image_of(pixels), image_of(labels))], options)
            assert [example.place for example in dataset.examples] == [()] * n
            np.testing.assert_array_equal(
                np.concatenate([example.annotation.ravel() for example in dataset.examples]),
                labels.ravel() + options.dense,
            )


def test_few_labelled_planes_of_a_dense_stack_are_read_with_those_around_them():
    image, boxes = Textured((500, 300, 300)), [((slice(100, 102), slice(0, 50), slice(0, 50)), 1)]
    labels = Made(image.shape, boxes)
    dataset = read_examples([(image_of(image), image_of(labels))], LabelOptions("objects", ndim=3))
    (example,) = dataset.examples
    assert (example.place, example.annotation.shape) == ((0, 80, 0, 0), (64, 300, 300))
    assert (example.annotation != 0).all((1, 2)).nonzero()[0].tolist() == [20, 21]
    assert dataset.notes[0] == "image: planes 0-99, 102-499 hold no label and count as unlabelled"
    assert image.n_read <= SAMPLED + 64 * 300**2


def test_a_complete_plane_is_read_whole_and_others_in_parts():
    image, labels = Made((9, 1500, 1500)), Made((9, 1500, 1500), strokes((2, 30, 30), (5, 30, 30)))
    options = LabelOptions("classes", "ignore", complete=(5,))
    first, second = read_examples([(image_of(image), image_of(labels))], options).examples
    assert (first.place, first.annotation.shape) == ((0, 2, 0, 0), (384, 384))
    assert (second.place, second.annotation.shape) == ((0, 5, 0, 0), (1500, 1500))
    assert second.annotation.min() == 1


def test_saved_annotations_of_time_series():
    shape = (3, 2, 1500, 1500)
    labels = Made(shape, strokes((0, 1, 30, 30), (2, 0, 1200, 900)))
    classes = ClassLabel(1, 0, "background"), ClassLabel(2, 1, "cell")
    saved = SavedAnnotation(image_of(labels, "TZYX"), Meaning("classes", classes, ((2, 0),)))
    image = Made(shape)
    dataset = read_examples([(image_of(image, "TZYX"), saved)])
    assert [example.place for example in dataset.examples] == [(0, 1, 0, 0), (2, 0, 0, 0)]
    assert [example.annotation.shape for example in dataset.examples] == [(384, 384), (1500, 1500)]
    deep = read_examples([(image_of(image, "TZYX"), saved)], LabelOptions(ndim=3))
    assert [example.place for example in deep.examples] == [(0, 0, 0, 0), (2, 0, 0, 0)]
    assert [example.annotation.shape for example in deep.examples] == [(2, 384, 384), (2, 1500, 1500)]


def test_pixels_that_are_not_finite_count_where_they_are_read():
    pixels = np.random.default_rng(0).random((2000, 2000), np.float32)
    pixels[:2, :2] = pixels[1900] = np.nan
    labels = np.zeros(pixels.shape, np.uint8)
    labels[0, :40], labels[9, :40] = 1, 2
    (example,) = (dataset := read_examples([(image_of(pixels), image_of(labels))], SPARSE)).examples
    assert dataset.notes == ("image: 4 pixels are not finite and count as unlabelled",)
    assert int((example.known > 0).sum()) == 78


def test_high_object_numbers_stay():
    labels = np.zeros((900, 900), np.uint32)
    labels[:9, :9], labels[20:29, :9], labels[40:49, :9] = 1, 70_000, 2**32 - 1
    image = image_of(np.random.default_rng(0).random(labels.shape))
    (example,) = read_examples([(image, image_of(labels))], LabelOptions("objects", "ignore")).examples
    assert np.unique(example.annotation).tolist() == [0, 1, 70_000, 2**32 - 1]


@pytest.mark.parametrize("ndim", [2, 3])
def test_held_out_blocks_of_sparse_strokes_are_not_trained_on(ndim):
    corners = [(z, y, x) for z in (5, 30)[: 4 - ndim] for y in (100, 260, 420) for x in (50, 700, 850)]
    shape = (40, 600, 1000)
    pairs = [(image_of(Made(shape)), image_of(Made(shape, strokes(*corners))))]
    dataset = read_examples(pairs, LabelOptions("classes", "ignore", ndim=ndim))
    targets = [make_target(each, TargetOptions("classes", dataset.classes)) for each in dataset.examples]
    split = split_validation(targets, 0.2, 0)
    n_pixels = [
        np.sum([np.bincount(target.classes.ravel(), minlength=256) for target in some], axis=0)
        for some in (targets, split.training, split.validation)
    ]
    every, trained, scored = ([counts[index] for index in (0, 1)] for counts in n_pixels)
    assert "held out" in split.how and min(trained) > 0 and min(scored) > 0
    assert all(t + s <= n for n, t, s in zip(every, trained, scored, strict=True))
    assert all(target.classes.min() != UNLABELLED for target in split.validation)
