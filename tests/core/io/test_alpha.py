"""Opacity is no channel: it is dropped wherever a file says that it is one, and that is said once."""

import numpy as np
import pytest
import tifffile
from PIL import Image as Pillow

from napari_unet.core.io import open_image
from napari_unet.core.io.image import ALPHA_DROPPED

RGB = np.random.default_rng(0).integers(0, 255, (20, 30, 3), np.uint8)
ALPHA = np.full((20, 30, 1), 255, np.uint8)


@pytest.mark.parametrize("kind", ["assocalpha", "unassalpha"])
@pytest.mark.parametrize("planar", ["contig", "separate"])
@pytest.mark.parametrize("compression", [None, "zlib"])
def test_a_tiff_with_alpha_has_three_channels(tmp_path, kind, planar, compression):
    path, pixels = tmp_path / "a.tif", np.concatenate([RGB, ALPHA], -1)
    stored = pixels if planar == "contig" else np.moveaxis(pixels, -1, 0)
    options = {
        "photometric": "rgb",
        "planarconfig": planar,
        "extrasamples": [kind],
        "compression": compression,
    }
    tifffile.imwrite(path, stored, **options)
    image = open_image(path)
    assert image.n_channels == 3 and image.notes == (f"a: {ALPHA_DROPPED}",)
    assert (np.moveaxis(image.read(), 0, -1) == RGB).all()


def test_grey_with_alpha_is_one_channel(tmp_path):
    pixels = np.concatenate([RGB[..., :1], ALPHA], -1)
    tifffile.imwrite(
        tmp_path / "a.tif",
        pixels,
        photometric="minisblack",
        extrasamples=["unassalpha"],
        planarconfig="contig",
    )
    image = open_image(tmp_path / "a.tif")
    assert image.n_channels == 1 and (image.read()[0] == RGB[..., 0]).all()


def test_a_stack_of_pages_with_alpha(tmp_path):
    pixels = np.stack([np.concatenate([RGB, ALPHA], -1)] * 4)
    tifffile.imwrite(tmp_path / "a.tif", pixels, photometric="rgb", extrasamples=["unassalpha"])
    image = open_image(tmp_path / "a.tif")
    assert (image.axes, image.n_channels, image.spatial_shape) == ("ZYXC", 3, (4, 20, 30))


def test_samples_that_are_not_said_to_be_alpha_are_channels(tmp_path):
    pixels = np.concatenate([RGB, ALPHA], -1)
    tifffile.imwrite(tmp_path / "a.tif", pixels, photometric="rgb", extrasamples=["unspecified"])
    image = open_image(tmp_path / "a.tif")
    assert image.n_channels == 4 and not image.notes


@pytest.mark.parametrize(("mode", "n_channels"), [("RGBA", 3), ("LA", 1), ("RGB", 3), ("L", 1)])
def test_pictures_say_that_their_alpha_is_dropped(tmp_path, mode, n_channels):
    Pillow.fromarray(RGB).convert(mode).save(tmp_path / "a.png")
    image = open_image(tmp_path / "a.png")
    assert image.n_channels == n_channels and bool(image.notes) == ("A" in mode)
