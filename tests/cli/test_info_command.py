"""`napari-unet info`: images and models tell what they are."""

import json

import h5py
import numpy as np
import pytest
import tifffile
import zarr

from napari_unet.cli import main
from napari_unet.core.modelfile import Model, save_model
from napari_unet.core.networks.unet import UNet, UNetConfig
from napari_unet.core.targets import ClassLabel


def run(capsys, *arguments):
    with pytest.raises(SystemExit) as ended:
        main(["info", *map(str, arguments)])
    return ended.value.code or 0, capsys.readouterr()


@pytest.fixture
def stack(tmp_path):
    metadata = {"axes": "ZCYX", "spacing": 50, "unit": "nm"}
    path = tmp_path / "stack.tif"
    tifffile.imwrite(
        path, np.zeros((3, 2, 20, 24), np.uint16), imagej=True, resolution=(0.25, 0.25), metadata=metadata
    )
    return path


def test_an_image_tells_axes_shape_type_spacing_units_and_channels(stack, capsys):
    code, said = run(capsys, stack, "--json")
    facts = json.loads(said.out)
    assert code == 0
    assert facts.pop("spacing") == pytest.approx([50, 4, 4])
    assert facts == {
        "format": "ImageJ TIFF",
        "axes": "ZCYX",
        "shape": [3, 2, 20, 24],
        "dtype": "uint16",
        "units": "nm",
        "channels": ["", ""],
        "positions": [""],
        "missing_chunks": 0,
    }


def test_without_json_it_is_a_list_for_people(stack, capsys):
    code, said = run(capsys, stack)
    assert code == 0
    assert "axes            ZCYX\n" in said.out and "shape           [3, 2, 20, 24]\n" in said.out


def test_positions_and_missing_chunks_of_a_store_are_told(tmp_path, capsys):
    for name in ("a", "b"):
        group = zarr.create_group(str(tmp_path / "many.zarr" / name), zarr_format=3, attributes=multiscale())
        group.create_array("0", data=np.ones((32, 32), np.uint8), chunks=(16, 16))
    zarr.create_group(str(tmp_path / "many.zarr"), zarr_format=3)
    (tmp_path / "many.zarr/a/0/c/1/1").unlink()
    code, said = run(capsys, tmp_path / "many.zarr", "--json")
    facts = json.loads(said.out)
    assert code == 0 and facts["format"] == "OME-Zarr 0.5 (Zarr v3)"
    assert facts["positions"] == ["a", "b"] and facts["missing_chunks"] == 1


def multiscale():
    axes = [{"name": name, "type": "space"} for name in "yx"]
    return {"ome": {"version": "0.5", "multiscales": [{"axes": axes, "datasets": [{"path": "0"}]}]}}


def test_a_dataset_of_an_hdf5_file_is_named_after_a_colon(tmp_path, capsys):
    with h5py.File(tmp_path / "two images.h5", "w") as file:
        file["raw"], file["labels"] = np.zeros((2, 8, 9), np.uint16), np.zeros((2, 8, 9), np.uint8)
    code, said = run(capsys, f"{tmp_path}/two images.h5:/labels", "--json")
    assert code == 0 and json.loads(said.out)["dtype"] == "uint8"
    code, said = run(capsys, tmp_path / "two images.h5")
    assert code == 2 and said.err == (
        "Error: two images.h5 holds /labels, /raw; choose one, as in two images.h5:/labels\n"
    )


def test_a_model_tells_its_header(tmp_path, capsys):
    classes = (ClassLabel(1, 0, "background"), ClassLabel(2, 1, "nucleus"))
    network = UNet(UNetConfig(width=4, depth=1))
    path = tmp_path / "model.safetensors"
    save_model(
        Model(network, "unet", "classes", classes, "YX", (0.5, 0.5), "µm", ("dapi",), "percentile", {}, "0"),
        path,
    )
    code, said = run(capsys, path, "--json")
    header = json.loads(said.out)
    assert code == 0
    assert header["architecture"] == "unet" and header["classes"][1]["name"] == "nucleus"
    assert header["unit"] == "µm" and header["config"]["width"] == 4
    assert "nucleus" in run(capsys, path)[1].out


def test_a_model_of_objects_tells_how_it_finds_them(object_model, capsys):
    rules = json.loads(run(capsys, object_model, "--json")[1].out)["objects"]
    assert rules == {"foreground": 0.5, "core": 0.5, "min_size": 4, "reach": [8, 9]}
    shown = run(capsys, object_model)[1].out
    assert "\nobjects          foreground from 0.5, core from 0.5, at least 4 pixels, up to 8 x 9\n" in shown


@pytest.mark.parametrize("name", ["absent.tif", "absent.safetensors", "text.tif", "text.safetensors", "."])
def test_what_is_neither_image_nor_model_is_one_sentence(name, tmp_path, capsys):
    (tmp_path / "text.tif").write_text("hello")
    (tmp_path / "text.safetensors").write_text("hello")
    code, said = run(capsys, tmp_path / name)
    assert code == 2 and said.err.startswith("Error: ") and said.err.count("\n") == 1
