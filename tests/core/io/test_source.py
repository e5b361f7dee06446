import os
import pickle
from pathlib import Path

import numpy as np
import pytest
import tifffile
import zarr

from napari_unet.core.io import Source, find_images, open_image, open_stack

PIXELS = np.random.default_rng(0).integers(0, 99, (3, 4, 20, 30)).astype(np.uint8)


@pytest.fixture
def stack(tmp_path: Path) -> Path:
    path = tmp_path / "stack.tif"
    tifffile.imwrite(path, PIXELS, photometric="minisblack")
    return path


def test_a_source_opens_the_same_again_in_another_process(stack: Path):
    image = open_image(stack, axes="CZYX", spacing=(2, 1, 1), channels=[2, 0])
    again = pickle.loads(pickle.dumps(image.source)).open()
    assert (again.axes, again.spacing, again.channels) == (image.axes, image.spacing, image.channels)
    np.testing.assert_array_equal(again.read(), PIXELS[[2, 0]])
    assert again.source == image.source


def test_a_relative_path_opens_from_anywhere(stack: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(stack.parent)
    source = open_image(stack.name, axes="CZYX").source
    monkeypatch.chdir("/")
    assert source.open().n_channels == 3


def test_channels_of_channels_are_channels_of_the_file(stack: Path):
    image = open_image(stack, axes="CZYX", channels=[2, 1])
    chosen = image.source.open()
    assert image.source.channels == chosen.source.channels == (2, 1)


def test_a_folder_of_planes_is_opened_again(tmp_path: Path):
    for z, plane in enumerate(PIXELS[0]):
        tifffile.imwrite(tmp_path / f"z{z}.tif", plane)
    stack = open_stack(find_images(tmp_path), spacing=(4, 1, 1))
    assert stack.source.stack and len(stack.source.paths) == 4
    np.testing.assert_array_equal(stack.source.open().read()[0], PIXELS[0])
    before = stack.source.fingerprint()
    tifffile.imwrite(tmp_path / "z2.tif", PIXELS[1, 0])
    os.utime(tmp_path / "z2.tif", ns=(1, 1))
    assert stack.source.fingerprint() != before


def test_the_fingerprint_moves_with_size_time_name_and_options(stack: Path):
    source = open_image(stack, axes="CZYX").source
    before = source.fingerprint()
    assert source.fingerprint() == before == open_image(stack, axes="CZYX").source.fingerprint()
    assert len(before) == 64
    assert open_image(stack, axes="TZYX").source.fingerprint() != before
    stack.rename(stack.with_name("other.tif"))
    assert Source((str(stack.with_name("other.tif")),), axes="CZYX").fingerprint() != before
    stack.with_name("other.tif").rename(stack)
    assert source.fingerprint() == before
    os.utime(stack, ns=(10**9, 10**9))
    assert source.fingerprint() != before
    stack.unlink()
    with pytest.raises(OSError, match="stack"):
        source.fingerprint()


def test_the_fingerprint_of_a_store_moves_with_any_chunk(tmp_path: Path):
    zarr.create_array(str(tmp_path / "a.zarr"), data=PIXELS, chunks=(1, 4, 20, 30))
    source = open_image(tmp_path / "a.zarr").source
    before = source.fingerprint()
    chunk = tmp_path / "a.zarr/c/1/0/0/0"
    os.utime(chunk, ns=(10**9, 10**9))
    moved = source.fingerprint()
    chunk.unlink()
    assert len({before, moved, source.fingerprint()}) == 3


def test_the_fingerprint_covers_all_files_of_an_ome_tiff(tmp_path: Path):
    xml = (
        '<OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06" UUID="urn:uuid:{me}">'
        '<Image ID="Image:0">'
        '<Pixels ID="Pixels:0" DimensionOrder="XYZCT" Type="uint8" SizeX="30" SizeY="20" SizeZ="2" SizeC="1" '
        'SizeT="1"><Channel ID="Channel:0:0" SamplesPerPixel="1"/>'
        '<TiffData FirstZ="0" IFD="0" PlaneCount="1"><UUID FileName="z0.ome.tif">urn:uuid:0</UUID></TiffData>'
        '<TiffData FirstZ="1" IFD="0" PlaneCount="1"><UUID FileName="z1.ome.tif">urn:uuid:1</UUID></TiffData>'
        "</Pixels></Image></OME>"
    )
    for z in (0, 1):
        description = xml.replace("{me}", str(z)).encode()
        tifffile.imwrite(tmp_path / f"z{z}.ome.tif", PIXELS[0, z], description=description, metadata=None)
    source = open_image(tmp_path / "z0.ome.tif").source
    before = source.fingerprint()
    os.utime(tmp_path / "z1.ome.tif", ns=(10**9, 10**9))
    assert source.fingerprint() != before


def test_an_array_in_memory_has_no_source():
    from napari_unet.core.io.image import make_image, override

    image = make_image(PIXELS, "CZYX", {}, "pixel", (), "array")
    assert image.source is None
    assert override(image, channels=[1], spacing=(2, 1, 1)).source is None


def test_labels_that_are_added_to_a_store_leave_its_fingerprint(tmp_path: Path):
    for name in ("zarr.json", "0/zarr.json", "0/c/0"):
        (tmp_path / "cells.ome.zarr" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "cells.ome.zarr" / name).write_text("1")
    source = Source((str(tmp_path / "cells.ome.zarr"),))
    before = source.fingerprint()
    (tmp_path / "cells.ome.zarr" / "labels" / "found").mkdir(parents=True)
    (tmp_path / "cells.ome.zarr" / "labels" / "found" / "zarr.json").write_text("{}")
    assert source.fingerprint() == before
    (tmp_path / "cells.ome.zarr" / "0" / "c" / "0").write_text("22")
    assert source.fingerprint() != before


@pytest.mark.parametrize("zarr_format", [2, 3])
@pytest.mark.filterwarnings("ignore:Consolidated metadata")
def test_what_groups_say_and_unfinished_results_leave_the_fingerprint(tmp_path: Path, zarr_format: int):
    path = tmp_path / "a.zarr"
    group = zarr.create_group(path, zarr_format=zarr_format)
    group.create_array("0", data=PIXELS)
    source = Source((str(path),))
    before = source.fingerprint()
    zarr.consolidate_metadata(path, zarr_format=zarr_format)
    group.attrs["more"] = 1
    (path / "0.unfinished").mkdir()
    (path / "0.unfinished/result.tif").touch()
    assert source.fingerprint() == before
    os.utime(path / "0" / (".zarray" if zarr_format == 2 else "zarr.json"), ns=(1, 1))
    assert source.fingerprint() != before
