"""Objects of a network that tells rim and core: in memory, in files, linked through planes, and sifted."""

import numpy as np
import pytest
import torch
from scipy import ndimage

from napari_unet.core.arrays import segment, segment_into
from napari_unet.core.io import Image, open_image
from napari_unet.core.layouts import SegmentConfig
from napari_unet.core.modelfile import Model
from napari_unet.core.networks.unet import UNet, UNetConfig
from napari_unet.core.objects import ObjectRules
from napari_unet.core.results import ArraySink
from napari_unet.core.stacks import segment_stack
from napari_unet.core.targets import OBJECT_CLASSES, ClassLabel

CLASSES = (ClassLabel(1, 0, "background"), ClassLabel(2, 1, "cell"))
LOGITS = {3: ((-20, 0, 20), (-8, 0, -6)), 2: ((-50, 50), (-20, 20))}
"""Of the classes: what a pixel weighs, and what is added. Foreground is brighter than -0.4, core than 0.3."""


def brightness_model(ndim=2, n_classes=3, rules=None):
    """Says of each pixel what its own normalised brightness says, without a look at any other."""
    network = UNet(UNetConfig(ndim=ndim, width=2, depth=1, norm="none", n_classes=n_classes))
    centre = (1,) * ndim
    with torch.no_grad():
        for weight in network.parameters():
            weight.zero_()
        network.encoder[0][0].weight[(slice(None), 0, *centre)] = torch.tensor([1.0, -1.0])
        for part in (network.encoder[0][2], network.decoder[0][0], network.decoder[0][2]):
            part.weight[(0, 0, *centre)] = part.weight[(1, 1, *centre)] = 1
        slope, offset = (torch.tensor(each, dtype=torch.float32) for each in LOGITS[n_classes])
        network.head.weight[:, 0] = slope.reshape(-1, *(1,) * ndim)
        network.head.weight[:, 1] = -network.head.weight[:, 0]
        network.head.bias[:] = offset
    classes = OBJECT_CLASSES if n_classes == 3 else CLASSES
    about = ("ZYX"[-ndim:], (1.0,) * ndim, "pixel", ("",), "percentile", {}, "0", rules)
    return Model(network.eval(), "unet", "objects" if n_classes == 3 else "classes", classes, *about)


def image_of(array):
    return Image(array, "ZYX"[-array.ndim :], (1.0,) * array.ndim, "pixel", ("",), "made")


def round_cells(shape, n, seed=0, radius=8.0):
    """Brightness that falls from the middle of a cell to its border; many touch, some are cut."""
    rng = np.random.default_rng(seed)
    places = np.indices(shape)
    brightness = np.zeros(shape)
    for centre in rng.uniform(0, shape, (n, len(shape))):
        away = np.sqrt(sum((place - at) ** 2 for place, at in zip(places, centre, strict=True)))
        brightness = np.maximum(brightness, 1 - away / rng.uniform(radius / 2, radius))
    return (60_000 * brightness.clip(0)).astype(np.uint16)


def written(model, array, path, **options):
    for _ in segment_stack(model, image_of(array), path, SegmentConfig("objects", **options)):
        pass
    return open_image(path).read()[0]


def share_alike(one, other):
    """Share of the pixels of which two arrays say the same, up to numbering."""
    first = np.zeros(int(one.max()) + 1, np.int64)
    first[one.ravel()] = other.ravel()  # what each is called there
    return np.mean(first[one] == other)


FIELDS = {
    "plane": (2, (150, 140), 40),
    "planes": (2, (3, 90, 80), 60),
    "volume": (3, (26, 50, 60), 30),
}
SIFTED = {"min_size": 60, "keep_border": False}
WISHES = [
    ("plane", {}),
    ("plane", SIFTED),
    ("planes", SIFTED),
    ("planes", {"link": True, "min_size": 40}),
    ("planes", {"link": True, "keep_border": False}),
    ("volume", {}),
    ("volume", SIFTED),
]


@pytest.mark.parametrize(("field", "wish"), WISHES, ids=str)
def test_tiles_in_a_file_hold_the_objects_of_the_whole_in_memory(field, wish, tmp_path):
    ndim, shape, n_cells = FIELDS[field]
    model = brightness_model(ndim, rules=ObjectRules(0.5, 0.5, 4, (17,) * ndim))
    cells = round_cells(shape, n_cells)
    whole = segment(model, image_of(cells), kind="objects", tile=32, **wish)
    tiled = written(model, cells, tmp_path / "tiled.ome.zarr", tile=32, **wish)
    assert len(np.unique(whole)) == len(np.unique(tiled)) == tiled.max() + 1 > 5
    assert min(share_alike(whole, tiled), share_alike(tiled, whole)) >= 0.999


@pytest.mark.parametrize("field", ["plane", "volume"])
def test_cells_that_touch_are_several_objects_of_a_network_that_tells_their_cores(field):
    ndim, shape, n_cells = FIELDS[field]
    cells = round_cells(shape, n_cells)
    objects = segment(brightness_model(ndim), image_of(cells))
    _, n_parts = ndimage.label(objects > 0)
    assert objects.max() > 1.15 * n_parts
    rough = segment(brightness_model(ndim, 2), image_of(cells), kind="objects")
    np.testing.assert_array_equal(rough > 0, segment(brightness_model(ndim, 2), image_of(cells)) > 0)
    assert rough.max() == ndimage.label(rough > 0)[1]  # of classes every connected part is one


def test_what_is_too_small_or_at_the_border_is_dropped():
    cells = round_cells((150, 140), 40)
    model = brightness_model(rules=ObjectRules(min_size=60))
    every = segment(model, image_of(cells), min_size=0)
    sizes = np.bincount(every.ravel())
    assert sizes[1:].min() < 60
    learnt, asked = segment(model, image_of(cells)), segment(model, image_of(cells), min_size=100)
    assert np.bincount(learnt.ravel()).min() >= 60 and np.bincount(asked.ravel()).min() >= 100
    inner = segment(model, image_of(cells), keep_border=False)
    edge = np.ones(inner.shape, bool)
    edge[1:-1, 1:-1] = False
    assert learnt[edge].any() and inner.any() and not inner[edge].any()


def test_holes_are_filled_where_objects_were_learnt_and_where_it_is_asked_for(tmp_path):
    ring = np.zeros((40, 40), np.uint16)
    ring[5:25, 5:25], ring[12:18, 12:18] = 60_000, 0
    for name, model, options, is_filled in [
        ("objects", brightness_model(), {}, True),
        ("holes", brightness_model(), {"fill_holes": False}, False),
        ("classes", brightness_model(n_classes=2), {}, False),
        ("classes without holes", brightness_model(n_classes=2), {"fill_holes": True}, True),
    ]:
        found = segment(model, image_of(ring), kind="objects", **options)
        assert (found[15, 15] == 1) == is_filled and found[6, 6] == 1
        np.testing.assert_array_equal(
            written(model, ring, tmp_path / f"{name}.ome.zarr", tile=16, **options), found
        )


@pytest.mark.parametrize("side", [17, 18])
def test_a_hole_is_filled_whole_or_not_at_all(side, tmp_path):
    ring = np.zeros((70, 64), np.uint16)
    ring[8:62, 6:60], ring[24 : 24 + side, 22:30] = 60_000, 0
    model = brightness_model(rules=ObjectRules(reach=(17, 17)))
    tiled = written(model, ring, tmp_path / "tiled.ome.zarr", tile=32)
    np.testing.assert_array_equal(segment(model, image_of(ring)), tiled)
    assert (tiled[24 : 24 + side, 22:30] == (side == 17)).all() and tiled[10, 10] == 1


def test_cells_that_are_found_plane_by_plane_are_linked_to_those_of_the_volume(tmp_path):
    rng = np.random.default_rng(0)
    planes = np.zeros((10, 84, 84), np.uint16)
    places = np.indices(planes.shape[1:])
    for centre in np.ndindex(3, 3):  # cells that lean, and begin and end in any plane
        start, lean = rng.integers(0, 4), rng.uniform(-0.8, 0.8, 2)
        for z in range(start, rng.integers(start + 3, 11)):
            at = np.multiply(centre, 28) + 14 + lean * (z - 5)
            planes[z][sum((place - each) ** 2 for place, each in zip(places, at, strict=True)) < 64] = 60_000
    model = brightness_model(n_classes=2)
    linked = segment(model, image_of(planes), kind="objects", link=True)
    np.testing.assert_array_equal(segment(model, image_of(planes), kind="objects") > 0, linked > 0)
    volume, n_cells = ndimage.label(planes)
    assert linked.max() == n_cells == 9
    tiled = written(model, planes, tmp_path / "tiled.ome.zarr", tile=64, link=True)
    for found in (linked, tiled):
        assert share_alike(found, volume) == share_alike(volume, found) == 1


def test_a_linked_object_that_touches_the_border_in_some_planes_goes_as_a_whole(tmp_path):
    planes = np.zeros((2, 9, 60, 60), np.uint16)
    for t, z in np.ndindex(2, 9):
        planes[t, z, 40:52, 20:32] = 60_000  # stands upright
        left = abs(z - 4) * 3 * (t == 0) + 5 * t  # leans to the border and back, at the second time point not
        planes[t, z, 10:22, left : left + 10] = 60_000
    image = Image(planes, "TZYX", (1.0, 1.0, 1.0), "pixel", ("",), "made")
    model, wish = brightness_model(n_classes=2), {"link": True, "keep_border": False}
    in_memory = segment(model, image, kind="objects", **wish)
    path = tmp_path / "found.ome.zarr"
    for _ in segment_stack(model, image, path, SegmentConfig("objects", tile=32, **wish)):
        pass
    in_file = open_image(path)
    for t, n_objects in enumerate([1, 2]):
        for found in (in_memory[t], in_file.read(t=t)[0]):
            assert np.array_equal(found > 0, (planes[t] > 0) & ((np.arange(60) >= 30)[:, None] | (t == 1)))
            assert len(np.unique(found[found > 0])) == n_objects
    assert np.unique(in_memory).tolist() == [0, 1, 2, 3]


def test_leaving_out_small_objects_does_not_change_the_large_ones_and_smaller_ones_can_be_asked_for():
    cells = round_cells((150, 140), 40)
    model = brightness_model(rules=ObjectRules(core=0.8, min_size=40))
    learnt, large, small = (segment(model, image_of(cells), min_size=size) for size in (None, 90, 4))
    sizes = np.bincount(learnt.ravel())
    np.testing.assert_array_equal(large > 0, (learnt > 0) & (sizes[learnt] >= 90))
    assert 0 < large.max() < learnt.max() < small.max()


@pytest.mark.parametrize("min_size", [-1, 2**32])
def test_a_size_that_no_block_can_count_up_to_is_refused(min_size):
    with pytest.raises(
        ValueError, match=f"a minimum size of {min_size} pixels is not from 0 to 2³² - 1: give"
    ):
        SegmentConfig(min_size=min_size)


def test_the_largest_size_drops_everything(tmp_path):
    wish = {"min_size": 2**32 - 1, "tile": 16}
    assert not written(brightness_model(), round_cells((50, 40), 9), tmp_path / "o.ome.zarr", **wish).any()


@pytest.mark.parametrize(
    ("ndim", "shape", "options"),
    [(2, (20, 30), {}), (3, (8, 20, 30), {}), (2, (3, 20, 30), {"kind": "labels"})],
)
def test_there_is_nothing_to_link_but_objects_of_planes(ndim, shape, options):
    with pytest.raises(ValueError, match="made has no objects of planes to link: --link is for objects"):
        segment(brightness_model(ndim), image_of(np.zeros(shape, np.uint8)), link=True, **options)


def test_objects_that_are_linked_are_not_gone_on_with():
    shape, wish = (3, 20, 30), SegmentConfig("objects", link=True)
    sink = ArraySink(np.zeros(shape, np.uint32))
    updates = segment_into(brightness_model(), image_of(np.zeros(shape, np.uint8)), sink, wish, first=1)
    with pytest.raises(ValueError, match="linked objects cannot be gone on with from task 1: begin anew"):
        next(updates)
