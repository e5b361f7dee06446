"""`napari-unet demo`: a short one writes all that the long one does."""

import re

import numpy as np
import pytest
from PIL import Image, ImageColor

from napari_unet.cli import main
from napari_unet.cli.demo import score_table
from napari_unet.cli.picture import FOUND, INVENTED, MISSED, judged
from napari_unet.core.modelfile import load_model
from napari_unet.samples import Sample, nuclei


def run(*arguments):
    try:
        main(["demo", *map(str, arguments)])
    except SystemExit as ended:
        return ended.code or 0
    return 0


def test_a_model_scores_and_a_picture(tmp_path, capsys):
    out = tmp_path / "new" / "demo"
    assert run("--out", out, "--minutes", "0.02") == 0
    assert sorted(path.name for path in out.iterdir()) == ["demo.png", "demo.safetensors"]
    model = load_model(out / "demo.safetensors")
    assert model.task == "objects" and model.training["steps"] > 0 and model.objects is not None
    with Image.open(out / "demo.png") as picture:
        assert picture.width > 6 * 256 and picture.height > 4 * 256
        assert len(np.unique(np.asarray(picture))) > 100
    said = capsys.readouterr().out
    for sample in nuclei()[1]:
        assert re.search(rf"^{sample.name}( +\d\.\d+){{3}} +\d+ / \d+$", said, re.MULTILINE)
    assert re.search(r"^mean( +\d\.\d+){3}$", said, re.MULTILINE)
    assert str(out / "demo.png") in said


def test_the_table_counts_nuclei_and_scores_them_and_their_foreground():
    objects = np.zeros((4, 4), np.uint16)
    objects[0, :2], objects[3, :2] = 1, 2
    found = np.zeros((4, 4), np.uint16)
    found[0, :2] = 1
    table = score_table([Sample("two", objects, objects, (1.0, 1.0))], [found])
    assert table.splitlines()[1].split() == ["two", "0.667", "0.500", "0.500", "1", "/", "2"]
    assert table.splitlines()[2].split() == ["mean", "0.667", "0.500", "0.500"]


@pytest.mark.parametrize("minutes", ["0", "-1"])
def test_no_time_is_refused(minutes, tmp_path, capsys):
    assert run("--out", tmp_path / "demo", "--minutes", minutes) == 2
    assert f"minutes is {float(minutes)}" in capsys.readouterr().err
    assert not (tmp_path / "demo").exists()


def test_a_file_in_the_way_is_one_sentence_before_training(tmp_path, capsys):
    (tmp_path / "demo").write_text("precious")
    assert run("--out", tmp_path / "demo") == 2
    said = capsys.readouterr()
    assert said.err.startswith("Error: ") and "name a folder" in said.err and not said.out


def test_the_picture_tells_found_from_missed_and_invented_nuclei():
    truth = np.zeros((4, 12), np.uint16)
    truth[:, :3], truth[:, 3:6], truth[1, 8] = 1, 2, 3
    prediction = np.zeros((4, 12), np.uint16)
    prediction[:, :3], prediction[0, 4], prediction[3, 11] = 5, 6, 7
    found, invented, missed = map(ImageColor.getrgb, (FOUND, INVENTED, MISSED))
    predicted, true = judged(prediction, truth)
    assert (predicted[:, :3] == found).all() and (true[:, :2] == found).all()
    assert (predicted[0, 4] == invented).all() and (predicted[3, 11] == invented).all()
    assert (true[:, 4:6] == missed).all() and (true[1, 8] == missed).all()
    assert not true[:, 2:4].any()  # a line between two that touch
    assert not predicted[prediction == 0].any() and not true[truth == 0].any()
