"""A tiny model, a folder of images, and `segment`, which runs the command and returns its exit code."""

import numpy as np
import pytest
import tifffile
import torch

from napari_unet.cli import main
from napari_unet.core.modelfile import Model, save_model
from napari_unet.core.networks.unet import UNet, UNetConfig
from napari_unet.core.objects import ObjectRules
from napari_unet.core.targets import OBJECT_CLASSES, ClassLabel

CELLS = (ClassLabel(1, 0, "background"), ClassLabel(2, 1, "cell"))


@pytest.fixture
def make_model(tmp_path):
    def make(name="model", *, n_channels=1, spacing=(1.0, 1.0), unit="pixel"):
        torch.manual_seed(0)
        network = UNet(UNetConfig(in_channels=n_channels, width=4, depth=2))
        path = tmp_path / f"{name}.safetensors"
        names = ("",) * n_channels
        save_model(
            Model(network, "unet", "classes", CELLS, "YX", spacing, unit, names, "percentile", {}, "0"), path
        )
        return path

    return make


@pytest.fixture
def object_model(tmp_path):
    """A 2D model of objects whose core is what is bright: no pixel depends on its neighbours."""
    network = UNet(UNetConfig(n_classes=3, width=1, depth=1, norm="none"))
    for weights in network.parameters():
        weights.data.zero_()
    for layer in (network.encoder[0], network.decoder[0]):
        for convolution in (layer[0], layer[2]):
            convolution.weight.data[0, 0, 1, 1] = 1  # -1 is dark, 1 is bright
    network.encoder[0][0].bias.data[:] = 1
    network.head.weight.data[:, 0, 0, 0] = torch.tensor([-20, 0, 20])
    network.head.bias.data[:] = torch.tensor([20, -100, -20])
    rules = ObjectRules(0.5, 0.5, 4, (8, 9))
    path = tmp_path / "objects.safetensors"
    meaning = ("unet", "objects", OBJECT_CLASSES, "YX", (1.0, 1.0), "pixel", ("",), "percentile")
    save_model(Model(network, *meaning, {}, "0", rules), path)
    return path


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
