"""The tasks of a stack: whatever the blocks and their order, they give what the whole at once gives."""

from itertools import pairwise
from math import prod

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_unet.core.io import Image
from napari_unet.core.linking import link, overlaps
from napari_unet.core.normalise import Intensity
from napari_unet.core.numbered import connected_objects
from napari_unet.core.object_numbers import SeedNumbers, final_numbers
from napari_unet.core.object_work import PARTS, ObjectStore, number_planes
from napari_unet.core.objects import ObjectRules, smallest_seed
from napari_unet.core.plan import StackPlan
from napari_unet.core.results import ArraySink, Finding, ResultLayout
from napari_unet.core.stack_work import StackWork
from napari_unet.core.targets import ClassLabel
from napari_unet.core.tiling import TileGrid
from napari_unet.core.work import BlockWork

CONNECTED = Finding(ObjectRules())
CLASSES = (ClassLabel(1, 0, "background"), ClassLabel(2, 3, "cell"))


class Threshold:
    """A predictor without a network: class 1 where a pixel is above 0; remembers how much it got at once."""

    def __init__(self, n_at_once=1):
        self.n_at_once, self.largest = n_at_once, 0

    def batch_size(self, read_shape):
        return self.n_at_once

    def predict_tiles(self, blocks, crops, *, classes):
        self.largest = max(self.largest, len(blocks))
        said = [(block[0] > 0)[crop] for block, crop in zip(blocks, crops, strict=True)]
        return [
            each.astype(np.uint8) if classes else np.stack((~each, each)).astype(np.float32) for each in said
        ]


class Certain(Threshold):
    """A network of objects that says foreground above 0.2, and as much core as the pixel has above it."""

    def predict_tiles(self, blocks, crops, *, classes):
        said = [(block[0][crop] + 1) / 2 for block, crop in zip(blocks, crops, strict=True)]  # from -1 to 1
        return [np.stack((each < 0.2, np.clip(1 - each, 0, 1), np.clip(each, 0, 1))) for each in said]


class Kept(ArraySink):
    levels = ()

    def read(self, region):
        return self.array[region].copy()


def work_of(foreground, ndim, tile, depth, kind="objects", n_at_once=1, finding=CONNECTED):
    """Foreground (T, Z, Y, X) or (T, Y, X) of a network with that many spatial axes."""
    spatial = foreground.shape[1:]
    image = Image(foreground, "T" + "ZYX"[-len(spatial) :], (1.0,) * len(spatial), "µm", ("",), "made")
    layout = ResultLayout(image, kind, CLASSES, ndim, finding=finding)
    grid = TileGrid(spatial[-ndim:], tile, (1,) * ndim, (0,) * ndim, tuple(size + 2 for size in tile))
    outer_shape = foreground.shape[:-ndim]
    plan = StackPlan(grid, outer_shape, depth, Intensity((0.0,), (1.0,)), "fp32", 1)
    predictor = (Certain if finding.grows else Threshold)(n_at_once)
    result = Kept(np.zeros(layout.shape, layout.dtype))
    blocks = BlockWork(plan, layout, image, predictor, image)
    parts = {name: Kept(np.zeros(layout.shape, np.uint32)) for name in PARTS}
    parts["scores"] = Kept(np.zeros((2, *layout.shape), np.uint8))
    numbers = []
    return StackWork(blocks, lambda: result, ObjectStore(parts.get, lambda: numbers[-1])), result, numbers


def run(work, random, numbers):
    """Do all tasks, those of a phase in any order; return how many objects there are."""
    notes, n_objects = {"links": []}, None
    for phase in work.phases():
        tasks = list(range(phase.n_tasks))
        random.shuffle(tasks)
        if phase.name == "seeds":
            least = smallest_seed(work.blocks.layout.finding.rules, work.blocks.layout.ndim)
            seeds = SeedNumbers(phase.n_tasks, lambda: notes["tiles"], lambda: notes["faces"], least)
        if phase.name == "numbers":
            said = ([note for _, note in notes[name]] for name in ("objects", "links"))
            n_objects, final = final_numbers(seeds, work.blocks.layout.finding, *said)
            numbers.append(final)
        notes[phase.name] = [
            (task, phase.do(task, seeds.of_block(task) if phase.name == "seeds" else None)) for task in tasks
        ]
    return n_objects


@st.composite
def stacks(draw):
    ndim = draw(st.sampled_from([2, 3]))
    n_spatial = draw(st.integers(ndim, 3))
    shape = (
        draw(st.integers(1, 2)),
        *draw(st.lists(st.integers(1, 9), min_size=n_spatial, max_size=n_spatial)),
    )
    tile = tuple(draw(st.lists(st.integers(1, 6), min_size=ndim, max_size=ndim)))
    depth = draw(st.integers(1, 3)) if n_spatial > ndim else 1
    share = draw(st.sampled_from([0.0, 0.3, 0.6, 0.9]))
    seed = draw(st.integers(0, 99))
    return np.random.default_rng(seed).random(shape) < share, ndim, tile, depth


@settings(max_examples=60)
@given(stacks(), st.randoms(use_true_random=False))
def test_objects_of_blocks_are_those_of_the_whole_but_for_their_numbers(stack, random):
    foreground, ndim, tile, depth = stack
    work, result, numbers = work_of(foreground, ndim, tile, depth)
    n_objects = run(work, random, numbers)
    expected = np.zeros(foreground.shape, np.int64)
    for place in np.ndindex(foreground.shape[:-ndim]):  # no object is in two planes or time points
        found = connected_objects(foreground[place]).astype(np.int64)
        expected[place] = np.where(found > 0, found + expected.max(), 0)
    pairs = {*zip(expected.ravel().tolist(), result.array.ravel().tolist(), strict=True)} - {(0, 0)}
    assert len(pairs) == n_objects == expected.max()  # one to one
    assert {new for _, new in pairs} == set(range(1, n_objects + 1))


def one_to_one(result, expected):
    """Tell whether two arrays hold the same objects, but for their numbers."""
    pairs = {*zip(expected.ravel().tolist(), result.ravel().tolist(), strict=True)} - {(0, 0)}
    return len(pairs) == len({a for a, _ in pairs}) == len({b for _, b in pairs}) and 0 not in sum(pairs, ())


@settings(max_examples=60)
@given(
    stacks(),
    st.integers(0, 6),
    st.booleans(),
    st.sampled_from([0, 1, 2, 4]),
    st.randoms(use_true_random=False),
)
def test_blocks_drop_and_fill_what_is_dropped_and_filled_in_the_whole(
    stack, min_size, keep_border, reach, random
):
    foreground, ndim, tile, depth = stack
    rules = ObjectRules(min_size=min_size, reach=(reach,) * ndim if reach else ())
    finding = Finding(rules, fill_holes=reach > 0, keep_border=keep_border)
    work, result, numbers = work_of(foreground, ndim, tile, depth, finding=finding)
    n_objects = run(work, random, numbers)
    expected = np.zeros(foreground.shape, np.int64)
    for place in np.ndindex(foreground.shape[:-ndim]):
        scores = np.where(foreground[place], 255, 0).astype(np.uint8)
        found = finding.find(np.stack((scores, scores))).astype(np.int64)
        expected[place] = np.where(found > 0, found + expected.max(), 0)
    assert one_to_one(result.array, expected)
    assert n_objects == expected.max() == result.array.max()


def blobs(shape, n, seed, sigma=2.5):
    """Pixels from 0 to 1 of round objects, some of which touch."""
    rng = np.random.default_rng(seed)
    axes = np.indices(shape)
    pixels = np.zeros(shape)
    for centre in rng.uniform(0, shape, (n, len(shape))):
        distance = sum((axis - at) ** 2 for axis, at in zip(axes, centre, strict=True))
        pixels = np.maximum(pixels, np.exp(-distance / (2 * sigma**2)))
    return pixels.astype(np.float32)


@settings(max_examples=25)
@given(
    st.sampled_from([((90, 80), 40), ((24, 30, 32), 25)]),
    st.integers(0, 999),
    st.integers(9, 33),
    st.integers(0, 30),
    st.randoms(use_true_random=False),
)
def test_objects_that_fit_into_the_halo_are_grown_in_tiles_as_in_the_whole(field, seed, side, least, random):
    shape, n = field
    pixels = blobs(shape, n, seed)
    rules = ObjectRules(0.3, 0.7, min_size=least, reach=(20,) * len(shape))
    finding = Finding(rules, grows=True, fill_holes=True)
    ndim = len(shape)
    work, result, numbers = work_of(pixels[None], ndim, (side,) * ndim, 1, finding=finding)
    n_objects = run(work, random, numbers)
    scores = work.blocks.layout.encode(
        Certain().predict_tiles([2 * pixels[None] - 1], [(...,)], classes=False)[0]
    )
    expected = finding.find(scores).astype(np.int64)
    assert n_objects == expected.max() == len(np.unique(result.array)) - 1
    called = np.zeros(n_objects + 1, np.int64)  # of the objects of blocks, those of the whole
    called[result.array[0].ravel()] = expected.ravel()
    assert np.mean(called[result.array[0]] == expected) >= 0.999


@settings(max_examples=60)
@given(
    st.sampled_from([((1, 26, 30), 14), ((2, 20, 22), 12), ((12, 14, 15), 8)]),
    st.sampled_from([2, 3]),
    st.integers(0, 999),
    st.integers(4, 14),
    st.integers(1, 3),
    st.integers(2, 60),
    st.booleans(),
    st.randoms(use_true_random=False),
)
def test_of_objects_larger_than_the_halo_none_is_dropped_but_for_its_size(
    field, ndim, seed, side, reach, least, fill, random
):
    (shape, n), rng = field, np.random.default_rng(seed)
    pixels = (blobs(shape, n, seed, 4.0) * rng.uniform(0.7, 1, shape)).astype(np.float32)
    rules = ObjectRules(0.3, 0.7, min_size=least, reach=(reach,) * ndim)
    finding = Finding(rules, grows=True, fill_holes=fill)
    work, result, numbers = work_of(pixels[None], ndim, (side,) * ndim, 1, finding=finding)
    run(work, random, numbers)
    grown = work._objects._part("grown").array
    sizes = np.bincount(grown.ravel(), minlength=len(numbers[-1]))
    np.testing.assert_array_equal(numbers[-1] > 0, (sizes >= least) & (np.arange(len(sizes)) > 0))
    np.testing.assert_array_equal(result.array, numbers[-1][grown])


@settings(max_examples=25)
@given(stacks().filter(lambda stack: stack[1] == 2 and stack[0].ndim == 4), st.randoms(use_true_random=False))
def test_linked_objects_are_those_of_whole_planes_that_are_linked(stack, random):
    foreground, _, tile, depth = stack
    finding = Finding(ObjectRules(), link=True)
    work, result, numbers = work_of(foreground, 2, tile, depth, finding=finding)
    n_objects = run(work, random, numbers)
    expected = np.zeros(foreground.shape, np.int64)
    for place in np.ndindex(foreground.shape[:2]):
        found = connected_objects(foreground[place]).astype(np.int64)
        expected[place] = np.where(found > 0, found + expected.max(), 0)
    pieces = [overlaps(*planes) for volume in expected for planes in pairwise(volume)]
    linked = link(np.bincount(expected.ravel()), pieces)[expected]
    assert one_to_one(result.array, linked) and n_objects == linked.max()


@settings(max_examples=30)
@given(
    stacks(),
    st.sampled_from(["labels", "probabilities"]),
    st.integers(1, 4),
    st.randoms(use_true_random=False),
)
def test_any_order_and_number_at_once_give_the_same_labels(stack, kind, n_at_once, random):
    foreground, ndim, tile, depth = stack
    work, result, numbers = work_of(foreground, ndim, tile, depth, kind, n_at_once)
    assert run(work, random, numbers) is None
    if kind == "labels":
        np.testing.assert_array_equal(result.array, np.where(foreground, 3, 0))
    else:
        np.testing.assert_array_equal(result.array, np.stack((~foreground, foreground), axis=1))


def test_a_block_of_many_planes_does_not_take_more_memory_than_the_device_has():
    foreground = np.random.default_rng(0).random((1, 7, 9, 9)) < 0.5
    work, _, _ = work_of(foreground, 2, (4, 4), 5, "labels", n_at_once=2)
    blocks = work.blocks
    assert blocks.n_at_once == 1  # a block has more planes than fit at once already
    [said] = blocks.predict([blocks.read(0)])
    np.testing.assert_array_equal(said, np.where(foreground[0, :5, :4, :4], 3, 0))
    assert blocks.predictor.largest == 2


def test_several_blocks_are_predicted_at_once_where_they_fit():
    work, _, _ = work_of(np.ones((1, 6, 9, 9), bool), 2, (4, 4), 2, "labels", n_at_once=8)
    assert work.blocks.n_at_once == 4
    work.blocks.predict([work.blocks.read(task) for task in range(4)])
    assert work.blocks.predictor.largest == 8


def test_every_pixel_that_is_not_finite_is_counted_in_one_block():
    array = np.random.default_rng(0).random((2, 3, 9, 9)).astype(np.float32)
    array[:, :, 3:5, 3:6] = np.nan
    work, _, _ = work_of(array, 2, (4, 4), 2, "labels")
    n_blocks = len(work.blocks.plan)
    assert sum(work.blocks.read(task).n_nonfinite for task in range(n_blocks)) == 2 * 3 * 2 * 3


def test_the_neighbours_of_a_block_are_those_that_its_network_sees_together():
    work, _, _ = work_of(np.zeros((2, 4, 8, 8), bool), 2, (4, 4), 2)
    assert prod(work.blocks.plan.block_counts) == 16
    assert [list(work._objects._neighbours(task)) for task in range(4)] == [
        [(2, 2), (3, 1)],
        [(2, 3)],
        [(3, 3)],
        [],
    ]
    assert [list(work._objects._neighbours(task)) for task in (12, 15)] == [[(2, 14), (3, 13)], []]


@pytest.mark.parametrize("ndim", [2, 3])
def test_objects_of_planes_are_numbered_on_and_those_of_a_volume_go_through(ndim):
    n_objects, numbers = number_planes(np.full((2, 3, 2, 2), 255, np.uint8), ndim, CONNECTED)
    assert n_objects == {2: 3, 3: 1}[ndim] == numbers.max() and numbers.dtype == np.uint32
