"""`napari-unet train`: what it reads, says and saves, and how it ends."""

import csv
import os
import re
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import tifffile
import torch

from napari_unet.cli import main
from napari_unet.core.annotations import Meaning, save_annotation
from napari_unet.core.modelfile import load_model
from napari_unet.core.targets import ClassLabel

TINY = ["--width", "2", "--depth", "1", "--steps", "2", "--device", "cpu"]
RUN = [sys.executable, "-c", "from napari_unet.cli import main; main()", "train"]


def save(path, array):
    path.parent.mkdir(exist_ok=True)
    tifffile.imwrite(path, array, photometric="minisblack")
    return path


def stripes(shape=(64, 64), seed=0):
    """A noisy image of vertical stripes, and their labels 0 and 1."""
    labels = (np.indices(shape)[-1] // 16 % 2).astype(np.uint8)
    noise = np.random.default_rng(seed).normal(0, 0.2, shape)
    return (100 * (labels + noise + 1)).astype(np.uint16), labels


@pytest.fixture
def files(tmp_path):
    """A stack of four planes."""
    image, labels = stripes((4, 64, 64))
    return save(tmp_path / "image.tif", image), save(tmp_path / "labels.tif", labels)


def run(*arguments):
    """Return the exit code."""
    try:
        main(["train", *map(str, arguments)])
    except SystemExit as ended:
        return ended.code or 0
    return 0


def test_a_stack_becomes_a_model_and_what_was_done_is_said(files, tmp_path, capsys):
    out = tmp_path / "model.safetensors"
    assert run(*files, "--out", out, "--slices", "0,2", *TINY) == 0
    model = load_model(out)
    assert [label.output_value for label in model.classes] == [0, 1]
    assert (model.task, model.axes, model.training["steps"]) == ("classes", "YX", 2)
    said = capsys.readouterr()
    for words in (
        "2 annotated planes of 1 images; classes 0, 1",
        "unet, width 2, depth 1, ",
        " weights",
        "ready after ",
        "validation Dice ",
        f"saved {out} after 2 steps in ",
    ):
        assert words in said.out
    assert not said.err  # no progress bar without a terminal


def test_what_comes_before_the_first_step_is_short_on_small_data_and_told(files, tmp_path):
    """In a process of its own, whose imports count."""
    command = [*RUN, *map(str, files), "--out", str(tmp_path / "model.safetensors"), *TINY]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    seconds = float(re.search(r"ready after ([\d.]+) s", done.stdout)[1])
    assert 0 < seconds < 20  # 2 where nothing else runs


def test_width_and_depth_have_defaults_that_are_printed(files, tmp_path, capsys):
    assert run(*files, "--out", tmp_path / "m.safetensors", "--steps", "1", "--device", "cpu") == 0
    assert re.search(r"unet, width \d+, depth \d, [\d,]+ weights", capsys.readouterr().out)


def test_folders_pair_by_name(tmp_path):
    for name in ("a", "b"):
        image, labels = stripes()
        save(tmp_path / "images" / f"{name}.tif", image)
        save(tmp_path / "labels" / f"{name}.tif", labels)
    out = tmp_path / "model.safetensors"
    assert run(tmp_path / "images", tmp_path / "labels" / "*.tif", "--out", out, *TINY) == 0
    assert load_model(out).training["steps"] == 2


def test_the_same_command_gives_the_same_bytes_and_another_seed_others(files, tmp_path):
    bytes_of = []
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        out = tmp_path / f"{name}.safetensors"
        assert run(*files, "--out", out, "--seed", seed, *TINY) == 0
        bytes_of.append(out.read_bytes())
    assert bytes_of[0] == bytes_of[1] != bytes_of[2]


def test_the_curve_is_a_table(files, tmp_path):
    log = tmp_path / "curve.csv"
    options = [*TINY, "--steps", "30"]
    assert run(*files, "--out", tmp_path / "m.safetensors", "--log", log, *options) == 0
    with log.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == [
        *("step", "seconds", "loss", "steps_per_second", "pixel_accuracy", "mean_dice"),
        *("dice_0", "dice_1", "iou_0", "iou_1"),
    ]
    steps = [int(row["step"]) for row in rows]
    assert len(rows) > 5 and steps == sorted(steps) and steps[-1] == 30
    assert all(0 <= float(row["pixel_accuracy"]) <= 1 and float(row["loss"]) > 0 for row in rows)


def test_objects_are_counted_their_rules_told_and_rim_and_core_scored_apart(tmp_path, capsys):
    image, labels = stripes()
    labels = labels * (1 + np.indices(labels.shape)[-1] // 32).astype(np.uint8)  # two stripes
    files = save(tmp_path / "image.tif", image), save(tmp_path / "labels.tif", labels)
    log = tmp_path / "curve.csv"
    options = ("--task", "objects", "--log", log, "--out", tmp_path / "m.safetensors", *TINY)
    assert run(*files, *options) == 0
    said = capsys.readouterr().out
    assert "1 annotated planes of 1 images; 2 objects\n" in said
    rules = r"^objects: foreground from 0\.5, core from 0\.6, at least 0 pixels, up to 64 x 16; not fitted"
    assert re.search(rules, said, re.MULTILINE)
    assert load_model(tmp_path / "m.safetensors").objects.reach == (64, 16)
    header = log.read_text().splitlines()[0]
    assert header.endswith("dice_background,dice_rim,dice_core,iou_background,iou_rim,iou_core")


def test_axes_spacing_and_channels_reach_the_model(tmp_path):
    image, labels = stripes((6, 32, 32))
    colours = np.stack([image, image // 2, image // 3], axis=1)  # Z, C, Y, X
    files = save(tmp_path / "image.tif", colours), save(tmp_path / "labels.tif", labels)
    options = ["--axes", "ZCYX", "--spacing", "4,1,0.5", "--channels", "0,2", "--ndim", "3"]
    out = tmp_path / "model.safetensors"
    assert run(*files, "--out", out, *options, *TINY) == 0
    model = load_model(out)
    assert (model.axes, model.spacing, len(model.channels)) == ("ZYX", (4.0, 1.0, 0.5), 2)


def test_sparse_files_and_complete_planes(tmp_path, capsys):
    image, labels = stripes((3, 64, 64))
    labels[0, 8:] = labels[2] = 0
    labels[0, :4] = 5
    files = save(tmp_path / "image.tif", image), save(tmp_path / "labels.tif", labels)
    out = tmp_path / "model.safetensors"
    options = ["--unlabelled", "ignore", "--complete", "1", *TINY]
    assert run(*files, "--out", out, *options) == 0
    assert [label.output_value for label in load_model(out).classes] == [1, 5]
    assert "2 annotated planes" in capsys.readouterr().out


@pytest.mark.parametrize("ndim", [2, 3])
def test_of_a_large_sparse_file_regions_around_strokes_are_trained_on(tmp_path, capsys, ndim):
    image, labels = np.zeros((2, 3, 300, 1300), np.uint8)
    image[:] = np.random.default_rng(0).integers(0, 99, image.shape)
    for x in (20, 1200):
        labels[1, 20:60, x : x + 20], labels[1, 20:60, x + 30 : x + 50] = 1, 2
    files = save(tmp_path / "image.tif", image), save(tmp_path / "labels.tif", labels)
    out = tmp_path / "model.safetensors"
    assert run(*files, "--out", out, "--unlabelled", "ignore", "--ndim", ndim, *TINY) == 0
    assert "2 annotated regions of 1 images; classes 1, 2\n" in capsys.readouterr().out


def test_pixels_that_are_not_finite_and_empty_planes_are_said(tmp_path, capsys):
    image, labels = stripes((3, 64, 64))
    image = image.astype(np.float32)
    image[0, :2, :3], labels[2] = np.inf, 0
    files = save(tmp_path / "image.tif", image), save(tmp_path / "labels.tif", labels)
    assert run(*files, "--out", tmp_path / "m.safetensors", *TINY) == 0
    said = capsys.readouterr().out
    assert "image: 6 pixels are not finite and count as unlabelled" in said
    assert "image: planes 2 hold no label and count as unlabelled" in said


def test_a_model_is_trained_further_also_with_other_classes(files, tmp_path, capsys):
    first, second, third = (tmp_path / f"{name}.safetensors" for name in "abc")
    assert run(*files, "--out", first, *TINY) == 0
    assert run(*files, "--out", second, "--start", first, *TINY) == 0
    assert f"starting from {first}\n" in capsys.readouterr().out
    image, labels = stripes((4, 64, 64))
    labels[:, :20] += 3
    more = save(tmp_path / "more.tif", image), save(tmp_path / "more labels.tif", labels)
    assert run(*more, "--out", third, "--start", second, *TINY) == 0
    assert [label.output_value for label in load_model(third).classes] == [0, 1, 3, 4]


def test_an_existing_model_is_refused_before_anything_is_read_and_replaced_when_told(files, tmp_path, capsys):
    out = tmp_path / "model.safetensors"
    out.write_bytes(b"precious")
    assert run("absent.tif", "absent.tif", "--out", out) == 2
    assert "--overwrite" in capsys.readouterr().err and out.read_bytes() == b"precious"
    assert run(*files, "--out", out, "--overwrite", *TINY) == 0
    assert load_model(out).training["steps"] == 2


@pytest.mark.parametrize("name", ["model", "model.pt", ".safetensors"])
def test_a_name_that_is_not_that_of_a_model_file_is_refused(name, tmp_path, capsys):
    assert run("absent.tif", "absent.tif", "--out", tmp_path / name) == 2
    assert f"--out is {tmp_path / name}: give the model file a name that ends in" in capsys.readouterr().err


def test_an_existing_curve_is_refused(files, tmp_path):
    log = tmp_path / "curve.csv"
    log.write_text("precious")
    assert run(*files, "--out", tmp_path / "m.safetensors", "--log", log, *TINY) == 2
    assert log.read_text() == "precious" and not (tmp_path / "m.safetensors").exists()


@pytest.mark.parametrize("architecture", ["unet", "paper", "fcn32s", "fcn16s", "fcn8s", "deconvnet"])
def test_every_architecture_has_its_name(architecture, files, tmp_path):
    out = tmp_path / "model.safetensors"
    options = ["--width", "2", "--depth", "3", "--steps", "1", "--device", "cpu"]
    assert run(*files, "--out", out, "--architecture", architecture, *options) == 0
    assert load_model(out).architecture == architecture


@pytest.mark.skipif(os.name != "posix", reason="needs POSIX signals")
def test_ctrl_c_saves_the_best_model_so_far_names_it_and_exits_with_130(files, tmp_path):
    out, log = tmp_path / "model.safetensors", tmp_path / "curve.csv"
    options = ["--width", "2", "--depth", "1", "--device", "cpu", "--minutes", "5"]
    process = subprocess.Popen(
        [*RUN, *map(str, files), "--out", out, "--log", log, *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and not (log.exists() and len(log.read_text().splitlines()) > 1):
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    said, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert re.search(rf"saved {re.escape(str(out))} after [1-9]\d* steps", said)
    assert "Traceback" not in errors
    model = load_model(out)
    assert model.training["steps"] > 0
    assert all(torch.isfinite(value).all() for value in model.network.state_dict().values())


@pytest.mark.parametrize(
    ("option", "value", "present"),
    [("--architecture", "fcn8s", "unet"), ("--width", 7, 2), ("--depth", 3, 1)],
)
def test_a_network_that_the_model_to_start_from_does_not_have_is_refused(
    option, value, present, files, tmp_path, capsys
):
    first, second = tmp_path / "first.safetensors", tmp_path / "second.safetensors"
    assert run(*files, "--out", first, *TINY) == 0
    assert run(*files, "--out", second, "--start", first, option, value) == 2
    expected = f"{option} is {value} but the model to start from has {present}: leave it out"
    assert expected in capsys.readouterr().err and not second.exists()


def test_an_older_network_is_trained_further_without_naming_it_again(files, tmp_path):
    first, second = tmp_path / "first.safetensors", tmp_path / "second.safetensors"
    assert run(*files, "--out", first, "--architecture", "fcn32s", *TINY) == 0
    assert run(*files, "--out", second, "--start", first, *TINY) == 0
    assert load_model(second).architecture == "fcn32s"


STROKES = Meaning("classes", (ClassLabel(1, 0, "background"), ClassLabel(2, 2, "stripe")), complete=((2,),))


def annotate(path, meaning=STROKES):
    """Strokes on the planes 0 and 2 of four, saved as the dock does."""
    path.parent.mkdir(exist_ok=True)
    plane = (stripes()[1] + 1) * (np.indices((64, 64))[0] % 9 < 3)
    place = {"axes": "ZYX", "shape": (4, 64, 64), "spacing": (1.0, 1.0, 1.0)}
    save_annotation(path, {(0,): plane, (2,): plane}, meaning, **place)
    return path


def test_a_saved_annotation_needs_no_options(files, tmp_path, capsys):
    out = tmp_path / "model.safetensors"
    assert run(files[0], annotate(tmp_path / "strokes.tif"), "--out", out, *TINY) == 0
    assert load_model(out).classes == STROKES.classes
    assert "2 annotated planes of 1 images; classes 0, 2" in capsys.readouterr().out
    same = ["--task", "classes", "--unlabelled", "ignore", "--overwrite"]
    assert run(files[0], tmp_path / "strokes.tif", "--out", out, *same, *TINY) == 0


def test_folders_of_saved_annotations_pair_by_name(tmp_path, capsys):
    for name in "ab":
        save(tmp_path / "images" / f"{name}.tif", stripes((4, 64, 64))[0])
        annotate(tmp_path / "strokes" / f"{name}.tif")
    out = tmp_path / "model.safetensors"
    assert run(tmp_path / "images", tmp_path / "strokes", "--out", out, *TINY) == 0
    assert "4 annotated planes of 2 images" in capsys.readouterr().out


def test_saved_objects_train_objects(files, tmp_path):
    out = tmp_path / "model.safetensors"
    annotate(tmp_path / "cells.tif", Meaning("objects", ()))
    assert run(files[0], tmp_path / "cells.tif", "--out", out, *TINY) == 0
    assert load_model(out).task == "objects"


@pytest.mark.parametrize(
    ("option", "value", "words"),
    [
        ("--task", "objects", "--task is objects but strokes is annotated for classes: leave it out"),
        ("--unlabelled", "background", "--unlabelled is background but strokes is an annotation"),
        ("--complete", "1", "--complete is 1 but strokes says it itself: leave it out"),
    ],
)
def test_an_option_that_contradicts_a_saved_annotation_is_refused(
    option, value, words, files, tmp_path, capsys
):
    strokes = annotate(tmp_path / "strokes.tif")
    out = tmp_path / "model.safetensors"
    assert run(files[0], strokes, "--out", out, option, value, *TINY) == 2
    assert words in capsys.readouterr().err and not out.exists()


def test_a_saved_annotation_beside_plain_labels_is_refused(tmp_path, capsys):
    image, labels = stripes((4, 64, 64))
    for name in "ab":
        save(tmp_path / "images" / f"{name}.tif", image)
    annotate(tmp_path / "strokes" / "a.tif")
    save(tmp_path / "strokes" / "b.tif", labels)
    options = ["--out", tmp_path / "model.safetensors", *TINY]
    assert run(tmp_path / "images", tmp_path / "strokes", *options) == 2
    assert "a says what its values mean and b does not" in capsys.readouterr().err
