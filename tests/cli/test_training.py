"""What a training shows and logs."""

from dataclasses import replace
from types import SimpleNamespace

import pytest

from napari_unet.cli import training
from napari_unet.cli.training import curve_logged, progress_shown, run_training
from napari_unet.core.modelfile import Model
from napari_unet.core.networks.unet import UNet, UNetConfig
from napari_unet.core.objects import ObjectRules
from napari_unet.core.scoring import ValidationScore
from napari_unet.core.supply import TrainConfig
from napari_unet.core.targets import ClassLabel
from napari_unet.core.training import TrainResult, TrainUpdate

CLASSES = (ClassLabel(1, 0, "background"), ClassLabel(2, 1, "nucleus"))
MODEL = Model(
    UNet(UNetConfig(width=2, depth=1)),
    "unet",
    "classes",
    CLASSES,
    "YX",
    (1.0, 1.0),
    "pixel",
    ("",),
    "percentile",
    {},
    "0",
)
UPDATE = TrainUpdate(step=7, seconds=20.0, loss=0.5, score=ValidationScore((0.9, None), (0.8, None), 0.9))


def test_a_row_for_each_score_and_an_empty_cell_for_an_absent_class(tmp_path):
    log = tmp_path / "curve.csv"
    show = curve_logged(log, MODEL)
    show(replace(UPDATE, score=None))
    show(UPDATE)
    header, row = (line.split(",") for line in log.read_text().splitlines())
    assert dict(zip(header, row, strict=True)) == {
        "step": "7",
        "seconds": "20",
        "loss": "0.5",
        "steps_per_second": "0",
        "pixel_accuracy": "0.9",
        "mean_dice": "0.9",
        "dice_0": "0.9",
        "dice_1": "",
        "iou_0": "0.8",
        "iou_1": "",
    }


def test_a_log_that_can_no_longer_be_written_does_not_end_the_training(tmp_path):
    log = tmp_path / "curve.csv"
    show = curve_logged(log, MODEL)
    log.unlink()
    log.mkdir()
    show(UPDATE)


@pytest.mark.parametrize(
    ("fitted_to", "words"),
    [
        ("held-out", "fitted to those held out"),
        ("all", "fitted to all that are annotated"),
        ("none", "not fitted, as none could be judged"),
    ],
)
def test_it_is_said_what_rules_of_objects_are_fitted_to(fitted_to, words, monkeypatch, capsys):
    model = replace(MODEL, objects=ObjectRules(0.6, 0.8), training={"objects_fitted_to": fitted_to})

    def train(*_):
        yield UPDATE
        return TrainResult(model, None, 7, 20.0, None)

    monkeypatch.setattr(training, "train", train)
    run_training(MODEL, SimpleNamespace(examples=()), TrainConfig(), begun=0.0)
    said = [line for line in capsys.readouterr().out.splitlines() if line.startswith("objects: ")]
    assert said == [f"objects: foreground from 0.6, core from 0.8, at least 0 pixels; {words}"]


def test_a_training_whose_output_is_a_file_says_how_it_goes_now_and_then(capsys):
    with progress_shown(begun=0.0) as show:
        for second in range(40):
            show(replace(UPDATE, seconds=float(second), score=None))
    lines = [line for line in capsys.readouterr().out.splitlines() if "loss" in line]
    assert [line.split()[0] for line in lines] == ["15", "30"]
