"""`napari-unet segment` on many images: names of results, positions, bad ones among good ones, the table."""

import h5py
import numpy as np
import pytest
import tifffile
import zarr

from napari_unet.cli.running import Job
from napari_unet.core.io import open_image

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
    assert said.out.endswith("3 of 4 images segmented\n")


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
    assert said.out.endswith("2 of 3 images segmented\n")


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
