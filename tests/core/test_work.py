"""The tasks of a stack: whatever the blocks and their order, they give what the whole at once gives."""

from math import prod

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_unet.core.io import Image
from napari_unet.core.normalise import Intensity
from napari_unet.core.objects import connected_objects
from napari_unet.core.plan import StackPlan
from napari_unet.core.results import ArraySink, ResultLayout
from napari_unet.core.targets import ClassLabel
from napari_unet.core.tiling import TileGrid
from napari_unet.core.work import BlockWork, StackWork, join_objects, number_planes

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


class Kept(ArraySink):
    levels = ()

    def read(self, region):
        return self.array[region].copy()


def work_of(foreground, ndim, tile, depth, kind="objects", n_at_once=1):
    """Foreground (T, Z, Y, X) or (T, Y, X) of a network with that many spatial axes."""
    spatial = foreground.shape[1:]
    image = Image(foreground, "T" + "ZYX"[-len(spatial) :], (1.0,) * len(spatial), "µm", ("",), "made")
    layout = ResultLayout(image, kind, CLASSES, ndim)
    grid = TileGrid(spatial[-ndim:], tile, (1,) * ndim, (0,) * ndim, tuple(size + 2 for size in tile))
    outer_shape = foreground.shape[:-ndim]
    plan = StackPlan(grid, outer_shape, depth, Intensity((0.0,), (1.0,)), "fp32", 1)
    predictor = Threshold(n_at_once)
    sinks = [Kept(np.zeros(layout.shape, layout.dtype)), Kept(np.zeros(layout.shape, np.uint32))]
    blocks = BlockWork(plan, layout, image, predictor, image)
    return StackWork(blocks, lambda: sinks[0], lambda: sinks[1]), sinks[0]


def run(work, random):
    """Do all tasks, those of a phase in any order; return how many objects there are."""
    notes = {}
    for phase in work.phases():
        tasks = list(range(phase.n_tasks))
        random.shuffle(tasks)
        if phase.name == "objects":
            joined = join_objects(phase.n_tasks, notes["tiles"], notes["faces"])
        notes[phase.name] = [
            (task, phase.do(task, joined.numbers(task) if phase.name == "objects" else None))
            for task in tasks
        ]
    return joined.n_objects if "objects" in notes else None


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
    work, result = work_of(foreground, ndim, tile, depth)
    n_objects = run(work, random)
    expected = np.zeros(foreground.shape, np.int64)
    for place in np.ndindex(foreground.shape[:-ndim]):  # no object is in two planes or time points
        found = connected_objects(foreground[place]).astype(np.int64)
        expected[place] = np.where(found > 0, found + expected.max(), 0)
    pairs = {*zip(expected.ravel().tolist(), result.array.ravel().tolist(), strict=True)} - {(0, 0)}
    assert len(pairs) == n_objects == expected.max()  # one to one
    assert {new for _, new in pairs} == set(range(1, n_objects + 1))


@settings(max_examples=30)
@given(
    stacks(),
    st.sampled_from(["labels", "probabilities"]),
    st.integers(1, 4),
    st.randoms(use_true_random=False),
)
def test_any_order_and_number_at_once_give_the_same_labels(stack, kind, n_at_once, random):
    foreground, ndim, tile, depth = stack
    work, result = work_of(foreground, ndim, tile, depth, kind, n_at_once)
    assert run(work, random) is None
    if kind == "labels":
        np.testing.assert_array_equal(result.array, np.where(foreground, 3, 0))
    else:
        np.testing.assert_array_equal(result.array, np.stack((~foreground, foreground), axis=1))


def test_a_block_of_many_planes_does_not_take_more_memory_than_the_device_has():
    foreground = np.random.default_rng(0).random((1, 7, 9, 9)) < 0.5
    work, _ = work_of(foreground, 2, (4, 4), 5, "labels", n_at_once=2)
    blocks = work.blocks
    assert blocks.n_at_once == 1  # a block has more planes than fit at once already
    [said] = blocks.predict([blocks.read(0)])
    np.testing.assert_array_equal(said, np.where(foreground[0, :5, :4, :4], 3, 0))
    assert blocks.predictor.largest == 2


def test_several_blocks_are_predicted_at_once_where_they_fit():
    work, _ = work_of(np.ones((1, 6, 9, 9), bool), 2, (4, 4), 2, "labels", n_at_once=8)
    assert work.blocks.n_at_once == 4
    work.blocks.predict([work.blocks.read(task) for task in range(4)])
    assert work.blocks.predictor.largest == 8


def test_every_pixel_that_is_not_finite_is_counted_in_one_block():
    array = np.random.default_rng(0).random((2, 3, 9, 9)).astype(np.float32)
    array[:, :, 3:5, 3:6] = np.nan
    work, _ = work_of(array, 2, (4, 4), 2, "labels")
    n_blocks = len(work.blocks.plan)
    assert sum(work.blocks.read(task).n_nonfinite for task in range(n_blocks)) == 2 * 3 * 2 * 3


def test_the_neighbours_of_a_block_are_those_that_its_network_sees_together():
    work, _ = work_of(np.zeros((2, 4, 8, 8), bool), 2, (4, 4), 2)
    assert prod(work.blocks.plan.block_counts) == 16
    assert [list(work._neighbours(task)) for task in range(4)] == [[(2, 2), (3, 1)], [(2, 3)], [(3, 3)], []]
    assert [list(work._neighbours(task)) for task in (12, 15)] == [[(2, 14), (3, 13)], []]


@pytest.mark.parametrize("ndim", [2, 3])
def test_objects_of_planes_are_numbered_on_and_those_of_a_volume_go_through(ndim):
    n_objects, numbers = number_planes(np.ones((3, 2, 2), bool), ndim)
    assert n_objects == {2: 3, 3: 1}[ndim] == numbers.max() and numbers.dtype == np.uint32
