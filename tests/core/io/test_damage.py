"""The border of reading: whatever a library raises about a file becomes one sentence that names it."""

import os
import re
import shutil

import h5py
import numpy as np
import pytest
import tifffile
import zarr
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image as Pillow

from napari_unet.core.io import describe_format, find_images, list_positions, open_image, open_labels
from napari_unet.core.io.damage import Unreadable, readable

PIXELS = np.arange(12 * 16, dtype=np.uint8).reshape(12, 16)
NAMES = ["strips.tif", "tiles.tif", "a.ome.tif", "a.png", "a.jpg", "a.npy", "a.h5", "a.zarr"]
LIBRARIES = {
    "strips.tif": "napari_unet.core.io.tiff.TiffFile",
    "a.png": "PIL.Image.open",
    "a.npy": "numpy.lib.format.open_memmap",
    "a.h5": "h5py.File",
    "a.zarr": "zarr.open",
}


class Odd(Exception):
    """What no list of errors can name."""


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """A folder with a small file of every format."""
    folder = tmp_path_factory.mktemp("files")
    tifffile.imwrite(folder / "strips.tif", PIXELS, compression="zlib", rowsperstrip=5)
    tifffile.imwrite(folder / "tiles.tif", PIXELS, compression="lzw", tile=(16, 16))
    tifffile.imwrite(folder / "a.ome.tif", PIXELS, metadata={"axes": "YX", "PhysicalSizeX": 0.5})
    for name in ("a.png", "a.jpg"):
        Pillow.fromarray(PIXELS).save(folder / name)
    np.save(folder / "a.npy", PIXELS)
    with h5py.File(folder / "a.h5", "w") as file:
        file.create_dataset("d", data=PIXELS, compression="gzip")
    zarr.save_array(folder / "a.zarr", PIXELS)
    return folder


@pytest.mark.parametrize(
    "error", [Odd("odd\nmore"), AttributeError("odd"), ZeroDivisionError("odd"), OSError("odd")]
)
def test_every_error_becomes_one_sentence_and_keeps_its_cause(error, tmp_path):
    with (
        pytest.raises(
            Unreadable, match=r"^a\.tif cannot be read \(page 3: odd\); copy the file again"
        ) as caught,
        readable(tmp_path / "a.tif", place="page 3"),
    ):
        raise error
    assert caught.value.__cause__ is error and "\n" not in str(caught.value)


@pytest.mark.parametrize("error", [MemoryError(), KeyboardInterrupt(), Unreadable("said already")])
def test_what_is_said_already_or_no_fault_of_the_file_passes(error, tmp_path):
    with pytest.raises(type(error)) as caught, readable(tmp_path / "a.tif"):
        raise error
    assert caught.value is error


def test_a_file_that_is_gone_is_none_that_is_damaged(tmp_path):
    with pytest.raises(FileNotFoundError), readable(tmp_path / "a.tif"):
        (tmp_path / "a.tif").read_bytes()
    (tmp_path / "there.tif").touch()
    with pytest.raises(Unreadable, match="No such file"), readable(tmp_path / "there.tif"):
        (tmp_path / "a part of it").read_bytes()


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="permissions do not bind this user")
@pytest.mark.parametrize("name", ["strips.tif", "a.png", "a.npy", "a.h5"])
def test_a_file_that_may_not_be_read(name, files, tmp_path):
    path = shutil.copy(files / name, tmp_path)
    os.chmod(path, 0)
    with pytest.raises(Unreadable, match="may not be read; ask its owner"):
        open_image(path)


@pytest.fixture
def broken_library(monkeypatch):
    def break_it(name):
        def fail(*_arguments, **_options):
            raise Odd("beyond all lists")

        monkeypatch.setattr(LIBRARIES[name], fail)

    return break_it


@pytest.mark.parametrize("name", LIBRARIES)
@pytest.mark.parametrize("look", [open_image, open_labels])
def test_whatever_a_library_raises(look, name, files, broken_library):
    broken_library(name)
    with pytest.raises(Unreadable, match=rf"^{re.escape(name)} cannot be read \(beyond all lists\)"):
        look(files / name)


@pytest.mark.parametrize("name", ["strips.tif", "a.zarr"])
@pytest.mark.parametrize("look", [list_positions, describe_format])
def test_whatever_a_library_raises_about_what_is_in_a_file(look, name, files, broken_library):
    broken_library(name)
    with pytest.raises(Unreadable, match="beyond all lists"):
        look(files / name)


def damaged(folder, name, rng):
    """Overwrite, cut or repeat some bytes of a file, or of one file of a store; return its path."""
    path = folder / name
    parts = sorted(each for each in (path.rglob("*") if path.is_dir() else [path]) if each.is_file())
    part = parts[rng.integers(len(parts))]
    content = bytearray(part.read_bytes())
    for _ in range(rng.integers(1, 6)):
        at = int(rng.integers(len(content)))
        content[at : at + int(rng.integers(0, 3))] = rng.bytes(int(rng.integers(0, 3)))
    part.write_bytes(content[: int(rng.integers(1, len(content) + 1))] if rng.random() < 0.3 else content)
    return path


@pytest.mark.parametrize("name", NAMES)
@given(seed=st.integers(0, 2**32))
@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_damaged_bytes_give_pixels_or_one_sentence(name, files, tmp_path, seed):
    shutil.rmtree(tmp_path / name, ignore_errors=True)
    copy = shutil.copytree if (files / name).is_dir() else shutil.copy
    copy(files / name, tmp_path / name)
    path = damaged(tmp_path, name, np.random.default_rng(seed))
    try:
        image = open_image(path)
        image.read(tuple(slice(0, min(8, size)) for size in image.spatial_shape))
    except (ValueError, OSError, MemoryError) as error:
        assert "\n" not in str(error)


@pytest.mark.parametrize("suffix", [".tif", ".png", ".jpg", ".npy", ".h5", ".zarr"])
def test_what_is_no_file_of_its_suffix(suffix, tmp_path):
    """Empty files, folders, and links that lead nowhere or in a circle are found, and refused by name."""
    names = [f"{kind}{suffix}" for kind in ("dangling", "empty", "folder", "loop")]
    (tmp_path / names[0]).symlink_to("nowhere.tif")
    (tmp_path / names[1]).touch()
    (tmp_path / names[2]).mkdir()
    (tmp_path / names[3]).symlink_to(names[3])
    assert [path.name for path in find_images(tmp_path)] == names
    assert [path.name for path in find_images(f"{tmp_path}/*{suffix}")] == names
    for name in names:
        with pytest.raises(ValueError, match=re.escape(name)):
            open_image(tmp_path / name)
    for name in (names[0], names[3]):
        assert find_images(tmp_path / name) == [tmp_path / name]
        with pytest.raises(Unreadable, match="is a broken link to"):
            open_labels(tmp_path / name)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes here")
def test_a_pipe_is_refused_before_it_is_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe.tif")
    with pytest.raises(ValueError, match=r"pipe\.tif is no regular file"):
        open_image(tmp_path / "pipe.tif")
