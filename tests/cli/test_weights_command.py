import subprocess
import sys

import numpy as np
import pytest
import tifffile
import typer
from typer.testing import CliRunner

from napari_unet.cli.weights import weights
from napari_unet.core.io import open_image
from napari_unet.core.weights import boundary_weights

app = typer.Typer()
app.command()(weights)


@pytest.fixture
def stack(tmp_path):
    """Two objects on either side of a gap, 3 planes of 50 nm, pixels of 4 nm."""
    labels = np.zeros((3, 20, 24), np.uint16)
    labels[:, 4:16, 2:9], labels[:, 4:16, 12:20] = 1, 300
    path = tmp_path / "stack.tif"
    metadata = {"axes": "ZYX", "spacing": 50, "unit": "nm"}
    tifffile.imwrite(path, labels, imagej=True, resolution=(0.25, 0.25), metadata=metadata)
    return path


def run(*arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def test_the_map_is_float32_and_carries_axes_and_spacing(stack, tmp_path):
    result = run(stack, "--out", tmp_path / "w.tif")
    assert result.exit_code == 0, result.output
    image = open_image(tmp_path / "w.tif")
    assert (image.axes, image.dtype, image.unit) == ("ZYX", np.float32, "nm")
    assert image.spacing == pytest.approx((50, 4, 4))
    expected = boundary_weights(tifffile.imread(stack), spacing=(50, 4, 4))
    np.testing.assert_array_equal(image.read()[0], expected)


def test_the_options_reach_the_formula(stack, tmp_path):
    assert (
        run(stack, "--out", tmp_path / "w.tif", "--w0", 3, "--sigma", 2, "--spacing", "1,1,1").exit_code == 0
    )
    expected = boundary_weights(tifffile.imread(stack), w0=3, sigma=2)
    np.testing.assert_array_equal(tifffile.imread(tmp_path / "w.tif"), expected)


def test_every_time_point_is_a_scene_of_its_own(tmp_path):
    frames = np.random.default_rng(0).integers(0, 3, (4, 9, 11)).astype(np.uint8)
    tifffile.imwrite(tmp_path / "t.tif", frames, imagej=True, metadata={"axes": "TYX"})
    assert run(tmp_path / "t.tif", "--out", tmp_path / "w.tif").exit_code == 0
    image = open_image(tmp_path / "w.tif")
    assert image.axes == "TYX"
    np.testing.assert_array_equal(image.read(t=2)[0], boundary_weights(frames[2]))


def test_an_existing_map_is_refused_without_overwrite(stack, tmp_path):
    out = tmp_path / "w.tif"
    out.write_bytes(b"mine")
    assert isinstance(run(stack, "--out", out).exception, FileExistsError)
    assert out.read_bytes() == b"mine"
    assert run(stack, "--out", out, "--overwrite").exit_code == 0
    assert tifffile.imread(out).shape == (3, 20, 24)


def test_the_labels_are_never_replaced(stack):
    before = stack.read_bytes()
    error = run(stack, "--out", stack, "--overwrite").exception
    assert isinstance(error, ValueError) and "is an input" in str(error)
    assert stack.read_bytes() == before


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--spacing", "4;4"], "--spacing is '4;4'"),
        (["--spacing", "4,4"], "spacing"),
        (["--sigma", "0"], "sigma = 0"),
    ],
)
def test_a_bad_option_is_named_and_nothing_is_written(stack, tmp_path, options, message):
    result = run(stack, "--out", tmp_path / "w.tif", *options)
    assert isinstance(result.exception, ValueError) and message in str(result.exception)
    assert [path.name for path in tmp_path.iterdir()] == ["stack.tif"]


def test_there_is_no_option_not_to_overwrite(stack, tmp_path):
    assert run(stack, "--out", tmp_path / "w.tif", "--no-overwrite").exit_code == 2


def test_float_labels_are_refused(tmp_path):
    tifffile.imwrite(tmp_path / "p.tif", np.zeros((8, 8), np.float32))
    assert "float32" in str(run(tmp_path / "p.tif", "--out", tmp_path / "w.tif").exception)


def test_torch_is_not_imported(stack, tmp_path):
    code = (
        "import sys; from pathlib import Path; from napari_unet.cli.weights import weights; "
        f"weights(Path({str(stack)!r}), Path({str(tmp_path / 'w.tif')!r})); sys.exit('torch' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
