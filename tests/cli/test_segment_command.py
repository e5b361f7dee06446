"""`napari-unet segment`: one image, a stack, many images, and what is refused."""

import io
import subprocess
import sys
from functools import partial

import numpy as np
import pytest
import tifffile
import zarr
from rich.console import Console

from napari_unet.cli import main, progress
from napari_unet.core.io import create_output, open_image
from napari_unet.core.running import StackUpdate


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
    assert "2 pixels were NaN or infinite: they are 0 in the result" in capsys.readouterr().out


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
    assert "keep them with --resume, or replace with --overwrite" in capsys.readouterr().err
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


def test_an_ome_tiff_that_was_renamed(segment, tmp_path):
    """Its metadata still name the file as it was called before."""
    sizes = 'SizeX="50" SizeY="40" SizeZ="1" SizeC="1" SizeT="1"'
    description = (
        '<?xml version="1.0"?><OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06" '
        'UUID="urn:uuid:1"><Image ID="Image:0"><Pixels ID="Pixels:0" DimensionOrder="XYCZT" '
        f'Type="uint16" {sizes}><TiffData IFD="0" PlaneCount="1">'
        '<UUID FileName="before.ome.tif">urn:uuid:1</UUID></TiffData></Pixels></Image></OME>'
    )
    pixels = np.random.default_rng(0).integers(0, 99, (40, 50), np.uint16)
    tifffile.imwrite(tmp_path / "now.ome.tif", pixels, description=description, metadata=None)
    assert segment(tmp_path / "now.ome.tif", "--out", tmp_path / "out.tif") == 0
    assert open_image(tmp_path / "out.tif").spatial_shape == (40, 50)


def test_labels_go_into_the_image_itself(segment, tmp_path, capsys):
    store = tmp_path / "image.ome.zarr"
    pixels = np.random.default_rng(0).integers(0, 99, (3, 40, 50), np.uint16)
    with create_output(store, pixels.shape, pixels.dtype, axes="ZYX", spacing=(2, 1, 1), unit="µm") as output:
        output.write((slice(0, 3), slice(0, 40), slice(0, 50)), pixels)
    assert segment(store, "--into-image", "cells") == 0
    labels = open_image(store / "labels" / "cells")
    assert (labels.spatial_shape, labels.spacing, labels.unit) == ((3, 40, 50), (2, 1, 1), "µm")
    assert f"{store / 'labels' / 'cells'}: " in capsys.readouterr().out
    assert zarr.open_group(store / "labels", mode="r").attrs["ome"]["labels"] == ["cells"]
    np.testing.assert_array_equal(open_image(store).read()[0], pixels)


def test_labels_go_into_nothing_but_an_ome_zarr_image(segment, folder, capsys):
    assert segment(folder / "0.tif", "--into-image", "cells") == 2
    assert "is no OME-Zarr image" in capsys.readouterr().err


def test_where_the_result_goes_has_to_be_said(segment, folder, capsys):
    assert segment(folder / "0.tif") == 2
    error = capsys.readouterr().err
    assert "--out" in error and "--into-image" in error and error.count("\n") == 1


@pytest.mark.parametrize("dtype", ["uint8", "float16", "float32"])
def test_the_type_of_probabilities(dtype, segment, folder, tmp_path):
    out = tmp_path / "probabilities.tif"
    assert segment(folder / "0.tif", "--kind", "probabilities", "--score-type", dtype, "--out", out) == 0
    assert open_image(out).dtype == dtype


@pytest.mark.parametrize("channels", ["actin", "1"])
def test_a_channel_is_chosen_by_name_or_number(channels, segment, tmp_path, folder):
    pixels = np.stack([np.zeros((40, 50), np.uint16), tifffile.imread(folder / "0.tif")])
    metadata = {"axes": "CYX", "Channel": {"Name": ["DAPI", "actin"]}}
    tifffile.imwrite(tmp_path / "two.ome.tif", pixels, metadata=metadata)
    assert segment(tmp_path / "two.ome.tif", "--channels", channels, "--out", tmp_path / "out.tif") == 0
    assert segment(folder / "0.tif", "--out", tmp_path / "expected.tif") == 0
    np.testing.assert_array_equal(
        *(tifffile.imread(tmp_path / f"{name}.tif") for name in ("out", "expected"))
    )


def test_an_image_is_brought_to_the_voxel_size_of_the_model(segment, make_model, tmp_path):
    model = make_model("micrometres", spacing=(0.5, 0.5), unit="µm")
    metadata = {"axes": "YX", "unit": "um"}
    pixels = np.random.default_rng(0).integers(0, 99, (40, 50), np.uint16)
    tifffile.imwrite(tmp_path / "fine.tif", pixels, imagej=True, metadata=metadata, resolution=(4, 4))
    assert segment(tmp_path / "fine.tif", "--match-spacing", "--out", tmp_path / "out.tif", model=model) == 0
    result = open_image(tmp_path / "out.tif")
    assert (result.spatial_shape, result.spacing) == ((40, 50), (0.25, 0.25))


def test_missing_chunks_are_counted_in_the_summary(segment, tmp_path, capsys):
    zarr.create_array(tmp_path / "stack.zarr", data=np.ones((4, 32, 32), np.uint8), chunks=(1, 32, 32))
    (tmp_path / "stack.zarr/c/2/0/0").unlink()
    assert segment(tmp_path / "stack.zarr", "--out", tmp_path / "out.tif") == 0
    assert "1 chunks of the image are missing and read as its fill value" in capsys.readouterr().out


def test_every_phase_has_a_bar_on_a_terminal(monkeypatch):
    screen = io.StringIO()
    console = partial(Console, file=screen, force_terminal=True, width=120)
    monkeypatch.setattr(progress, "Console", lambda stderr: console())
    with progress.segmenting_shown("[a]") as show:
        for phase in ("tiles", "level 1"):
            for n_done in (1, 2):
                show(StackUpdate(phase, n_done - 1, n_done, 2, 500 * n_done, 1000))
    assert "[a]: tiles" in screen.getvalue() and "[a]: level 1" in screen.getvalue()


def test_worker_processes_give_the_same_result(model, segment, folder, tmp_path):
    """In a process of its own: Dask leaves sockets open at its end."""
    pytest.importorskip("distributed")
    one, many = tmp_path / "one.ome.zarr", tmp_path / "many.ome.zarr"
    assert segment(folder / "0.tif", "--out", one, "--tile", 32) == 0
    command = [sys.executable, "-c", "from napari_unet.cli import main; main()", "segment"]
    options = ["--out", str(many), "--tile", "32", "--workers", "1"]
    done = subprocess.run([*command, str(model), str(folder / "0.tif"), *options], capture_output=True)
    assert not done.returncode, done.stderr
    np.testing.assert_array_equal(open_image(many).read(), open_image(one).read())


def test_a_scheduler_needs_an_address(segment, folder, tmp_path, capsys):
    pytest.importorskip("distributed")
    assert segment(folder / "0.tif", "--out", tmp_path / "out.ome.zarr", "--scheduler", "nowhere") == 2
    assert "nowhere is no address of a scheduler" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ("--out O --workers 2 --scheduler tcp://a:1", "choose one of them"),
        ("--out O --workers 2 --match-spacing", "--match-spacing: leave out that, or --workers"),
        ("--out O --scheduler tcp://a:1 --match-spacing", "--match-spacing: leave out that, or --workers"),
        ("--out O --workers 2 --suffix .tif", "choose --suffix .ome.zarr"),
        ("--into-image cells --kind probabilities", "a place for labels only"),
        ("--out O --score-type uint8", "add --kind probabilities"),
        ("--out O --score-type uint8 --kind objects", "add --kind probabilities"),
    ],
)
def test_options_that_exclude_each_other_are_refused_before_anything_is_started(
    options, said, segment, folder, tmp_path, capsys, monkeypatch
):
    monkeypatch.setitem(sys.modules, "distributed", None)  # nobody asks for it
    assert segment(folder, *options.replace("O", str(tmp_path / "out")).split()) == 2
    error = capsys.readouterr().err
    assert error.startswith("Error: ") and error.count("\n") == 1 and said in error
    assert not (tmp_path / "out").exists()


def test_workers_do_not_write_one_tiff(segment, folder, tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "distributed", None)
    assert segment(folder / "0.tif", "--out", tmp_path / "out.tif", "--workers", "2") == 2
    assert "choose an output that ends in .ome.zarr" in capsys.readouterr().err
