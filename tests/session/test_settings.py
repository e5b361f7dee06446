from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from napari.layers import Image

from napari_unet.core.losses import LOSSES as CORE_LOSSES
from napari_unet.core.normalise import Intensity
from napari_unet.core.supply import TrainConfig
from napari_unet.session.images import ImageChoice
from napari_unet.session.results import Order
from napari_unet.session.segmenting_job import config_of
from napari_unet.session.settings import LOSSES, Settings, WantedObjects


def test_the_losses_are_those_of_the_core():
    assert tuple(CORE_LOSSES) == LOSSES


def test_the_defaults_are_those_of_the_core():
    settings, config = Settings(), TrainConfig()
    for name in ("loss", "w0", "sigma", "patch_size", "learning_rate"):
        assert getattr(settings, name) == getattr(config, name)


@pytest.mark.parametrize(
    "wrong",
    [
        {"ndim": 4},
        {"width": 0},
        {"depth": 9},
        {"loss": "hinge"},
        {"augmentation": "wild"},
        {"rotation": 181},
        {"scale": -0.1},
        {"elastic": float("nan")},
        {"intensity": 2},
        {"w0": -1},
        {"w0": float("inf")},
        {"sigma": 0},
        {"device": "gpu"},
        {"patch_size": 0},
        {"learning_rate": float("inf")},
    ],
)
def test_a_value_out_of_its_range_is_named_with_a_remedy(wrong):
    (name,) = wrong
    with pytest.raises(ValueError, match=rf"^{name} is .*: (choose|a network has)"):
        Settings(**wrong)


@pytest.mark.parametrize("wrong", [{"loss": "hinge"}, {"w0": -1.0}, {"sigma": 0.0}, {"learning_rate": -1.0}])
def test_errors_use_the_words_of_the_core(wrong):
    with pytest.raises(ValueError, match="choose") as ours:
        Settings(**wrong)
    with pytest.raises(ValueError, match="choose") as theirs:
        TrainConfig(**wrong)
    assert str(ours.value) == str(theirs.value)


def test_which_objects_are_wanted_is_told_to_the_core_and_is_one_of_the_options():
    choice = ImageChoice((Image(np.zeros((3, 8, 8))),), "ZYX")
    wanted = WantedObjects(min_size=30, keep_border=False, link=True)
    order = Order(SimpleNamespace(axes="YX"), choice, Intensity((0.0,), (1.0,)), None, "cpu", objects=wanted)
    config = config_of(order)
    assert (config.min_size, config.keep_border, config.link) == (30, False, True)
    other = replace(order, objects=WantedObjects())
    assert other.differs(order) == "the options" and config_of(other).min_size is None
