"""Files whose pieces would take too much memory are refused before any is taken."""

import json
import struct
import zlib

import h5py
import numpy as np
import pytest
import tifffile
import zarr
from PIL import Image as Pillow

from napari_unet.core.io import decoding, open_image

PIXELS = np.arange(64 * 64, dtype=np.uint16).reshape(64, 64)


def zarr_store(path):
    zarr.create_array(str(path), shape=(64, 64), chunks=(32, 64), dtype="u2", zarr_format=2)[...] = PIXELS
    return path


def hdf5(path):
    with h5py.File(path, "w") as file:
        file.create_dataset("d", data=PIXELS, chunks=(32, 64), compression="gzip")
    return path


def tiff(path):
    tifffile.imwrite(path, PIXELS, compression="zlib", tile=(32, 64))
    return path


def png(path):
    Pillow.fromarray(PIXELS[:32]).save(path)
    return path


KINDS = {"a.zarr": zarr_store, "a.h5": hdf5, "a.tif": tiff, "a.png": png}


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize(("free", "fits"), [(8 * 4096, True), (8 * 4096 - 8, False), (0, False)])
def test_a_piece_may_take_an_eighth_of_the_free_memory(tmp_path, monkeypatch, name, free, fits):
    path = KINDS[name](tmp_path / name)
    monkeypatch.setattr(decoding, "available_memory", lambda: free)
    if fits:
        assert open_image(path).read().shape[-1] == 64
        return
    with pytest.raises(
        ValueError, match=r"a\.\w+: one (chunk|tile|picture) of 32x64 pixels takes .* is decoded"
    ):
        open_image(path)


@pytest.mark.parametrize("name", ["plain.tif", "a.npy", "contiguous.h5"])
def test_what_is_not_decoded_may_be_of_any_size(tmp_path, monkeypatch, name):
    path = tmp_path / name
    if name.endswith("npy"):
        np.save(path, PIXELS)
    elif name.endswith("tif"):
        tifffile.imwrite(path, PIXELS)
    else:
        with h5py.File(path, "w") as file:
            file["d"] = PIXELS
    monkeypatch.setattr(decoding, "available_memory", lambda: 0)
    assert (open_image(path).read()[0] == PIXELS).all()


def test_a_store_of_a_few_bytes_that_promises_terabytes_takes_no_memory(tmp_path):
    path = zarr_store(tmp_path / "bomb.zarr")
    header = json.loads((path / ".zarray").read_text())
    header |= {"shape": [2**20, 2**20], "chunks": [2**20, 2**20]}
    (path / ".zarray").write_text(json.dumps(header))
    with pytest.raises(ValueError, match=r"one chunk of 1048576x1048576 pixels takes 2\.2e\+03 GB"):
        open_image(path)


def test_an_hdf5_dataset_of_huge_chunks(tmp_path):
    with h5py.File(tmp_path / "bomb.h5", "w") as file:
        file.create_dataset(
            "d", shape=(60_000, 60_000), chunks=(60_000, 60_000), dtype="u1", compression="gzip"
        )
    if decoding.available_memory() / decoding.SHARE < 3.6e9:
        with pytest.raises(ValueError, match="one chunk of 60000x60000 pixels"):
            open_image(tmp_path / "bomb.h5")


def test_a_tiff_of_one_huge_strip(tmp_path, monkeypatch):
    path = tmp_path / "bomb.tif"
    tifffile.imwrite(path, PIXELS, compression="zlib", rowsperstrip=64)
    content = bytearray(path.read_bytes())
    with tifffile.TiffFile(path) as tif:
        for code in (256, 257, 278):  # width, height, rows of a strip
            tag = tif.pages[0].tags[code]
            content[tag.offset + 2 : tag.offset + 12] = struct.pack("<HII", 4, 1, 2**20)
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"one strip of 1048576x1048576|cannot be read"):
        open_image(path)


def test_a_picture_that_promises_more_than_memory_holds(tmp_path, monkeypatch):
    path = png(tmp_path / "bomb.png")
    content = bytearray(path.read_bytes())
    content[16:24] = struct.pack(">II", 12_000, 12_000)
    content[29:33] = struct.pack(">I", zlib.crc32(content[12:29]))
    path.write_bytes(content)
    monkeypatch.setattr(decoding, "available_memory", lambda: 2**30)
    with pytest.raises(ValueError, match=r"one picture of 12000x12000 pixels takes 0\.288 GB"):
        open_image(path)
