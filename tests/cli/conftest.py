"""A tiny model, a folder of images, and `segment`, which runs the command and returns its exit code."""

import numpy as np
import pytest
import tifffile
import torch

from napari_unet.cli import main
from napari_unet.core.modelfile import Model, save_model
from napari_unet.core.networks.unet import UNet, UNetConfig
from napari_unet.core.targets import ClassLabel


@pytest.fixture
def make_model(tmp_path):
    def make(name="model", *, n_channels=1, spacing=(1.0, 1.0), unit="pixel"):
        torch.manual_seed(0)
        classes = (ClassLabel(1, 0, "background"), ClassLabel(2, 1, "cell"))
        network = UNet(UNetConfig(in_channels=n_channels, width=4, depth=2))
        path = tmp_path / f"{name}.safetensors"
        names = ("",) * n_channels
        save_model(
            Model(network, "unet", "classes", classes, "YX", spacing, unit, names, "percentile", {}, "0"),
            path,
        )
        return path

    return make


@pytest.fixture
def model(make_model):
    return make_model()


@pytest.fixture
def folder(tmp_path):
    """Three images of 40 x 50 pixels."""
    folder = tmp_path / "images"
    folder.mkdir()
    for index in range(3):
        image = np.random.default_rng(index).integers(0, 99, (40, 50), np.uint16)
        tifffile.imwrite(folder / f"{index}.tif", image, compression="lzw")
    return folder


@pytest.fixture
def segment(model):
    def run(source, *options, model=model):
        with pytest.raises(SystemExit) as ended:
            main(["segment", str(model), str(source), *map(str, options)])
        return ended.value.code or 0

    return run
