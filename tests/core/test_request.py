"""What is asked for: how it tells one image from another when no file says so."""

import numpy as np
import pytest
import torch

from napari_unet.core.io import Image
from napari_unet.core.layouts import SegmentConfig
from napari_unet.core.modelfile import Model
from napari_unet.core.networks.unet import UNet, UNetConfig
from napari_unet.core.request import Request, pixel_sample
from napari_unet.core.targets import ClassLabel

PIXELS = np.random.default_rng(0).integers(0, 255, (3, 40, 50)).astype(np.uint8)


def image_of(pixels, name="layer"):
    return Image(pixels, "ZYX", (1.0, 1.0, 1.0), "pixel", ("",), name)


@pytest.mark.parametrize("changed", [PIXELS[::-1], PIXELS[:, :, ::-1], np.roll(PIXELS, 1, 1), PIXELS ^ 1])
def test_images_in_memory_differ_by_where_their_pixels_are(changed):
    assert pixel_sample(image_of(changed)) != pixel_sample(image_of(PIXELS))
    assert pixel_sample(image_of(PIXELS.copy())) == pixel_sample(image_of(PIXELS))


def test_work_on_an_image_in_memory_is_not_gone_on_with_on_another(tmp_path):
    torch.manual_seed(0)
    classes = (ClassLabel(1, 0, "background"), ClassLabel(2, 1, "cell"))
    network = UNet(UNetConfig(width=2, depth=1)).eval()
    model = Model(
        network, "unet", "classes", classes, "YX", (1.0, 1.0), "pixel", ("",), "percentile", {}, "0"
    )

    def identity(image):
        return Request(model, image, tmp_path / "out.tif", SegmentConfig()).identity

    assert identity(image_of(PIXELS)) == identity(image_of(PIXELS.copy()))
    assert identity(image_of(PIXELS)) != identity(image_of(PIXELS[::-1]))
    assert identity(image_of(PIXELS)) != identity(image_of(PIXELS, "another layer"))
