"""Pixels that are not finite are 0 in every kind of result, in memory and in blocks."""

import numpy as np
import pytest

from napari_unet.core.arrays import segment
from napari_unet.core.draining import drain
from napari_unet.core.io import open_image
from napari_unet.core.io.image import make_image
from napari_unet.core.layouts import SegmentConfig
from napari_unet.core.objects import ObjectRules, find_objects, set_no_data
from napari_unet.core.stacks import segment_stack

RNG = np.random.default_rng(0)


@pytest.mark.parametrize(
    ("task", "kind"), [("classes", "labels"), ("classes", "probabilities"), ("objects", "objects")]
)
def test_they_are_zero_in_memory_and_in_blocks(tmp_path, tiny_model, task, kind):
    pixels = RNG.normal(-1000, 50, (70, 90)).astype(np.float32)
    missing = RNG.random(pixels.shape) < 0.05
    missing[:, :7] = True
    pixels[missing] = RNG.choice([np.nan, np.inf, -np.inf], missing.sum())
    config = SegmentConfig(kind=kind, device="cpu", precision="fp32", tile=32)
    image = make_image(pixels, "YX", {}, "pixel", (), "holes")
    whole = segment(tiny_model(task), image, kind=kind, device="cpu", precision="fp32", tile=32)
    drain(segment_stack(tiny_model(task), image, tmp_path / "r.ome.zarr", config))
    stored = open_image(tmp_path / "r.ome.zarr").read()
    assert (whole[..., missing] == 0).all() and (stored[..., missing] == 0).all()
    assert whole[..., ~missing].any()
    if kind == "labels":
        assert (stored[0][~missing] > 0).all()


def test_a_hole_without_data_is_not_filled():
    scores = np.full((2, 9, 9), 230, np.uint8)
    missing = np.zeros((9, 9), bool)
    missing[4, 4] = True
    set_no_data(scores, missing)
    objects = find_objects(scores, ObjectRules())
    assert objects[4, 4] == 0 and (objects[~missing] == 1).all()
