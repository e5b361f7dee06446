import contextlib
import gc
import os
import subprocess
import sys
from pathlib import Path
from weakref import WeakSet

import h5py
import numpy as np
import pytest
import tifffile
import zarr
from PIL import Image as Pillow

from napari_unet.core.io import (
    Image,
    find_images,
    list_positions,
    open_image,
    open_labels,
    open_stack,
    read_labels,
)

RNG = np.random.default_rng(0)


def test_importing_the_package_imports_no_heavy_library():
    # a bare package in the place of core, whose own __init__ may offer more than files
    code = (
        "import sys, types, pathlib, napari_unet\n"
        "core = sys.modules['napari_unet.core'] = types.ModuleType('napari_unet.core')\n"
        "core.__path__ = [str(pathlib.Path(napari_unet.__file__).parent / 'core')]\n"
        "import napari_unet.core.io\n"
        "print(sorted({'zarr', 'h5py', 'bioio', 'torch', 'dask', 'napari'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_path_that_is_no_image_is_refused(tmp_path: Path):
    (tmp_path / "notes.txt").write_text("hello")
    with pytest.raises(ValueError, match=r"notes\.txt is no image \(\.txt\); give a TIFF"):
        open_image(tmp_path / "notes.txt")
    with pytest.raises(ValueError, match="is a folder"):
        open_image(tmp_path)
    with pytest.raises(FileNotFoundError, match="does not exist"):
        open_image(tmp_path / "missing.tif")


def test_labels_are_integers_and_bool_becomes_uint8(tmp_path: Path):
    tifffile.imwrite(tmp_path / "mask.tif", RNG.random((8, 9)) > 0.5)
    tifffile.imwrite(tmp_path / "big.tif", np.full((8, 9), 70000, ">u4"))
    assert read_labels(open_labels(tmp_path / "mask.tif")).dtype == np.uint8
    labels = read_labels(open_labels(tmp_path / "big.tif"), (slice(0, 2), slice(0, 3)))
    assert labels.shape == (2, 3) and labels.max() == 70000 and labels.dtype.isnative


@pytest.mark.parametrize(
    ("labels", "sentence"),
    [
        (np.zeros((8, 9), "f4"), "labels l are float32; save them as integers"),
        (np.full((8, 9), -3, "i2"), "labels l hold the negative value -3; save them"),
        (np.zeros((8, 9, 3), "u1"), "labels l have 3 channels .*save them as one channel"),
    ],
)
def test_what_cannot_be_labels_is_refused_with_a_remedy(tmp_path: Path, labels: np.ndarray, sentence: str):
    tifffile.imwrite(tmp_path / "l.tif", labels, photometric="rgb" if labels.ndim == 3 else "minisblack")
    with pytest.raises(ValueError, match=sentence):
        read_labels(open_labels(tmp_path / "l.tif"))


def test_a_folder_of_planes_is_one_stack(tmp_path: Path):
    planes = RNG.integers(0, 255, (12, 20, 30), dtype=np.uint8)
    for z, plane in enumerate(planes):
        tifffile.imwrite(tmp_path / f"z{z}.tif", plane, compression="lzw")
    stack = open_stack(find_images(tmp_path), spacing=(40, 4, 4))
    assert (stack.axes, stack.spacing, stack.name) == ("ZYX", (40.0, 4.0, 4.0), tmp_path.name)
    region = (slice(9, 12), slice(3, 4), slice(0, 30))
    np.testing.assert_array_equal(stack.read(region)[0], planes[region])
    assert read_labels(stack, region).shape == (3, 1, 30)


def test_colour_planes_are_a_stack_with_channels(tmp_path: Path):
    planes = RNG.integers(0, 255, (3, 20, 30, 3), dtype=np.uint8)
    for z, plane in enumerate(planes):
        tifffile.imwrite(tmp_path / f"z{z}.tif", plane, photometric="rgb")
    stack = open_stack(find_images(tmp_path), channels=[2])
    np.testing.assert_array_equal(stack.read()[0], planes[..., 2])


def test_planes_that_differ_are_refused_by_name(tmp_path: Path):
    tifffile.imwrite(tmp_path / "a.tif", np.zeros((8, 9), "u1"))
    tifffile.imwrite(tmp_path / "b.tif", np.zeros((8, 9), "u2"))
    with pytest.raises(ValueError, match=r"b\.tif is YX \(8, 9\) uint16 but a\.tif is YX \(8, 9\) uint8"):
        open_stack(find_images(tmp_path))
    tifffile.imwrite(
        tmp_path / "b.tif", np.zeros((4, 8, 9), "u1"), metadata={"axes": "ZYX"}, photometric="minisblack"
    )
    with pytest.raises(ValueError, match=r"b\.tif is ZYX \(4, 8, 9\), not one plane"):
        open_stack(find_images(tmp_path))
    with pytest.raises(ValueError, match="at least one plane"):
        open_stack([])


def test_a_plane_that_is_cut_off_in_the_middle_of_a_stack_is_named(tmp_path: Path):
    for z in range(5):
        tifffile.imwrite(tmp_path / f"z{z}.tif", RNG.integers(0, 255, (40, 50), "u1"), compression="zlib")
    paths = find_images(tmp_path)
    stack = open_stack(paths)
    os.truncate(paths[3], paths[3].stat().st_size // 2)
    with pytest.raises(
        ValueError, match=r"^z3\.tif cannot be read \(.*\); copy the file again or save it anew$"
    ):
        open_stack(paths)
    assert stack.read((slice(0, 3), slice(0, 40), slice(0, 50))).shape == (1, 3, 40, 50)
    with pytest.raises(ValueError, match=r"^z3\.tif cannot be read"):  # also one that is cut off meanwhile
        stack.read()


def test_a_plane_is_opened_once_for_all_its_tiles_and_few_stay_open(tmp_path: Path, monkeypatch):
    planes = RNG.integers(0, 255, (4, 20, 30), "u1")
    for z, plane in enumerate(planes):
        Pillow.fromarray(plane).save(tmp_path / f"z{z}.png")
    stack = open_stack(find_images(tmp_path))
    opened: list[str] = []
    kept: WeakSet[Image] = WeakSet()

    def opening(path: Path) -> Image:
        opened.append(path.name)
        kept.add(image := open_image(path))
        return image

    monkeypatch.setattr("napari_unet.core.io.opening.open_image", opening)
    for z, y, x in np.ndindex(4, 2, 3):
        region = (slice(z, z + 1), slice(10 * y, 10 * y + 10), slice(10 * x, 10 * x + 10))
        np.testing.assert_array_equal(stack.read(region)[0], planes[region])
    assert opened == ["z0.png", "z1.png", "z2.png", "z3.png"]
    np.testing.assert_array_equal(stack.read()[0], planes)
    gc.collect()
    assert len(kept) == 2


def test_a_folder_of_arrays_is_a_stack_too(tmp_path: Path):
    planes = RNG.integers(0, 255, (3, 20, 30), "u1")
    for z, plane in enumerate(planes):
        np.save(tmp_path / f"ebene {z} µ.npy", plane)
    np.testing.assert_array_equal(open_stack(find_images(tmp_path)).read()[0], planes)


def test_channels_are_chosen_by_number_or_name(tmp_path: Path):
    pixels = RNG.integers(0, 255, (3, 20, 30), "u1")
    metadata = {"axes": "CYX", "Channel": {"Name": ["DAPI", "GFP", "GFP"]}}
    tifffile.imwrite(tmp_path / "a.ome.tif", pixels, photometric="minisblack", metadata=metadata)
    image = open_image(tmp_path / "a.ome.tif", channels=(2, "DAPI"))
    assert image.channels == ("GFP", "DAPI")
    np.testing.assert_array_equal(image.read(), pixels[[2, 0]])
    assert image.source.channels == (2, 0)
    sentence = r"^a: no channel Cy5; it has 3 \(DAPI, GFP, GFP\), choose among 0 to 2$"
    with pytest.raises(ValueError, match=sentence):
        open_image(tmp_path / "a.ome.tif", channels=("Cy5",))
    with pytest.raises(ValueError, match="no channel GFP"):  # which of the two
        open_image(tmp_path / "a.ome.tif", channels=("GFP",))


def test_one_channel_without_an_axis_has_a_name_too(tmp_path: Path):
    metadata = {"axes": "YX", "Channel": {"Name": "DAPI"}}
    tifffile.imwrite(tmp_path / "a.ome.tif", np.ones((20, 30), "u1"), metadata=metadata)
    assert open_image(tmp_path / "a.ome.tif", channels=("DAPI",)).read().shape == (1, 20, 30)


@pytest.mark.parametrize("name", ["a.tif", "a.png", "a.npy", "a.zarr", "a.h5"])
def test_spaces_and_letters_of_any_alphabet_in_paths_work(tmp_path: Path, name: str):
    path = tmp_path / "große Zellen 細胞" / f"µ {name}"
    path.parent.mkdir()
    pixels = RNG.integers(0, 255, (20, 30), "u1")
    with contextlib.closing(h5py.File(tmp_path / "h5", "w")) as file:
        file["raw"] = pixels
    save = {
        ".tif": lambda: tifffile.imwrite(path, pixels),
        ".png": lambda: Pillow.fromarray(pixels).save(path),
        ".npy": lambda: np.save(path, pixels),
        ".zarr": lambda: zarr.create_array(str(path), data=pixels),
        ".h5": lambda: (tmp_path / "h5").rename(path),
    }
    save[path.suffix]()
    assert find_images(path.parent) == [path]
    assert list_positions(path) == ("",)
    image = open_image(path)
    np.testing.assert_array_equal(image.read()[0], pixels)
    np.testing.assert_array_equal(image.source.open().read()[0], pixels)
    with pytest.raises(ValueError, match=r"has no position 1: it has 1, choose among 0 to 0"):
        open_image(path, position=1)
    with pytest.raises(ValueError, match="give one letter of TCZYX for each"):
        open_image(path, axes="ZYX")
