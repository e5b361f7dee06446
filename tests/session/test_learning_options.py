import os
import subprocess
import sys

import pytest

from napari_unet.core.augment import MANY_IMAGES, ONE_STACK, Augmentation
from napari_unet.session.learning_options import architecture, train_config
from napari_unet.session.settings import Settings

TORCH_FREE = ("classes", "settings", "words", "kept", "autosave")


def augmentation(settings, spacing=(1.0, 1.0)):
    return train_config(settings, spacing).augmentation


def test_settings_reach_the_core():
    settings = Settings(loss="dice", w0=3, sigma=2, patch_size=64, learning_rate=0.01, width=8, depth=2)
    config = train_config(settings, (1.0, 1.0))
    assert (config.loss, config.w0, config.sigma) == ("dice", 3, 2)
    assert (config.patch_size, config.learning_rate) == (64, 0.01)
    assert (architecture(settings).width, architecture(settings).depth) == (8, 2)


def test_what_is_left_open_is_decided_by_the_core():
    assert augmentation(Settings()) is None and not train_config(Settings(), (1.0, 1.0)).strengths
    assert architecture(Settings()).width is None


@pytest.mark.parametrize(
    ("name", "preset"), [("none", Augmentation(flip=False)), ("mild", ONE_STACK), ("strong", MANY_IMAGES)]
)
def test_a_preset_is_one_of_the_core(name, preset):
    assert augmentation(Settings(augmentation=name)) == preset


@pytest.mark.parametrize("preset", ["auto", "strong"])
def test_single_strengths_go_beside_a_preset_or_what_the_core_decides(preset):
    config = train_config(Settings(augmentation=preset, rotation=10, elastic=0, intensity=0.3), (1.0, 1.0))
    alike = dict.fromkeys(("brightness", "contrast", "gamma"), 0.3)
    assert config.strengths == {"rotation": 10, "elastic": 0, **alike}
    assert config.augmentation == (MANY_IMAGES if preset == "strong" else None)


def test_nothing_bends_along_long_voxels():
    assert augmentation(Settings(augmentation="strong"), spacing=(4.0, 1.0, 1.0)).rigid == (0,)


@pytest.mark.parametrize("module", TORCH_FREE)
def test_the_dock_opens_without_torch_and_without_qt(module):
    code = f"import napari_unet.session.{module}, sys; print(*{{n.partition('.')[0] for n in sys.modules}})"
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    )
    assert not set(done.stdout.split()) & {"torch", "qtpy", "superqt", "PySide6", "PyQt6"}
