"""`napari-unet segment`: one image, a stack, many images, and what is refused."""

import numpy as np
import pytest
import tifffile
import zarr

from napari_unet.cli import main
from napari_unet.core.io import open_image


def save(path, array):
    tifffile.imwrite(path, array.astype(np.uint16), compression="lzw")
    return path


def run(*arguments):
    """Return the exit code."""
    with pytest.raises(SystemExit) as ended:
        main(["segment", *map(str, arguments)])
    return ended.value.code or 0


def test_an_image_becomes_a_file_and_a_summary(model, folder, tmp_path, capsys):
    assert run(model, folder / "0.tif", "--out", tmp_path / "labels.tif") == 0
    labels = open_image(tmp_path / "labels.tif")
    assert (labels.axes, labels.spatial_shape, labels.dtype) == ("YX", (40, 50), np.uint8)
    said = capsys.readouterr()
    assert "2,000 voxels in" in said.out and "voxels/s), tile 40x52, halo 24x24, " in said.out
    assert not said.err  # no progress bar without a terminal


@pytest.mark.parametrize("suffix", [".tif", ".ome.tif", ".ome.zarr"])
def test_the_suffix_sets_the_format(suffix, model, folder, tmp_path):
    path = tmp_path / f"result{suffix}"
    assert run(model, folder / "0.tif", "--out", path, "--kind", "probabilities", "--spacing", "2,0.5") == 0
    result = open_image(path)
    assert (result.axes, result.data.shape, result.spacing) == ("CYX", (2, 40, 50), (2.0, 0.5))
    if suffix == ".ome.zarr":
        assert zarr.open_group(path, mode="r").attrs["ome"]["version"] == "0.5"


def test_a_folder_becomes_a_folder_that_is_made(model, folder, tmp_path):
    assert run(model, folder, "--out", tmp_path / "new" / "results") == 0
    assert sorted(path.name for path in (tmp_path / "new/results").iterdir()) == ["0.tif", "1.tif", "2.tif"]


def test_a_glob_of_one_image_is_still_many(model, folder, tmp_path):
    assert run(model, folder / "1*.tif", "--out", tmp_path / "results") == 0
    assert [path.name for path in (tmp_path / "results").iterdir()] == ["1.tif"]


def test_a_folder_is_one_stack_when_told_so(model, folder, tmp_path):
    assert run(model, folder, "--stack", "--spacing", "5,1,1", "--out", tmp_path / "stack.tif") == 0
    stack = open_image(tmp_path / "stack.tif")
    assert (stack.axes, stack.spatial_shape, stack.spacing) == ("ZYX", (3, 40, 50), (5, 1, 1))


def test_one_bad_image_is_reported_and_the_rest_go_on(model, folder, tmp_path, capsys):
    (folder / "1.tif").write_bytes((folder / "1.tif").read_bytes()[:300])
    assert run(model, folder, "--out", tmp_path / "results") == 1
    assert sorted(path.name for path in (tmp_path / "results").iterdir()) == ["0.tif", "2.tif"]
    said = capsys.readouterr()
    assert "1.tif" in said.err and "2 of 3 images" in said.out


def test_nan_is_counted_in_the_summary(model, tmp_path, capsys):
    array = np.ones((20, 20), np.float32)
    array[3, 4:6] = np.nan
    tifffile.imwrite(tmp_path / "nan.tif", array)
    assert run(model, tmp_path / "nan.tif", "--out", tmp_path / "out.tif") == 0
    assert "2 pixels were NaN or infinite and read as 0" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--halo", "some"], "choose auto, exact or a number"),
        (["--tile", "0"], "tile is 0"),
        (["--device", "abacus"], "choose one of auto"),
        (["--channels", "0,7"], "no channel 7"),
        (["--spacing", "a,b"], "--spacing"),
        (["--axes", "TZYX"], "axes"),
    ],
)
def test_an_option_that_means_nothing_is_one_sentence_and_writes_nothing(
    options, said, model, folder, tmp_path, capsys
):
    assert run(model, folder / "0.tif", "--out", tmp_path / "out.tif", *options) == 2
    error = capsys.readouterr().err
    assert error.startswith("Error: ") and error.count("\n") == 1 and said in error
    assert not (tmp_path / "out.tif").exists()


def test_an_unknown_kind_is_a_usage_error(model, folder, tmp_path):
    assert run(model, folder / "0.tif", "--out", tmp_path / "out.tif", "--kind", "mask") == 2


def test_existing_outputs_are_refused_before_anything_is_segmented(model, folder, tmp_path, capsys):
    results = tmp_path / "results"
    results.mkdir()
    (results / "2.tif").write_bytes(b"precious")
    assert run(model, folder, "--out", results) == 2
    assert [path.name for path in results.iterdir()] == ["2.tif"]
    assert "--overwrite" in capsys.readouterr().err
    assert run(model, folder, "--out", results, "--overwrite") == 0
    assert open_image(results / "2.tif").spatial_shape == (40, 50)


def test_an_input_is_never_replaced(model, folder, capsys):
    before = (folder / "0.tif").read_bytes()
    assert run(model, folder, "--out", folder, "--overwrite") == 2
    assert run(model, folder / "0.tif", "--out", folder / "0.tif", "--overwrite") == 2
    assert "is an input" in capsys.readouterr().err
    assert (folder / "0.tif").read_bytes() == before


def test_an_input_inside_the_output_is_never_lost(model, tmp_path, capsys):
    store = tmp_path / "all.ome.zarr"
    zarr.create_group(store)
    zarr.save_array(store / "raw", np.zeros((40, 50), np.uint16))
    assert run(model, store / "raw", "--out", store, "--overwrite") == 2
    assert "is an input or holds one" in capsys.readouterr().err
    assert open_image(store / "raw").spatial_shape == (40, 50)


def test_a_folder_is_not_replaced_by_a_file(model, folder, tmp_path, capsys):
    (tmp_path / "out.tif").mkdir()
    (tmp_path / "out.tif" / "notes.txt").write_text("precious")
    assert run(model, folder / "0.tif", "--out", tmp_path / "out.tif", "--overwrite") == 2
    assert "is a folder" in capsys.readouterr().err
    assert (tmp_path / "out.tif" / "notes.txt").read_text() == "precious"


def test_two_images_of_one_name_are_refused(model, folder, tmp_path, capsys):
    save(folder / "0.ome.tif", np.zeros((40, 50)))
    assert run(model, folder, "--out", tmp_path / "results") == 2
    assert "would both become 0.tif" in capsys.readouterr().err


def test_many_images_need_a_folder(model, folder, tmp_path, capsys):
    (tmp_path / "file").write_bytes(b"precious")
    assert run(model, folder, "--out", tmp_path / "file") == 2
    assert "many images need a folder" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["all.tif", "all.ome.zarr", "all.PNG"])
def test_many_images_do_not_go_into_the_name_of_one(name, model, folder, tmp_path, capsys):
    assert run(model, folder, "--out", tmp_path / name) == 2
    error = capsys.readouterr().err
    assert "many images need a folder as --out, or --stack" in error and error.count("\n") == 1
    assert not (tmp_path / name).exists()


@pytest.mark.parametrize("missing", ["model", "input", "empty", "image", "channels"])
def test_bad_input_is_one_sentence_and_writes_nothing(missing, model, folder, tmp_path, capsys):
    (tmp_path / "empty").mkdir()
    (tmp_path / "text.tif").write_text("no image")
    save(tmp_path / "rgb.tif", np.zeros((20, 20, 3)))
    arguments = {
        "model": (folder / "0.tif", folder / "0.tif"),
        "input": (model, tmp_path / "absent.tif"),
        "empty": (model, tmp_path / "empty"),
        "image": (model, tmp_path / "text.tif"),
        "channels": (model, tmp_path / "rgb.tif", "--axes", "YXC"),
    }[missing]
    assert run(*arguments, "--out", tmp_path / "out.tif") == 2
    error = capsys.readouterr().err
    assert error.startswith("Error: ") and error.count("\n") == 1
    assert not (tmp_path / "out.tif").exists()


@pytest.mark.parametrize("options", [(), ("--overwrite",)])
def test_a_folder_in_the_place_of_a_result_is_named_as_such(options, model, folder, tmp_path, capsys):
    (tmp_path / "found").mkdir()
    assert run(model, folder / "0.tif", "--out", tmp_path / "found", *options) == 2
    assert "found is a folder: one image needs the name of a file" in capsys.readouterr().err
