"""What is decided once for a stack: blocks that partition it, and words that a journal keeps."""

import json
from dataclasses import replace
from math import prod

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_unet.core.inference import Predictor
from napari_unet.core.io import Image, Source
from napari_unet.core.layouts import SegmentConfig, seen_image, with_model_channels
from napari_unet.core.modelfile import Model
from napari_unet.core.networks.unet import UNet, UNetConfig
from napari_unet.core.normalise import Intensity
from napari_unet.core.plan import FEW_TILES, MOST_PIXELS, MOST_PLANES, MOST_WRITTEN, StackPlan, plan_stack
from napari_unet.core.targets import ClassLabel
from napari_unet.core.tiling import TileGrid

KNOWN = Intensity((0.0,), (1.0,), (0.5,))


class Virtual:
    """An image of any size that is all 0."""

    dtype = np.dtype(np.uint16)

    def __init__(self, shape):
        self.shape = tuple(shape)

    def __getitem__(self, region):
        sizes = [len(range(*part.indices(size))) for part, size in zip(region, self.shape, strict=True)]
        return np.zeros(sizes, np.uint16)


def image_of(shape, axes, spacing=None, unit="pixel"):
    n_spatial = sum(axis in "ZYX" for axis in axes)
    n_channels = shape[axes.index("C")] if "C" in axes else 1
    return Image(Virtual(shape), axes, spacing or (1.0,) * n_spatial, unit, ("",) * n_channels, "made")


def model_of(ndim=2, n_classes=2, spacing=None, unit="pixel", in_channels=1):
    network = UNet(
        UNetConfig(ndim=ndim, width=2, depth=1, in_channels=in_channels, n_classes=n_classes)
    ).eval()
    classes = tuple(ClassLabel(value + 1, value, f"class {value}") for value in range(n_classes))
    about = ("ZYX"[-ndim:], spacing or (1.0,) * ndim, unit, ("",) * in_channels, "percentile", {}, "0")
    return Model(network, "unet", "classes", classes, *about)


def planned(model, image, **options):
    config = SegmentConfig(**{"halo": 0, "precision": "fp32", "device": "cpu"} | options)
    predictor = Predictor(model.network, torch.device("cpu"), "fp32")
    return plan_stack(predictor, model, image, config, KNOWN)


@st.composite
def plans(draw):
    ndim = draw(st.sampled_from([2, 3]))
    sizes = st.integers(1, 12)
    shape, tile = (tuple(draw(st.lists(sizes, min_size=ndim, max_size=ndim))) for _ in range(2))
    outer_shape = tuple(draw(st.lists(st.integers(1, 5), min_size=1, max_size=4 - ndim)))
    depth = draw(st.integers(1, 6)) if len(outer_shape) == 2 else 1
    grid = TileGrid(shape, tile, (1,) * ndim, (0,) * ndim, tuple(size + 2 for size in tile))
    intensity = Intensity((draw(st.floats(-1e6, 1e6)),), (2e6,), (), "percentile-asinh")
    return StackPlan(grid, outer_shape, depth, intensity, "bf16", draw(st.integers(1, 64)))


@given(plans())
def test_blocks_partition_the_stack(plan):
    covered = np.zeros((*plan.outer_shape, *plan.grid.shape), int)
    for block in plan:
        covered[(*block.outer, *block.tile.write)] += 1
        assert block.outer[0].stop - block.outer[0].start == 1  # one time point
    assert (covered == 1).all()
    assert covered.size == plan.n_voxels and len(list(plan)) == len(plan)


@given(plans())
def test_blocks_begin_at_multiples_of_their_shape(plan):
    places = [(*block.outer, *block.tile.write) for block in plan]
    for place in places:
        for part, step in zip(place, plan.block_shape, strict=True):
            assert part.start % step == 0 and part.stop - part.start <= step
    assert [len({place[axis].start for place in places}) for axis in range(len(plan.block_shape))] == list(
        plan.block_counts
    )


@given(plans())
def test_a_plan_is_the_same_after_it_was_kept_as_json(plan):
    again = StackPlan.from_json(json.loads(json.dumps(plan.as_json())))
    assert again == plan and list(again) == list(plan) and hash(again) == hash(plan)


@given(plans())
def test_there_is_no_block_beyond_the_last(plan):
    assert plan[-1] == plan[len(plan) - 1]
    for index in (len(plan), -len(plan) - 1):
        with pytest.raises(IndexError, match="there is no block"):
            plan[index]


@settings(max_examples=15)
@given(
    st.sampled_from(["YX", "ZYX", "TYX", "TZYX"]),
    st.integers(1, 40),
    st.integers(1, 3),
    st.sampled_from([2, 3]),
)
def test_a_plan_fits_the_image_and_the_network(axes, side, n, ndim):
    if ndim == 3 and "Z" not in axes:
        return
    sizes = {"T": n, "Z": n + 1, "Y": side, "X": 2 * side}
    plan = planned(model_of(ndim), image_of([sizes[axis] for axis in axes], axes), tile=16)
    spatial = tuple(sizes[axis] for axis in axes if axis != "T")
    whole = (sizes["T"] if "T" in axes else 1, *spatial)
    assert (*plan.outer_shape, *plan.grid.shape) == whole and len(plan.grid.shape) == ndim
    assert max(plan.grid.tile_shape) <= 16 and plan.intensity.method == "percentile"
    assert plan.depth == 1


def test_a_huge_stack_is_worked_through_several_planes_at_once_so_that_there_are_fewer_files():
    model = model_of()
    few = planned(model, image_of((FEW_TILES // 100, 320, 320), "ZYX"), tile=32)
    many = planned(model, image_of((FEW_TILES // 100 + 1, 320, 320), "ZYX"), tile=32)
    assert len(few.grid) == 100
    assert (few.depth, many.depth) == (1, MOST_PLANES)
    assert many.block_shape == (1, MOST_PLANES, 32, 32)
    assert len(many) == -(-many.outer_shape[1] // MOST_PLANES) * 100


def test_a_block_has_a_size_that_memory_and_files_bear():
    image = image_of((FEW_TILES, 8192, 8192), "ZYX")
    for kind, n_bytes in (("labels", 1), ("probabilities", 8), ("objects", 4)):  # 16, 8 and 16 planes
        plan = planned(model_of(), image, tile=1024, kind=kind)
        assert plan.depth == min(MOST_WRITTEN // (1024**2 * n_bytes), MOST_PLANES)


@pytest.mark.parametrize(
    ("shape", "axes", "ndim"), [((FEW_TILES, 64, 64), "TYX", 2), ((FEW_TILES, 4, 64, 8), "TZYX", 3)]
)
def test_time_points_are_never_put_together(shape, axes, ndim):
    assert planned(model_of(ndim), image_of(shape, axes), tile=32).depth == 1


def test_a_thin_stack_of_many_tiles_has_blocks_as_thick_as_itself():
    plan = planned(model_of(), image_of((3, 16_000, 16_000), "ZYX"), tile=32)
    assert plan.depth == 3 and len(plan) == 250_000


def test_the_network_sees_the_image_as_it_is_unless_voxel_sizes_are_to_match():
    image = image_of((4, 8, 8), "ZYX", (2.0, 0.5, 0.5), "µm")
    assert seen_image(model_of(spacing=(1.0, 1.0), unit="µm"), image, SegmentConfig()) is image


def test_a_2d_model_leaves_the_planes_where_they_are():
    model = model_of(spacing=(1000.0, 2000.0), unit="nm")
    image = image_of((4, 8, 8), "ZYX", (2.0, 0.5, 0.5), "µm")
    seen = seen_image(model, image, SegmentConfig(match_spacing=True))
    assert (seen.spacing, seen.spatial_shape, seen.unit) == ((2.0, 1.0, 2.0), (4, 4, 2), "µm")


def test_a_3d_model_changes_all_three_axes():
    model = model_of(3, spacing=(1.0, 1.0, 1.0), unit="µm")
    image = image_of((4, 8, 8), "ZYX", (2.0, 0.5, 0.25), "µm")
    seen = seen_image(model, image, SegmentConfig(match_spacing=True))
    assert (seen.spacing, seen.spatial_shape) == ((1.0, 1.0, 1.0), (8, 4, 2))


def test_voxel_sizes_that_match_change_nothing():
    image = image_of((4, 8, 8), "ZYX", (2.0, 0.5, 0.5), "µm")
    model = model_of(spacing=(500.0, 500.0), unit="nm")
    assert seen_image(model, image, SegmentConfig(match_spacing=True)) is image


@pytest.mark.parametrize(
    ("of_model", "of_image", "sentence"),
    [
        ("pixel", "µm", "the model was trained on images of unknown voxel size: leave out --match-spacing"),
        ("nm", "pixel", "made is an image of unknown voxel size: give --spacing in nm"),
    ],
)
def test_voxel_sizes_that_nobody_knows_cannot_match(of_model, of_image, sentence):
    model, image = model_of(unit=of_model), image_of((8, 8), "YX", unit=of_image)
    with pytest.raises(ValueError, match=sentence):
        seen_image(model, image, SegmentConfig(match_spacing=True))


def test_a_spacing_that_was_given_without_a_unit_is_in_that_of_the_model():
    model, image = model_of(spacing=(0.5, 0.5), unit="µm"), image_of((8, 8), "YX", (0.25, 0.25), "pixel")
    assert seen_image(model, image, SegmentConfig(match_spacing=True)).spatial_shape == (4, 4)


def test_a_plan_differs_when_anything_in_it_does():
    plan = planned(model_of(), image_of((4, 40, 40), "ZYX"), tile=16)
    assert replace(plan, n_threads=plan.n_threads + 1) != plan
    assert StackPlan.from_json(plan.as_json() | {"depth": 2}) == replace(plan, depth=2)


@pytest.mark.parametrize("option", [{"kind": "mask"}, {"score_type": "int8"}, {"halo": "wide"}, {"tile": 0}])
def test_options_that_mean_nothing_are_refused(option):
    with pytest.raises(ValueError, match=f"{next(iter(option))} is"):
        SegmentConfig(**option)


def test_a_tile_is_smaller_where_it_lies_over_many_pixels_of_the_image():
    model = model_of(spacing=(8.0, 8.0), unit="µm")
    plan = planned(model, image_of((16_384, 16_384), "YX", (1.0, 1.0), "µm"), match_spacing=True)
    assert plan.grid.shape == (2048, 2048) and max(plan.grid.tile_shape) <= 1024
    assert prod(plan.grid.tile_shape) * 64 <= MOST_PIXELS


@pytest.mark.parametrize(
    ("of_model", "of_image", "expected"),
    [
        (("dna", "actin"), ("actin", "x", "dna"), ("dna", "actin")),
        (("", ""), ("", "dna"), ("", "dna")),
        (("",), ("dna", ""), ("dna", "")),
        (("dna", "dna"), ("dna", "actin"), ("dna", "actin")),
        (("dna",), ("dna", "dna"), ("dna", "dna")),
        (("dna",), ("actin",), ("actin",)),
    ],
)
def test_a_model_finds_its_channels_by_name_where_names_tell_them(of_model, of_image, expected):
    model = replace(model_of(in_channels=len(of_model)), channels=of_model)
    image = replace(image_of((len(of_image), 8, 8), "CYX"), channels=of_image)
    assert with_model_channels(model, image).channels == expected


def test_channels_that_were_chosen_stay_as_they_were_chosen():
    model = replace(model_of(in_channels=2), channels=("dna", "actin"))
    image = replace(
        image_of((2, 8, 8), "CYX"), channels=("actin", "dna"), source=Source(("a.tif",), channels=(0, 1))
    )
    assert with_model_channels(model, image) is image
