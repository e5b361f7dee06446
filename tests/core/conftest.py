"""What several tests of the core start from."""

import pytest
import torch

from napari_unet.core.modelfile import Model
from napari_unet.core.networks.unet import UNet, UNetConfig
from napari_unet.core.objects import ObjectRules
from napari_unet.core.targets import OBJECT_CLASSES, ClassLabel


@pytest.fixture
def tiny_model():
    """Make an untrained network of two classes, or of objects; torch is seeded."""

    def make(task):
        torch.manual_seed(0)
        classes = OBJECT_CLASSES if task == "objects" else (ClassLabel(1, 1, "a"), ClassLabel(2, 2, "b"))
        network = UNet(UNetConfig(width=4, depth=2, n_classes=len(classes))).eval()
        rules = ObjectRules(0.35, 0.3, 1, (9, 9)) if task == "objects" else None
        sizes = (1.0, 1.0)
        return Model(
            network, "unet", task, classes, "YX", sizes, "pixel", ("",), "percentile", {}, "0", objects=rules
        )

    return make
