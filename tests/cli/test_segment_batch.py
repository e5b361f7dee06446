"""`napari-unet segment` on many images: names of results, positions, bad ones among good ones, the table."""

import unicodedata
from dataclasses import replace

import h5py
import numpy as np
import pytest
import tifffile
import zarr

from napari_unet.cli.running import Job
from napari_unet.core.io import open_image
from napari_unet.core.modelfile import load_model, save_model

PIXELS = np.random.default_rng(0).integers(0, 99, (40, 50), np.uint16)


@pytest.fixture
def positions(tmp_path):
    """A store of two images, A/1 and B/1."""
    store = tmp_path / "plate.zarr"
    zarr.create_group(str(store), zarr_format=3)
    axes = [{"name": name, "type": "space"} for name in "yx"]
    scale = [{"type": "scale", "scale": [1.0, 1.0]}]
    levels = [{"path": "0", "coordinateTransformations": scale}]
    attributes = {"ome": {"version": "0.5", "multiscales": [{"axes": axes, "datasets": levels}]}}
    for name in ("A", "B"):
        group = zarr.create_group(str(store / name), zarr_format=3, attributes=attributes)
        group.create_array("0", data=PIXELS, chunks=(20, 25))
    return store


def names_in(folder):
    return sorted(path.name for path in folder.iterdir())


def test_the_table_tells_about_every_image(segment, folder, tmp_path, capsys):
    (folder / "1.tif").write_bytes((folder / "1.tif").read_bytes()[:300])
    noisy = PIXELS.astype(np.float32)
    noisy[3, 4:6] = np.nan
    tifffile.imwrite(folder / "[red].tif", noisy)
    assert segment(folder, "--out", tmp_path / "results") == 1
    said = capsys.readouterr()
    assert names_in(tmp_path / "results") == ["0.tif", "2.tif", "[red].tif"]
    assert said.err.count("\n") == 1 and f"{folder / '1.tif'}: 1.tif cannot be read" in said.err
    rows = {line.split("│")[1].strip(): line for line in said.out.splitlines() if line.startswith("│")}
    assert list(rows) == ["0.tif", "1.tif", "2.tif", "[red].tif"]
    assert "2,000" in rows["0.tif"] and "failed" not in rows["0.tif"]
    assert "failed" in rows["1.tif"] and "copy the file again or save it anew" in rows["1.tif"]
    assert "2 pixels were NaN or infinite" in rows["[red].tif"]
    assert said.out.endswith("3 of 4 images segmented; failed: 1.tif\n")


def test_what_the_hardware_refuses_is_reported_and_the_rest_go_on(
    segment, folder, tmp_path, capsys, monkeypatch
):
    run = Job.run

    def refuse_one(job, request):
        if request.path.name == "1.tif":
            raise RuntimeError("CUDA error: unspecified launch failure\nCompile with TORCH_USE_CUDA_DSA")
        return run(job, request)

    monkeypatch.setattr(Job, "run", refuse_one)
    assert segment(folder, "--out", tmp_path / "results") == 1
    assert names_in(tmp_path / "results") == ["0.tif", "2.tif"]
    said = capsys.readouterr()
    assert said.err == f"Error: {folder / '1.tif'}: CUDA error: unspecified launch failure\n"
    assert said.out.endswith("2 of 3 images segmented; failed: 1.tif\n")


def test_whatever_is_wrong_with_files_the_others_are_done(segment, folder, tmp_path, capsys, monkeypatch):
    def fail(path):
        raise LookupError("what no decoder was expected to say")

    monkeypatch.setattr("numpy.lib.format.open_memmap", fail)
    (folder / "array.npy").touch()
    (folder / "dangling.tif").symlink_to("nowhere.tif")
    (folder / "empty.png").touch()
    (folder / "folder.tif").mkdir()
    (folder / "loop.tif").symlink_to("loop.tif")
    (folder / "random.h5").write_bytes(b"no HDF5")
    (folder / "store.zarr").mkdir()
    (folder / "store.zarr" / "zarr.json").write_text("null")
    bad = ["array.npy", "dangling.tif", "empty.png", "folder.tif", "loop.tif", "random.h5", "store.zarr"]
    assert segment(folder, "--out", tmp_path / "results") == 1
    assert names_in(tmp_path / "results") == ["0.tif", "1.tif", "2.tif"]
    said = capsys.readouterr()
    assert said.err.count("\n") == said.err.count("Error: ") == len(bad)
    rows = {line.split("│")[1].strip(): line for line in said.out.splitlines() if line.startswith("│")}
    assert [name for name, row in rows.items() if "failed" in row] == bad
    assert said.out.endswith(f"3 of 10 images segmented; failed: {', '.join(bad)}\n")


def test_files_of_systems_are_skipped_in_silence(segment, folder, tmp_path, capsys):
    for name in ("Thumbs.db", ".DS_Store", "desktop.ini", "._0.tif"):
        (folder / name).write_bytes(b"no image")
    assert segment(folder, "--out", tmp_path / "results") == 0
    assert names_in(tmp_path / "results") == ["0.tif", "1.tif", "2.tif"]
    said = capsys.readouterr()
    assert not said.err and said.out.endswith("\n3 of 3 images segmented\n")


@pytest.mark.parametrize("name", ["a,b", "a#b", "a b", "[a]", "a%20b", "ä", "a&b;c", "-a", "'a'"])
def test_results_of_files_with_signs_in_their_names(name, segment, folder, tmp_path):
    (folder / "0.tif").rename(folder / f"{name}.tif")
    assert segment(folder, "--out", tmp_path / "results") == 0
    assert segment(folder / f"{name}.tif", "--out", tmp_path / f"{name}, alone.tif") == 0
    assert names_in(tmp_path / "results") == sorted([f"{name}.tif", "1.tif", "2.tif"])
    assert (tmp_path / f"{name}, alone.tif").is_file()


def test_two_names_that_differ_by_unicode_form_only_would_be_one_result(segment, folder, tmp_path, capsys):
    for index, form in enumerate(("NFC", "NFD")):
        (folder / f"{index}.tif").rename(folder / unicodedata.normalize(form, "ä.tif"))
    assert segment(folder, "--out", tmp_path / "results") == 2
    assert "would both become ä.tif" in capsys.readouterr().err
    assert not (tmp_path / "results").exists()


def test_a_result_never_replaces_an_image_whose_name_has_another_form(segment, folder, capsys):
    (folder / "0.tif").rename(folder / unicodedata.normalize("NFD", "ä.tif"))
    before = names_in(folder)
    assert segment(folder, "--out", folder, "--overwrite") == 2
    assert "is an input" in capsys.readouterr().err and names_in(folder) == before


@pytest.mark.parametrize(
    ("spacing", "unit", "differs"),
    [
        ((1.0, 1.0), "µm", True),
        ((400.0, 400.0), "nm", True),
        ((0.5, 0.65), "µm", True),
        ((0.59, 0.42), "µm", False),
        ((500.0, 500.0), "nm", False),
        ((1.0, 1.0), "pixel", False),
    ],
)
def test_pixels_of_another_size_are_noted(spacing, unit, differs, segment, make_model, tmp_path, capsys):
    folder = tmp_path / "images"
    folder.mkdir()
    sizes = dict(zip(("PhysicalSizeY", "PhysicalSizeX"), spacing, strict=True))
    units = {f"{name}Unit": unit for name in sizes}
    for name in ("a", "b"):
        metadata = {"axes": "YX", **(sizes | units if unit != "pixel" else {})}
        tifffile.imwrite(folder / f"{name}.ome.tif", PIXELS, metadata=metadata)
    model = make_model("sized", spacing=(0.5, 0.5), unit="µm")
    assert segment(folder, "--out", tmp_path / "many", model=model) == 0
    said = capsys.readouterr()
    assert said.out.count("the model learnt from pixels of") == 4 * differs  # each image's line and row
    assert segment(folder / "a.ome.tif", "--out", tmp_path / "one.tif", model=model) == 0
    said = capsys.readouterr()
    sides = " x ".join(f"{side:g}" for side in spacing)
    assert said.err.count("\n") == said.err.count("--match-spacing") == differs
    assert not differs or f"a has pixels of {sides} {unit} and the model learnt from pixels of" in said.err
    if differs:
        matched = segment(folder, "--out", tmp_path / "matched", "--match-spacing", model=model)
        assert matched == 0 and "learnt from pixels" not in capsys.readouterr().out


def test_channels_that_are_not_used_are_noted(segment, make_model, tmp_path, capsys):
    names = {"Channel": {"Name": ["actin", "dna", "membrane"]}}
    path = tmp_path / "three.ome.tif"
    tifffile.imwrite(
        path, np.stack([PIXELS] * 3), metadata={"axes": "CYX", **names}, photometric="minisblack"
    )
    model = make_model("two", n_channels=2)
    loaded = load_model(model)
    save_model(replace(loaded, channels=("dna", "actin")), model, overwrite=True)
    assert segment(path, "--out", tmp_path / "labels.tif", model=model) == 0
    assert capsys.readouterr().out.endswith("; 2 of 3 channels are used: dna, actin\n")
    assert segment(path, "--channels", "1,0", "--out", tmp_path / "chosen.tif", model=model) == 0
    assert "channels are used" not in capsys.readouterr().out


def test_what_was_noted_when_a_file_was_opened_is_in_the_summary(
    segment, folder, tmp_path, capsys, monkeypatch
):
    request = Job.request

    def noted(job, source, output):
        asked = request(job, source, output)
        return replace(asked, image=replace(asked.image, notes=("alpha is dropped",)))

    monkeypatch.setattr(Job, "request", noted)
    assert segment(folder / "0.tif", "--out", tmp_path / "one.tif") == 0
    assert capsys.readouterr().out.endswith("; alpha is dropped\n")
    assert segment(folder, "--out", tmp_path / "many") == 0
    assert capsys.readouterr().out.count("alpha is dropped") == 6


def test_results_have_the_wanted_format(segment, folder, tmp_path):
    assert segment(folder, "--out", tmp_path / "results", "--suffix", ".ome.zarr") == 0
    assert names_in(tmp_path / "results") == ["0.ome.zarr", "1.ome.zarr", "2.ome.zarr"]
    assert open_image(tmp_path / "results" / "1.ome.zarr").spatial_shape == (40, 50)


def test_complete_results_are_kept_and_the_rest_is_done(segment, folder, tmp_path, capsys):
    results = tmp_path / "results"
    assert segment(folder, "--out", results) == 0
    (results / "1.tif").unlink()
    before = (results / "0.tif").stat().st_mtime_ns
    capsys.readouterr()
    assert segment(folder, "--out", results, "--resume") == 0
    said = capsys.readouterr().out
    assert f"{results / '0.tif'}: was complete already\n" in said and "3 of 3 images" in said
    assert said.count("voxels in") == 1
    assert names_in(results) == ["0.tif", "1.tif", "2.tif"]
    assert (results / "0.tif").stat().st_mtime_ns == before


def test_names_with_spaces_and_other_letters(segment, folder, tmp_path):
    (folder / "0.tif").rename(folder / "Zelle ä – 細胞 №1.tif")
    results = tmp_path / "Ergebnisse für 細胞"
    assert segment(folder / "Zelle *.tif", "--out", results) == 0
    assert names_in(results) == ["Zelle ä – 細胞 №1.tif"]


def test_datasets_of_many_hdf5_files(segment, tmp_path):
    for name in ("a 1", "b"):
        with h5py.File(tmp_path / f"{name}.h5", "w") as file:
            file["raw"], file["other"] = PIXELS, PIXELS
    assert segment(f"{tmp_path}/*.h5:/raw", "--out", tmp_path / "results") == 0
    assert names_in(tmp_path / "results") == ["a 1.tif", "b.tif"]
    assert segment(f"{tmp_path}/b.h5:/raw", "--out", tmp_path / "b.tif") == 0


def test_every_position_of_a_file_gets_a_result(segment, positions, tmp_path):
    assert segment(positions, "--out", tmp_path / "results") == 0
    assert names_in(tmp_path / "results") == ["plate_A.tif", "plate_B.tif"]


@pytest.mark.parametrize("chosen", ["1", "B"])
def test_one_position_is_one_image(chosen, segment, positions, tmp_path):
    assert segment(positions, "--position", chosen, "--out", tmp_path / "labels.tif") == 0
    assert open_image(tmp_path / "labels.tif").spatial_shape == (40, 50)


@pytest.mark.parametrize("chosen", ["2", "C", "-1"])
def test_a_position_that_is_not_there_is_refused(chosen, segment, positions, tmp_path, capsys):
    assert segment(positions, "--position", chosen, "--out", tmp_path / "labels.tif") == 2
    assert f"plate.zarr has no position {chosen}" in capsys.readouterr().err


def test_several_positions_do_not_go_into_one_file(segment, positions, tmp_path, capsys):
    assert segment(positions, "--out", tmp_path / "labels.tif") == 2
    assert "need a folder as --out, or --position" in capsys.readouterr().err
    assert not (tmp_path / "labels.tif").exists()


def test_labels_go_into_every_image_of_a_store(segment, positions, capsys):
    assert segment(positions, "--into-image", "cells") == 0
    for name in ("A", "B"):
        assert open_image(positions / name / "labels" / "cells").spatial_shape == (40, 50)
    assert segment(positions, "--into-image", "cells") == 1
    assert "give --overwrite" in capsys.readouterr().err
    assert segment(positions, "--into-image", "cells", "--overwrite") == 0


def test_a_folder_that_cannot_be_made_is_refused(segment, folder, tmp_path, capsys):
    (tmp_path / "file").write_text("precious")
    assert segment(folder, "--out", tmp_path / "file" / "results") == 2
    assert "choose another one" in capsys.readouterr().err
