"""Bad input on the command line: one sentence on stderr, exit code 2, nothing written.

What a single command alone can meet is tested beside it in tests/cli.
"""

import os
import shutil
import subprocess
import sys

import numpy as np
import pytest
import tifffile
import torch
import zarr

from napari_unet.cli import main
from napari_unet.core.modelfile import Model, save_model
from napari_unet.core.networks.unet import UNet, UNetConfig
from napari_unet.core.targets import ClassLabel

TINY = ["--width", "2", "--depth", "1", "--steps", "1", "--device", "cpu"]


def save(path, array):
    path.parent.mkdir(exist_ok=True)
    tifffile.imwrite(path, array, photometric="minisblack")
    return path


@pytest.fixture
def good(tmp_path):
    """A folder with images and labels that train, and a model that segments."""
    labels = np.zeros((2, 32, 32), np.uint8)
    labels[:, 8:20, 8:20] = 1
    save(tmp_path / "image.tif", labels * np.uint8(99))
    save(tmp_path / "labels.tif", labels)
    for name in ("a", "b"):
        save(tmp_path / "images" / f"{name}.tif", labels[0])
        save(tmp_path / "masks" / f"{name}.tif", labels[0])
    torch.manual_seed(0)
    classes = (ClassLabel(1, 0, "background"), ClassLabel(2, 1, "cell"))
    model = Model(
        UNet(UNetConfig(width=2, depth=1)),
        *("unet", "classes", classes, "YX", (1.0, 1.0), "pixel", ("",), "percentile", {}, "0"),
    )
    save_model(model, tmp_path / "model.safetensors")
    return tmp_path


def refused(capsys, folder, *arguments):
    """Run a command that has to fail; return the sentence."""
    before = sorted(folder.rglob("*"))
    with pytest.raises(SystemExit) as ended:
        main(list(map(str, arguments)))
    assert ended.value.code == 2
    assert sorted(folder.rglob("*")) == before
    error = capsys.readouterr().err
    assert error.startswith("Error: ") and error.endswith("\n") and error.count("\n") == 1, error
    return error


def refused_training(capsys, folder, image, labels, *options):
    out = folder / "new.safetensors"
    return refused(capsys, folder, "train", folder / image, folder / labels, "--out", out, *TINY, *options)


@pytest.mark.parametrize(
    ("labels", "options", "said"),
    [
        (np.ones((2, 32, 31), np.uint8), [], "labels labels are 2×32×31 (ZYX) but image image is 2×32×32"),
        (np.ones((32, 32), np.uint8), [], "32×32 (YX)"),
        (np.ones((2, 32, 32), np.float32), [], "float32; save them as integers"),
        (np.full((2, 32, 32), -1, np.int16), [], "negative value -1"),
        (np.ones((2, 32, 32), np.uint8), [], "the single value 1"),
        (np.ones((2, 32, 32), np.uint8), ["--unlabelled", "ignore"], "the single value 1"),
        (np.ones((2, 32, 32), np.uint8), ["--task", "objects"], "hold no background"),
        (np.zeros((2, 32, 32), np.uint8), [], "no finite pixel is annotated"),
        (np.resize(np.arange(30, dtype=np.uint8), (2, 32, 32)), [], "use --task objects"),
    ],
)
def test_labels_that_cannot_be_learnt_from(labels, options, said, good, capsys):
    save(good / "labels.tif", labels)
    assert said in refused_training(capsys, good, "image.tif", "labels.tif", *options)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--slices", "0,2"], "image has no plane 2: choose planes from 0 to 1"),
        (["--slices", "-1"], "no plane -1"),
        (["--slices", "first"], "--slices is 'first'"),
        (["--complete", "1"], "--unlabelled ignore"),
        (["--unlabelled", "ignore", "--complete", "5"], "no plane 5"),
        (["--channels", "1"], "no channel 1"),
        (["--axes", "ZYQ"], "axes"),
        (["--spacing", "1,0,1"], "spacing"),
        (["--spacing", "1,1"], "spacing"),
        (["--width", "0"], "width is 0"),
        (["--depth", "40"], "depth is 40"),
        (["--steps", "0"], "steps is 0"),
        (["--minutes", "1"], "choose one of them"),
        (["--validation", "0.9"], "validation is 0.9"),
        (["--seed", "-3"], "seed is -3"),
        (["--device", "abacus"], "device is 'abacus'"),
        (["--start", "absent.safetensors"], "absent.safetensors"),
    ],
)
def test_options_that_make_no_sense_are_named(options, said, good, capsys):
    assert said in refused_training(capsys, good, "image.tif", "labels.tif", *options)


@pytest.mark.parametrize("options", [["--ndim", "4"], ["--loss", "huber"], ["--architecture", "resnet"]])
def test_choices_that_do_not_exist_are_usage_errors(options, good):
    with pytest.raises(SystemExit) as ended:
        main(["train", "image.tif", "labels.tif", "--out", str(good / "new.safetensors"), *options])
    assert ended.value.code == 2 and not (good / "new.safetensors").exists()


@pytest.mark.parametrize("folder", ["images", "masks"])
def test_a_broken_link_among_what_is_to_be_learnt(folder, good, capsys):
    (good / folder / "b.tif").unlink()
    (good / folder / "b.tif").symlink_to("nowhere.tif")
    assert "b.tif is a broken link to nowhere.tif" in refused_training(capsys, good, "images", "masks")


def test_a_volume_network_needs_volumes(good, capsys):
    for name in ("image", "labels"):
        save(good / f"{name}.tif", np.resize(np.uint8([0, 1]), (32, 32)))
    assert "--ndim 2" in refused_training(capsys, good, "image.tif", "labels.tif", "--ndim", "3")


def test_nothing_but_nan_is_refused(good, capsys):
    save(good / "image.tif", np.full((2, 32, 32), np.nan, np.float32))
    assert "no finite pixel is annotated" in refused_training(capsys, good, "image.tif", "labels.tif")


def test_an_empty_folder(good, capsys):
    (good / "empty").mkdir()
    assert "holds no image" in refused_training(capsys, good, "empty", "masks")
    assert "holds no image" in refused_training(capsys, good, "images", "empty")
    assert "holds no image" in refused_training(capsys, good, "images/*.png", "masks")


def test_unpaired_files_are_listed(good, capsys):
    (good / "masks" / "b.tif").rename(good / "masks" / "c.tif")
    said = refused_training(capsys, good, "images", "masks")
    assert "b.tif without labels" in said and "c.tif without image" in said


@pytest.mark.parametrize("name", ["absent.tif", "text.txt", "text.tif"])
def test_a_path_that_is_not_an_image(name, good, capsys):
    if name.startswith("text"):
        (good / name).write_text("not an image")
    assert name in refused_training(capsys, good, name, "labels.tif")
    assert name in refused_training(capsys, good, "image.tif", name)


@pytest.mark.parametrize("kept", [6, 200, -300])
def test_a_corrupt_tiff(kept, good, capsys):
    for name in ("image.tif", "labels.tif"):
        whole = (good / name).read_bytes()
        (good / name).write_bytes(whole[:kept])
        assert name in refused_training(capsys, good, "image.tif", "labels.tif")
        (good / name).write_bytes(whole)


def test_images_of_different_channels(good, capsys):
    tifffile.imwrite(good / "images" / "b.tif", np.zeros((32, 32, 3), np.uint8), photometric="rgb")
    assert "b has 3 channels but a has 1" in refused_training(capsys, good, "images", "masks")


@pytest.mark.parametrize("content", [b"", b"\x00" * 100, b"\xff" * 4000])
def test_a_model_file_that_is_not_one(content, good, capsys):
    (good / "bad.safetensors").write_bytes(content)
    bad = good / "bad.safetensors"
    assert "bad.safetensors" in refused(
        capsys, good, "segment", bad, good / "image.tif", "--out", good / "out.tif"
    )
    assert "bad.safetensors" in refused_training(capsys, good, "image.tif", "labels.tif", "--start", bad)


def test_a_model_with_other_channels_than_the_image(good, capsys):
    save(good / "rgb.tif", np.zeros((3, 32, 32), np.uint8))
    said = refused(
        capsys,
        good,
        *(
            "segment",
            good / "model.safetensors",
            good / "rgb.tif",
            "--axes",
            "CYX",
            "--out",
            good / "out.tif",
        ),
    )
    assert "channel" in said and "3" in said


@pytest.fixture
def refused_segmenting(good, capsys):
    """Segment what cannot be segmented; return the sentence."""

    def run(image, *options, out="out.tif", model="model.safetensors"):
        arguments = ["segment", good / model, good / image, "--out", good / out, *options]
        return refused(capsys, good, *arguments)

    return run


def test_a_model_of_colours_and_a_grey_image(good, refused_segmenting):
    classes = (ClassLabel(1, 0, "background"), ClassLabel(2, 1, "cell"))
    network = UNet(UNetConfig(in_channels=3, width=2, depth=1))
    traits = ("unet", "classes", classes, "YX", (1.0, 1.0), "pixel", ("", "", ""), "percentile", {}, "0")
    save_model(Model(network, *traits), good / "colours.safetensors")
    said = refused_segmenting("image.tif", model="colours.safetensors")
    assert "image has 1 channels and the model was trained with 3" in said and "--channels" in said


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--axes", "CZYX"], "axes"),
        (["--axes", "YX"], "axes"),
        (["--axes", "ZZX"], "axes"),
        (["--spacing", "1,1"], "spacing"),
        (["--spacing", "0,1,1"], "spacing"),
        (["--channels", "DAPI"], "no channel DAPI"),
        (["--position", "3"], "no position 3"),
        (["--match-spacing"], "leave out --match-spacing"),
        (["--suffix", ".tif"], "there is one image"),
        (["--into-image", "cells"], "leave out --out"),
        (["--stack", "--position", "0"], "leave one out"),
        (["--workers", "2", "--scheduler", "tcp://127.0.0.1:1"], "choose one of them"),
    ],
)
def test_options_that_do_not_fit_the_image(options, said, refused_segmenting):
    assert said in refused_segmenting("image.tif", *options)


@pytest.mark.parametrize("shape", [(0, 32, 32), (2, 0, 32)])
def test_an_empty_stack(shape, good, refused_segmenting):
    np.save(good / "empty.npy", np.zeros(shape, np.uint8))
    zarr.save_array(good / "empty.zarr", np.zeros(shape, np.uint8))
    for name in ("empty.npy", "empty.zarr"):
        assert "empty" in refused_segmenting(name)


def test_links_in_a_circle(good, refused_segmenting):
    (good / "loops").mkdir()
    (good / "loops" / "loop.tif").symlink_to(good / "loops" / "loop.tif")
    (good / "loops" / "again").symlink_to(good / "loops")
    assert "loop.tif is a broken link to" in refused_segmenting("loops/loop.tif")
    assert "holds no image" in refused_segmenting("loops/**/*.png", out="results")
    assert "folder" in refused_segmenting("image.tif", out="loops/loop.tif/out.tif")


def test_a_result_inside_its_image_or_around_it(good, refused_segmenting):
    zarr.save_array(good / "all.ome.zarr" / "raw.zarr", np.zeros((32, 32), np.uint8))
    assert "is an input or holds one" in refused_segmenting("all.ome.zarr/raw.zarr", out="all.ome.zarr")
    inside = refused_segmenting("all.ome.zarr/raw.zarr", out="all.ome.zarr/raw.zarr/out.ome.zarr")
    assert "lies inside an input" in inside


def test_a_store_whose_metadata_lead_out_of_it(good, refused_segmenting):
    zarr.save_array(good / "secret.zarr", np.zeros((32, 32), np.uint8))
    axes = [{"name": name, "type": "space"} for name in "yx"]
    scale = [{"type": "scale", "scale": [1.0, 1.0]}]
    level = {"path": "../secret.zarr", "coordinateTransformations": scale}
    ome = {"version": "0.5", "multiscales": [{"axes": axes, "datasets": [level]}]}
    zarr.create_group(str(good / "image.zarr"), zarr_format=3, attributes={"ome": ome})
    assert "image.zarr" in refused_segmenting("image.zarr")


@pytest.fixture
def stopped_by(good, capsys):
    """Segment what breaks on the way: one sentence, and nothing under the final name."""

    def run(image, *options):
        arguments = ["segment", good / "model.safetensors", good / image, "--out", good / "out.tif"]
        with pytest.raises(SystemExit) as ended:
            main([*map(str, arguments), "--tile", "32", *options])
        error = capsys.readouterr().err
        assert ended.value.code == 2 and not (good / "out.tif").exists()
        assert error.startswith("Error: ") and error.count("\n") == 1
        return error

    return run


def test_a_stack_that_is_damaged_in_the_middle(good, stopped_by):
    for z in range(5):
        save(good / "planes" / f"z{z}.tif", np.full((32, 32), z, np.uint8))
    whole = (good / "planes" / "z3.tif").read_bytes()
    (good / "planes" / "z3.tif").write_bytes(whole[:-700])
    assert "z3.tif cannot be read" in stopped_by("planes", "--stack")


def test_a_chunk_that_cannot_be_decoded(good, stopped_by):
    pixels = np.random.default_rng(0).integers(0, 255, (4, 64, 64), np.uint8)
    zarr.create_array(good / "stack.zarr", data=pixels, chunks=(1, 64, 64))
    chunk = good / "stack.zarr" / "c" / "2" / "0" / "0"
    chunk.write_bytes(chunk.read_bytes()[:100])
    assert "stack.zarr cannot be read" in stopped_by("stack.zarr")


def test_blank_planes_and_planes_of_nan_simply_work(good, capsys):
    planes = np.random.default_rng(0).random((4, 32, 32), np.float32)
    planes[1], planes[2] = 0, np.nan
    save(good / "planes.tif", planes)
    with pytest.raises(SystemExit) as ended:
        main([str(each) for each in with_output(good, good / "out.tif", "planes.tif")["segment"]])
    assert not ended.value.code and tifffile.imread(good / "out.tif").shape == (2, 4, 32, 32)
    assert "1,024 pixels were NaN or infinite: they are 0 in the result" in capsys.readouterr().out


def test_a_model_of_planes_starts_no_volumes(good, capsys):
    start = good / "model.safetensors"
    said = refused_training(capsys, good, "image.tif", "labels.tif", "--ndim", "3", "--start", start)
    assert "--ndim 2" in said


@pytest.mark.parametrize("out", ["new/model.safetensors", "images", "image.tif/model.safetensors"])
def test_an_output_that_cannot_be_is_refused_before_anything_is_read(out, good, capsys):
    options = ["--overwrite"] if out == "images" else []
    said = refused(capsys, good, "train", "absent.tif", "absent.tif", "--out", good / out, *options)
    assert str(good / out) in said or str((good / out).parent) in said


@pytest.fixture
def small_disk(tmp_path):
    """A disk of 64 KiB, empty."""
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(folder)]
    if not shutil.which("mount") or subprocess.run(command, capture_output=True).returncode:
        pytest.skip("may not mount a small disk here: needs root on Linux")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def with_output(good, name, image="large.tif"):
    """Commands that write under that name."""
    return {
        "train": ["train", good / "image.tif", good / "labels.tif", *TINY, "--width", "16", "--out", name],
        "segment": [
            *("segment", good / "model.safetensors", good / image, "--kind", "probabilities"),
            *("--out", name),
        ],
        "weights": ["weights", good / image, "--out", name],
    }


@pytest.mark.parametrize(
    ("command", "name"), [("train", "m.safetensors"), ("segment", "out.tif"), ("weights", "w.tif")]
)
def test_a_full_disk(command, name, good, small_disk, capsys):
    save(good / "large.tif", np.resize(np.uint8([0, 1]), (4, 128, 128)))
    said = refused(capsys, good, *with_output(good, small_disk / name)[command])
    assert str(small_disk / name) in said and ("room" in said or "space" in said)


def test_a_disk_that_fills_up_while_a_store_grows(good, small_disk, capsys):
    save(good / "large.tif", np.random.default_rng(0).integers(0, 255, (4, 128, 128), np.uint8))
    out = small_disk / "out.ome.zarr"
    with pytest.raises(SystemExit) as ended:
        main([*map(str, with_output(good, out)["segment"]), "--tile", "64"])
    error = capsys.readouterr().err
    assert ended.value.code == 2 and not out.exists()
    assert error.startswith(f"Error: no space for {out}") and error.count("\n") == 1


@pytest.mark.parametrize(
    ("command", "name"), [("train", "m.safetensors"), ("segment", "out.tif"), ("weights", "w.tif")]
)
def test_a_folder_that_cannot_be_written(command, name, good, small_disk, capsys):
    save(good / "large.tif", np.resize(np.uint8([0, 1]), (4, 128, 128)))
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    assert str(small_disk) in refused(capsys, good, *with_output(good, small_disk / name)[command])


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_of_somebody_else(good, capsys):
    folder = good / "theirs"
    folder.mkdir(mode=0o500)
    said = refused(capsys, good, *with_output(good, folder / "m.safetensors")["train"])
    assert "cannot be written" in said


def test_a_process_says_it_without_a_traceback(good):
    command = [sys.executable, "-c", "from napari_unet.cli import main; main()", "train"]
    done = subprocess.run(
        [*command, good / "image.tif", good / "absent.tif", "--out", good / "new.safetensors"],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2
    assert done.stderr.startswith("Error: ") and done.stderr.count("\n") == 1 and not done.stdout
