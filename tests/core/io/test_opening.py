import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tifffile

from napari_unet.core.io import find_images, open_image, open_labels, open_stack, read_labels

RNG = np.random.default_rng(0)


def test_importing_the_package_imports_no_heavy_library():
    # a bare package in the place of core, whose own __init__ may offer more than files
    code = (
        "import sys, types, pathlib, napari_unet\n"
        "core = sys.modules['napari_unet.core'] = types.ModuleType('napari_unet.core')\n"
        "core.__path__ = [str(pathlib.Path(napari_unet.__file__).parent / 'core')]\n"
        "import napari_unet.core.io\n"
        "print(sorted({'zarr', 'h5py', 'torch', 'dask', 'napari'} & set(sys.modules)))"
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
