import json
import shutil
import subprocess
import sys

import numpy as np
import pytest
import tifffile
import typer
from typer.testing import CliRunner

from napari_unet.cli import main
from napari_unet.cli.evaluate import evaluate

app = typer.Typer()
app.command()(evaluate)


def run(*arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def scores(*arguments):
    result = run(*arguments, "--json")
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


@pytest.fixture
def save(tmp_path):
    def save(name, labels, axes=None):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        tifffile.imwrite(path, np.asarray(labels, np.uint8), metadata={"axes": axes} if axes else None)
        return path

    return save


def test_one_file_pairs_with_one_whatever_their_names(save):
    found = scores(save("a.tif", [[1, 1], [2, 2]]), save("b.tif", [[1, 2], [2, 2]]))
    assert found == {
        "pixel_accuracy": 0.75,
        "mean_dice": pytest.approx((2 / 3 + 4 / 5) / 2),
        "mean_iou": pytest.approx((1 / 2 + 2 / 3) / 2),
        "classes": {
            "1": {"dice": pytest.approx(2 / 3), "iou": 0.5},
            "2": {"dice": 0.8, "iou": pytest.approx(2 / 3)},
        },
    }


def test_a_stack_is_scored_plane_by_plane(save):
    prediction = [[[1, 1, 1, 1]], [[1, 2, 2, 2]]]
    truth = [[[1, 1, 1, 1]], [[2, 2, 2, 2]]]
    found = scores(save("a.tif", prediction, "ZYX"), save("b.tif", truth, "ZYX"))
    assert found["classes"]["1"]["dice"] == 0.5
    assert found["classes"]["2"]["dice"] == pytest.approx(6 / 7)


@pytest.mark.parametrize("pattern", ["", "*.tif"])
def test_folders_and_globs_pair_by_stem_and_images_weigh_alike(save, tmp_path, pattern):
    for folder in ("p", "t"):
        save(f"{folder}/a.tif", np.ones((2, 2)))
        save(f"{folder}/b.tif", np.full((9, 9), 1 if folder == "p" else 2))
    assert scores(tmp_path / "p" / pattern, tmp_path / "t" / pattern)["pixel_accuracy"] == 0.5


def test_unpaired_files_are_listed(save, tmp_path):
    save("p/a.tif", [[1, 2]]), save("p/c.tif", [[1, 2]])
    save("t/a.tif", [[1, 2]]), save("t/b.tif", [[1, 2]])
    error = run(tmp_path / "p", tmp_path / "t").exception
    assert isinstance(error, ValueError) and str(error).startswith("prediction and truth pair by name")
    assert "c.tif without truth" in str(error) and "b.tif without prediction" in str(error)


def test_ignored_pixels_do_not_count(save):
    files = save("a.tif", [[1, 1], [2, 2]]), save("b.tif", [[1, 0], [2, 0]])
    assert scores(*files)["pixel_accuracy"] == 0.5
    assert scores(*files, "--ignore", 0) == {
        "pixel_accuracy": 1,
        "mean_dice": 1,
        "mean_iou": 1,
        "classes": {"1": {"dice": 1, "iou": 1}, "2": {"dice": 1, "iou": 1}},
    }


def test_a_named_boundary_adds_v_rand_and_vi(save):
    plane = np.full((9, 9), 2)
    plane[4] = 1
    found = scores(save("a.tif", plane), save("b.tif", plane), "--boundary", 1)
    assert (found["v_rand"], found["vi"]) == (1, 0)


def test_what_cannot_be_measured_at_a_boundary_is_null(save):
    files = save("a.tif", [[1, 2], [2, 1]]), save("b.tif", np.ones((2, 2)))  # all of the truth is membrane
    found = scores(*files, "--boundary", 1)
    assert (found["v_rand"], found["vi"]) == (None, None)
    assert "V-Rand none" in run(*files, "--boundary", 1).stdout
    assert scores(*files).keys() == found.keys() - {"v_rand", "vi"}


def test_a_boundary_value_that_never_occurs_is_an_error(save):
    result = run(save("a.tif", [[1, 2]]), save("b.tif", [[1, 2]]), "--boundary", 7)
    assert isinstance(result.exception, ValueError) and "7" in str(result.exception)


def test_objects_are_scored_as_one_foreground_too_however_numbered(save):
    files = save("a.tif", [[7, 7, 0, 9]]), save("b.tif", [[1, 2, 0, 255]])
    assert scores(*files, "--task", "objects")["classes"] == {
        "0": {"dice": 1, "iou": 1},
        "1": {"dice": 1, "iou": 1},
    }
    found = scores(save("c.tif", [[0, 7, 0, 9]]), files[1], "--task", "objects", "--ignore", 255)
    assert found["pixel_accuracy"] == pytest.approx(2 / 3)


def test_objects_are_matched_one_by_one_beside_the_foreground(save):
    files = save("a.tif", [[7, 7, 7, 0, 9]]), save("b.tif", [[1, 1, 1, 1, 0]])
    found = scores(*files, "--task", "objects")
    assert found.keys() == {
        *("pixel_accuracy", "mean_dice", "mean_iou", "classes", "ap", "f1", "pooled_ap", "n_matched"),
        *("mean_matched_iou", "n_true", "n_predicted", "count_error", "seg"),
    }
    assert found["pixel_accuracy"] == 0.6
    assert list(found["ap"])[:2] == ["0.5", "0.55"] and len(found["ap"]) == len(found["f1"]) == 10
    assert (found["ap"]["0.75"], found["ap"]["0.8"], found["f1"]["0.5"]) == (0.5, 0, 2 / 3)
    assert (found["n_true"], found["n_predicted"], found["count_error"]) == (1, 2, 1)
    assert found["mean_matched_iou"] == found["seg"] == 0.75


def test_objects_are_means_over_images_and_ignored_ones_do_not_count(save, tmp_path):
    save("p/a.tif", [[1, 1, 2, 2]]), save("t/a.tif", [[5, 5, 255, 255]])
    save("p/b.tif", [[0, 0, 2, 2]]), save("t/b.tif", [[1, 1, 2, 2]])
    found = scores(tmp_path / "p", tmp_path / "t", "--task", "objects", "--ignore", 255)
    assert found["ap"]["0.95"] == (1 + 1 / 2) / 2 and found["pooled_ap"]["0.95"] == 2 / 3
    assert (found["n_true"], found["n_predicted"]) == (3, 2)


def test_objects_go_through_the_planes_of_a_volume_unless_planes_are_asked_for(save):
    truth = np.ones((4, 3, 3))
    files = save("a.tif", truth * np.arange(1, 5)[:, None, None], "ZYX"), save("b.tif", truth, "ZYX")
    volume, planes = scores(*files, "--task", "objects"), scores(*files, "--task", "objects", "--planes")
    assert (volume["n_true"], volume["n_predicted"], volume["ap"]["0.5"]) == (1, 4, 0)
    assert (planes["n_true"], planes["n_predicted"], planes["ap"]["0.5"]) == (4, 4, 1)
    assert volume["classes"] == planes["classes"]


@pytest.mark.parametrize(("axes", "n_volumes"), [("TYX", 6), ("TZYX", 3)])
def test_objects_of_time_points_are_apart_where_one_file_says_which_they_are(save, tmp_path, axes, n_volumes):
    truth, prediction = np.ones((6, 4, 5), np.uint8), tmp_path / "p.tif"
    shaped = truth if axes == "TYX" else truth.reshape(3, 2, 4, 5)
    tifffile.imwrite(prediction, shaped, imagej=True, metadata={"axes": axes})
    without_metadata = save("t.tif", truth)
    assert scores(prediction, without_metadata, "--task", "objects")["n_true"] == n_volumes
    assert scores(without_metadata, prediction, "--task", "objects")["n_predicted"] == n_volumes
    assert scores(without_metadata, without_metadata, "--task", "objects")["n_true"] == 1


def test_time_points_that_two_files_tell_differently_are_refused_unless_planes_are_asked_for(tmp_path):
    files = tmp_path / "p.tif", tmp_path / "t.tif"
    for file, shape in zip(files, ((2, 6, 4, 5), (3, 4, 4, 5)), strict=True):
        tifffile.imwrite(file, np.ones(shape, np.uint8), imagej=True, metadata={"axes": "TZYX"})
    error = run(*files, "--task", "objects").exception
    assert isinstance(error, ValueError)
    for named in ("2 time points of 6 planes", "3 time points of 4", "--planes"):
        assert named in str(error)
    assert scores(*files, "--task", "objects", "--planes")["n_true"] == 12


def test_what_no_object_can_measure_is_null(save):
    empty = save("a.tif", np.zeros((2, 2)))
    found = scores(empty, empty, "--task", "objects")
    assert found["ap"]["0.5"] == 1
    assert found["mean_matched_iou"] is found["count_error"] is found["seg"] is None
    assert "SEG none" in run(empty, empty, "--task", "objects").stdout


def test_the_table_of_objects_shows_every_threshold_and_the_counts(save):
    files = save("a.tif", [[7, 7, 7, 0, 9]]), save("b.tif", [[1, 1, 1, 1, 0]])
    shown = run(*files, "--task", "objects").stdout
    for part in (
        "0.50",
        "0.95",
        "AP",
        "F1",
        "0.6667",
        "mean",
        "1 true",
        "2 predicted",
        "SEG 0.7500",
        "1.0000",
    ):
        assert part in shown


def test_planes_are_for_objects(save):
    files = save("a.tif", [[1, 2]]), save("b.tif", [[1, 2]])
    assert "--planes needs --task objects" in str(run(*files, "--planes").exception)


@pytest.mark.parametrize(
    ("prediction", "named"),
    [
        (np.zeros((4, 5), np.float32), "float32"),
        (np.ones((5, 4), np.uint8), "(5, 4)"),
        (np.ones((2, 4, 5), np.uint8), "(2, 4, 5)"),
    ],
)
def test_objects_that_cannot_be_compared_are_refused_in_one_sentence(
    save, tmp_path, capsys, prediction, named
):
    tifffile.imwrite(tmp_path / "p.tif", prediction)
    truth = save("t.tif", np.ones((4, 5)))
    with pytest.raises(SystemExit) as ended:
        main(["evaluate", str(tmp_path / "p.tif"), str(truth), "--task", "objects"])
    said = capsys.readouterr().err
    assert ended.value.code == 2 and said.startswith("Error: ") and said.count("\n") == 1 and named in said


def test_objects_have_no_boundary(save):
    files = save("a.tif", [[1, 2]]), save("b.tif", [[1, 2]])
    assert isinstance(run(*files, "--task", "objects", "--boundary", 1).exception, ValueError)


@pytest.mark.parametrize(("shape", "other"), [((4, 5), (5, 4)), ((2, 4, 5), (5, 4, 5)), ((2, 4, 5), (4, 5))])
def test_shapes_that_differ_are_named(save, shape, other):
    error = run(save("a.tif", np.ones(shape)), save("b.tif", np.ones(other))).exception
    assert isinstance(error, ValueError) and str(shape) in str(error) and str(other) in str(error)


@pytest.mark.parametrize("axes", ["TYX", "TZYX"])
def test_time_points_are_compared_with_planes_of_a_file_without_metadata(save, tmp_path, axes):
    truth = np.arange(1, 7, dtype=np.uint8)[:, None, None] * np.ones((4, 5), np.uint8)
    prediction = tmp_path / "p.tif"
    shaped = truth if axes == "TYX" else truth.reshape(3, 2, 4, 5)
    tifffile.imwrite(prediction, shaped, imagej=True, metadata={"axes": axes})
    found = scores(prediction, save("t.tif", truth))
    assert found["pixel_accuracy"] == 1 and len(found["classes"]) == 6


def test_probabilities_are_refused(save, tmp_path):
    tifffile.imwrite(tmp_path / "p.tif", np.zeros((8, 8), np.float32))
    assert "float32" in str(run(tmp_path / "p.tif", save("b.tif", np.ones((8, 8)))).exception)


def test_the_table_shows_every_class_and_the_means(save):
    plane = np.full((9, 9), 2)
    plane[4] = 1
    result = run(save("a.tif", plane), save("b.tif", plane), "--boundary", 1)
    for shown in ("mean", "Dice", "IoU", "1.0000", "pixel accuracy", "V-Rand"):
        assert shown in result.stdout


def test_torch_is_not_imported(save):
    path = save("a.tif", [[1, 2]])
    code = (
        "import sys; from pathlib import Path; from napari_unet.cli.evaluate import evaluate; "
        f"evaluate(Path({str(path)!r}), Path({str(path)!r})); sys.exit('torch' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)


@pytest.fixture
def folders(save, tmp_path):
    """Predictions and truth: b is damaged in its second plane, c a broken link, d of another shape."""
    for name in "abcde":
        for folder in "pt":
            save(f"{folder}/{name}.tif", np.arange(16).reshape(4, 4) % 3)
    for folder in "pt":
        tifffile.imwrite(tmp_path / folder / "b.tif", np.ones((2, 64, 64), np.uint8), compression="zlib")
    with tifffile.TiffFile(tmp_path / "t" / "b.tif") as tif:
        second = tif.pages[1].dataoffsets[0]
    content = bytearray((tmp_path / "t" / "b.tif").read_bytes())
    content[second : second + 8] = bytes(8)
    (tmp_path / "t" / "b.tif").write_bytes(content)
    (tmp_path / "p" / "c.tif").unlink()
    (tmp_path / "p" / "c.tif").symlink_to("nowhere.tif")
    save("p/d.tif", np.ones((2, 2)))
    save("p/e.tif", np.zeros((4, 4)))
    return tmp_path / "p", tmp_path / "t"


@pytest.mark.parametrize("task", ["classes", "objects"])
def test_files_that_cannot_be_read_are_reported_and_the_others_scored(folders, tmp_path, task):
    found = run(*folders, "--task", task)
    assert found.exit_code == 1
    assert found.stdout.endswith("2 of 5 predictions scored; left out: b.tif, c.tif, d.tif\n")
    for name, reason in (("b", "cannot be read"), ("c", "broken link"), ("d", "of the same shape")):
        prediction, truth = (folder / f"{name}.tif" for folder in folders)
        assert any(
            f"Error: {prediction} and {truth}: " in each and reason in each
            for each in found.stderr.splitlines()
        )
    good = [tmp_path / f"{folder}2" for folder in "pt"]
    for folder, others in zip(folders, good, strict=True):
        others.mkdir()
        for name in ("a.tif", "e.tif"):
            shutil.copy(folder / name, others)
    found = run(*folders, "--task", task, "--json")
    assert found.exit_code == 1 and "left out" in found.stderr
    assert json.loads(found.stdout) == scores(*good, "--task", task) | {
        "left_out": ["b.tif", "c.tif", "d.tif"]
    }


def test_nothing_that_can_be_read_is_no_score(folders):
    for name in ("a.tif", "e.tif"):
        (folders[0] / name).write_bytes(b"")
    found = run(*folders, "--json")
    assert found.exit_code == 1 and not found.stdout
    assert "0 of 5 predictions scored" in found.stderr
