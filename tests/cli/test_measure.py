import csv
from unittest.mock import patch

import numpy as np
import pytest
import tifffile

from napari_unet.cli import main


@pytest.fixture
def files(tmp_path):
    """Two objects, and an image of two channels with pixels of 0.5 µm."""
    labels = np.zeros((16, 20), np.uint16)
    labels[2:6, 3:8], labels[10:16, 10:14] = 4, 700
    values = np.stack((np.full((16, 20), 10), labels)).astype(np.uint16)
    tifffile.imwrite(tmp_path / "objects.tif", labels)
    metadata = {
        "axes": "CYX",
        "PhysicalSizeX": 0.5,
        "PhysicalSizeY": 0.5,
        "Channel": {"Name": ["DAPI", "µ,x"]},
    }
    tifffile.imwrite(tmp_path / "image.ome.tif", values, metadata=metadata)
    return tmp_path


def run(*arguments):
    with pytest.raises(SystemExit) as ended:
        main(["measure", *map(str, arguments)])
    return ended.value.code or 0


def rows_of(path):
    with open(path, encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_a_table_with_a_row_for_each_object(files, capsys):
    out = files / "table.csv"
    assert run(files / "objects.tif", files / "image.ome.tif", "--out", out) == 0
    first, second = rows_of(out)
    assert (first["label"], first["area"], first["unit"]) == ("4", "5.0", "µm")
    assert (second["intensity_mean_DAPI"], second["intensity_sum_µ,x"]) == ("10.0", "16800.0")
    assert second["touches_border"] == "True"
    said = capsys.readouterr()
    assert "2 objects" in said.out and not said.err


def test_options_choose_channel_and_spacing(files):
    options = ("--channels", "DAPI", "--spacing", "2,2")
    assert run(files / "objects.tif", files / "image.ome.tif", "--out", files / "t.tsv", *options) == 0
    header = (files / "t.tsv").read_text(encoding="utf-8").split("\n")[0].split("\t")
    assert [name for name in header if name.startswith("intensity_mean")] == ["intensity_mean_DAPI"]


def test_time_points_are_counted_and_axes_can_be_given(tmp_path, capsys):
    labels = np.zeros((3, 8, 8), np.uint8)
    labels[:, 1:3, 1:3], labels[1, 5:7, 5:7] = 1, 2
    tifffile.imwrite(tmp_path / "t.tif", labels, photometric="minisblack")
    assert run(tmp_path / "t.tif", "--out", tmp_path / "t.csv", "--axes", "TYX") == 0
    assert [row["timepoint"] for row in rows_of(tmp_path / "t.csv")] == ["0", "1", "1", "2"]
    assert "4 objects in 3 time points, 1 to 2 each" in capsys.readouterr().out


def test_an_image_that_is_taken_for_labels_brings_a_hint(tmp_path, capsys):
    noise = np.random.default_rng(0).integers(1, 50, (64, 64)).astype(np.uint8)
    tifffile.imwrite(tmp_path / "image.tif", noise)
    assert run(tmp_path / "image.tif", "--out", tmp_path / "t.csv") == 0
    assert "if OBJECTS is the image, give its labels first" in capsys.readouterr().err


def test_objects_of_single_planes_bring_a_hint(tmp_path, capsys):
    labels = np.zeros((3, 8, 8), np.uint8)
    labels[0, 1:3, 1:3], labels[1, 5:7, 5:7] = 1, 2
    tifffile.imwrite(tmp_path / "z.tif", labels, photometric="minisblack")
    assert run(tmp_path / "z.tif", "--out", tmp_path / "z.csv") == 0
    assert "--planes" in capsys.readouterr().err
    assert run(tmp_path / "z.tif", "--out", tmp_path / "p.csv", "--planes") == 0
    assert [row["plane"] for row in rows_of(tmp_path / "p.csv")] == ["0", "1"]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["gone.tif", "--out", "t.csv"], "gone.tif"),
        (["objects.tif", "--out", "objects.tif"], "is an input"),
        (["objects.tif", "--out", "t.xlsx"], ".csv or .tsv"),
        (["objects.tif", "--out", "there.csv"], "there.csv exists"),
        (["objects.tif", "--out", "no/t.csv"], "does not exist"),
        (["empty.tif", "--out", "t.csv"], "holds no object"),
        (["floats.tif", "--out", "t.csv"], "float32"),
        (["objects.tif", "empty.tif", "--out", "t.csv"], "(4, 4)"),
        (["objects.tif", "image.ome.tif", "--out", "t.csv", "--channels", "GFP"], "no channel GFP"),
        (["objects.tif", "--out", "t.csv", "--channels", "0"], "--channels"),
        (["objects.tif", "nan.tif", "--out", "t.csv"], "NaN or infinite in 20 pixels"),
    ],
)
def test_bad_input_is_one_sentence_and_nothing_is_written(files, monkeypatch, capsys, arguments, sentence):
    monkeypatch.chdir(files)
    tifffile.imwrite("empty.tif", np.zeros((4, 4), np.uint8))
    tifffile.imwrite("floats.tif", np.ones((4, 4), np.float32))
    holes = np.ones((16, 20), np.float32)
    holes[:8] = np.nan
    tifffile.imwrite("nan.tif", holes)
    (files / "there.csv").write_text("mine")
    before = {path.name: path.read_bytes() for path in files.iterdir()}
    assert run(*arguments) == 2
    said = capsys.readouterr().err
    assert said.startswith("Error: ") and said.count("\n") == 1 and sentence in said
    assert {path.name: path.read_bytes() for path in files.iterdir()} == before


def test_ctrl_c_ends_with_130_and_writes_nothing(files, capsys):
    with patch("napari_unet.core.measuring.write_table", side_effect=KeyboardInterrupt):
        assert run(files / "objects.tif", "--out", files / "t.csv") == 130
    assert "Stopped" in capsys.readouterr().err
    assert not (files / "t.csv").exists()


def test_an_existing_table_is_replaced_on_request(files):
    (files / "t.csv").write_text("old")
    assert run(files / "objects.tif", "--out", files / "t.csv", "--overwrite") == 0
    assert len(rows_of(files / "t.csv")) == 2
