"""The main job through the command line: train, segment, evaluate, on real and on generated images."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
import tifffile

from napari_unet.cli import main
from napari_unet.core.io import open_image
from napari_unet.core.modelfile import load_model
from napari_unet.core.weights import boundary_weights
from napari_unet.samples import blobs_3d, nuclei

DATA = Path(os.environ.get("NAPARI_UNET_DATA", Path(__file__).parents[1] / "../shared/data"))
ARCHITECTURES = ("unet", "paper", "fcn32s", "fcn16s", "fcn8s", "deconvnet")


def real(folder):
    """A folder of the real data."""
    if not (DATA / folder).is_dir():
        pytest.skip(f"no real data at {DATA / folder}: set NAPARI_UNET_DATA to the folder that has it")
    return DATA / folder


def save(path, array):
    path.parent.mkdir(exist_ok=True)
    tifffile.imwrite(path, array, photometric="minisblack")
    return path


def run(*arguments):
    """Run a command that has to succeed."""
    with pytest.raises(SystemExit) as ended:
        main(list(map(str, arguments)))
    assert not ended.value.code


@pytest.fixture
def score(capsys):
    def evaluate(*arguments):
        capsys.readouterr()
        run("evaluate", *arguments, "--json")
        return json.loads(capsys.readouterr().out)

    return evaluate


def test_membranes_of_a_real_stack_are_found_on_planes_that_were_not_annotated(tmp_path, score):
    """Everything called membrane has Dice 0.4, a threshold on the grey value 0.5."""
    folder = real("em2d_isbi2012")
    crops = {
        kind: tifffile.imread(folder / kind / "isbi2012_z00-13.tif")[:, :256, :256]
        for kind in ("images", "labels")
    }
    image, labels = (save(tmp_path / f"{kind}.tif", crop) for kind, crop in crops.items())
    unseen, truth = (save(tmp_path / f"unseen {kind}.tif", crop[9:]) for kind, crop in crops.items())
    model, out = tmp_path / "membranes.safetensors", tmp_path / "found.tif"
    network = ["--width", 6, "--depth", 2, "--device", "cpu"]
    run("train", image, labels, "--slices", "0,3,7", "--steps", 40, "--out", model, *network)
    run("segment", model, unseen, "--out", out)
    assert open_image(out).data.shape == (5, 256, 256)
    found = score(out, truth, "--boundary", 1)
    assert found["classes"]["1"]["dice"] > 0.6
    assert found["pixel_accuracy"] > 0.8
    assert 0.3 < found["v_rand"] <= 1 and found["vi"] > 0


def test_nuclei_of_real_images_are_found_in_other_fields(tmp_path, score):
    folder = real("fluo2d_dsb2018")
    splits = json.loads((DATA / "splits.json").read_text())["nuclei"]
    for part, names in (("train", splits["train_5"]), ("test", splits["test"][:6])):
        for name in names:
            for kind in ("images", "labels"):
                crop = tifffile.imread(folder / kind / name)[:256, :256]
                save(tmp_path / f"{part} {kind}" / name, crop)
    model, out = tmp_path / "nuclei.safetensors", tmp_path / "found"
    network = ["--width", 8, "--depth", 2, "--device", "cpu"]
    train = ["train", tmp_path / "train images", tmp_path / "train labels", "--task", "objects"]
    run(*train, "--steps", 80, "--out", model, *network)
    run("segment", model, tmp_path / "test images", "--out", out)
    found = score(out, tmp_path / "test labels", "--task", "objects")
    print(found)
    assert found["classes"]["1"]["dice"] > 0.6
    objects = [tifffile.imread(path) for path in sorted(out.iterdir())]
    assert len(objects) == 6 and max(image.max() for image in objects) > 5


@pytest.fixture
def nuclei_files(tmp_path):
    """A shipped image cut to 96 x 96, its objects, and its foreground."""
    sample = nuclei()[0][4]
    objects = sample.objects[:96, :96]
    return (
        save(tmp_path / "image.tif", sample.image[:96, :96]),
        save(tmp_path / "objects.tif", objects),
        save(tmp_path / "foreground.tif", (objects > 0).astype(np.uint8)),
    )


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_every_architecture_trains_and_segments_through_the_same_commands(
    architecture, nuclei_files, tmp_path
):
    image, _, foreground = nuclei_files
    model, out = tmp_path / "model.safetensors", tmp_path / "found.tif"
    network = ["--architecture", architecture, "--width", 2, "--depth", 3, "--device", "cpu"]
    run("train", image, foreground, "--steps", 2, "--out", model, *network)
    run("segment", model, image, "--out", out, "--kind", "probabilities", "--tile", 64, "--halo", "exact")
    probabilities = tifffile.imread(out)
    assert probabilities.shape == (2, 96, 96) and probabilities.dtype == np.float32
    np.testing.assert_allclose(probabilities.sum(0), 1, atol=1e-2)


def test_the_papers_network_learns_with_its_valid_padding(nuclei_files, tmp_path, score):
    image, _, foreground = nuclei_files
    model, out = tmp_path / "model.safetensors", tmp_path / "found.tif"
    network = ["--architecture", "paper", "--width", 8, "--depth", 1, "--device", "cpu"]
    run("train", image, foreground, "--steps", 40, "--out", model, *network)
    config = load_model(model).network.config
    assert (config.padding, config.norm, config.upsample) == ("valid", "none", "transpose")
    run("segment", model, image, "--out", out)
    assert score(out, foreground)["classes"]["1"]["dice"] > 0.6


def test_a_volume_of_flat_voxels_trains_and_segments(tmp_path):
    sample = blobs_3d((6, 48, 48), n_blobs=6)
    image, objects = (
        save(tmp_path / "image.tif", sample.image),
        save(tmp_path / "objects.tif", sample.objects),
    )
    model, out = tmp_path / "model.safetensors", tmp_path / "found.ome.tif"
    options = ["--ndim", 3, "--task", "objects", "--spacing", "4,1,1", "--width", 2, "--depth", 2]
    run("train", image, objects, "--steps", 3, "--out", model, "--device", "cpu", *options)
    assert load_model(model).network.config.pools[0] == (1, 2, 2)
    run("segment", model, image, "--out", out, "--spacing", "4,1,1")
    found = open_image(out)
    assert (found.axes, found.spatial_shape, found.spacing) == ("ZYX", (6, 48, 48), (4.0, 1.0, 1.0))
    assert np.issubdtype(found.dtype, np.unsignedinteger)


def test_objects_are_numbered_and_their_foreground_is_what_was_learnt(nuclei_files, tmp_path, score):
    image, objects, _ = nuclei_files
    model, out = tmp_path / "model.safetensors", tmp_path / "found.tif"
    network = ["--width", 8, "--depth", 2, "--device", "cpu"]
    run("train", image, objects, "--task", "objects", "--steps", 40, "--out", model, *network)
    assert load_model(model).task == "objects"
    run("segment", model, image, "--out", out)
    found = tifffile.imread(out)
    assert set(np.unique(found)) == set(range(found.max() + 1)) and found.max() > 1
    assert score(out, objects, "--task", "objects")["classes"]["1"]["dice"] > 0.6
    run("segment", model, image, "--out", out, "--kind", "labels", "--overwrite")
    assert set(np.unique(tifffile.imread(out))) == {0, 1}


def test_a_model_is_tuned_to_another_class_set(nuclei_files, tmp_path):
    image, _, foreground = nuclei_files
    first, second = tmp_path / "first.safetensors", tmp_path / "second.safetensors"
    network = ["--width", 2, "--depth", 2, "--device", "cpu"]
    run("train", image, foreground, "--steps", 2, "--out", first, *network)
    classes = tifffile.imread(foreground) * np.where(np.arange(96) < 48, 3, 7).astype(np.uint8)
    labels = save(tmp_path / "three.tif", classes)
    run("train", image, labels, "--steps", 2, "--out", second, "--start", first, "--device", "cpu")
    model = load_model(second)
    assert [label.output_value for label in model.classes] == [0, 3, 7]
    assert model.network.config.width == 2
    run("segment", second, image, "--out", tmp_path / "found.tif")
    assert set(np.unique(tifffile.imread(tmp_path / "found.tif"))) <= {0, 3, 7}


def test_a_grey_value_of_1_and_2_comes_back_as_1_and_2(tmp_path):
    labels = np.uint8(1 + (np.indices((64, 64))[1] // 16 % 2))
    image, masks = save(tmp_path / "image.tif", labels * np.uint8(50)), save(tmp_path / "labels.tif", labels)
    model, out = tmp_path / "model.safetensors", tmp_path / "found.tif"
    run("train", image, masks, "--steps", 2, "--width", 2, "--depth", 1, "--out", model, "--device", "cpu")
    run("segment", model, image, "--out", out)
    assert set(np.unique(tifffile.imread(out))) <= {1, 2}


def test_the_weight_map_of_a_label_file(nuclei_files, tmp_path):
    _, objects, _ = nuclei_files
    run("weights", objects, "--out", tmp_path / "weights.tif", "--w0", 7, "--sigma", 3)
    expected = boundary_weights(tifffile.imread(objects), w0=7, sigma=3)
    np.testing.assert_array_equal(tifffile.imread(tmp_path / "weights.tif"), expected)
