"""The Python API: what `napari_unet.core` names, and the main job in a few lines."""

import subprocess
import sys

import numpy as np
import pytest
import tifffile

from napari_unet import core

ISSUED = ("open_image", "train", "segment", "load_model", "save_model", "boundary_weights")


@pytest.mark.parametrize("name", [*core.__all__, *ISSUED])
def test_every_name_is_there_and_says_what_it_does(name):
    assert getattr(core, name).__doc__


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'segmnt'"):
        _ = core.segmnt


def test_names_are_imported_when_they_are_used():
    code = (
        "import sys; import napari_unet.core as core\n"
        "assert 'numpy' not in sys.modules\n"
        "core.boundary_weights, core.open_image\n"
        "assert 'numpy' in sys.modules and 'torch' not in sys.modules\n"
        "core.train\n"
        "assert 'torch' in sys.modules and 'napari' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_main_job_in_a_few_lines(tmp_path):
    """From files to a saved model and to labels of an image that was not trained on."""
    from napari_unet.core import (
        Architecture,
        LabelOptions,
        TrainConfig,
        Wanted,
        drain,
        load_model,
        new_model,
        open_image,
        open_labels,
        read_examples,
        save_model,
        segment,
        train,
    )

    stack = np.random.default_rng(0).normal(0, 0.3, (4, 64, 64)) + np.indices((4, 64, 64))[2] // 16 % 2
    tifffile.imwrite(tmp_path / "image.tif", stack.astype(np.float32), photometric="minisblack")
    tifffile.imwrite(
        tmp_path / "labels.tif",
        (np.indices((4, 64, 64))[2] // 16 % 2).astype(np.uint8),
        photometric="minisblack",
    )

    pair = (open_image(tmp_path / "image.tif"), open_labels(tmp_path / "labels.tif"))
    dataset = read_examples([pair], LabelOptions(planes=(0, 1)))
    model = new_model(dataset, Architecture(width=4, depth=2))
    config = TrainConfig(steps=40, patch_size=32, learning_rate=0.05)
    result = drain(train(model, Wanted(dataset.examples), config))
    save_model(result.model, tmp_path / "stripes.safetensors")
    labels = segment(load_model(tmp_path / "stripes.safetensors"), open_image(tmp_path / "image.tif"))

    assert labels.shape == (4, 64, 64) and labels.dtype == np.uint8
    assert (labels[2] == np.indices((64, 64))[1] // 16 % 2).mean() > 0.9
