import json
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import h5py
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from napari_unet.core.io import count_missing_chunks, describe_format, list_positions, open_image

PIXELS = np.random.default_rng(0).integers(0, 999, (3, 4, 20, 30)).astype(np.uint16)


@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_any_region_reads_as_stored(tmp_path: Path, data: st.DataObject):
    pixels = PIXELS[(0,) * (4 - data.draw(st.integers(2, 4)))].astype(
        data.draw(st.sampled_from(["u1", ">u2", "f4"]))
    )
    layout = data.draw(
        st.sampled_from([{}, {"chunks": True}, {"compression": "gzip"}, {"compression": "lzf"}])
    )
    with h5py.File(tmp_path / "drawn.h5", "w") as file:
        file.create_dataset("raw", data=pixels, **layout)
    image = open_image(tmp_path / "drawn.h5")
    bounds = [sorted(data.draw(st.tuples(*[st.integers(0, n)] * 2))) for n in image.spatial_shape]
    region = tuple(slice(start, stop) for start, stop in bounds)
    expected = pixels[(..., *region)].reshape(image.n_channels, *(stop - start for start, stop in bounds))
    np.testing.assert_array_equal(image.read(region), expected)


def test_the_only_or_largest_dataset_is_the_image(tmp_path: Path):
    path = tmp_path / "Zelle µ 1.h5"
    with h5py.File(path, "w") as file:
        file["volumes/raw"] = PIXELS
        file["table"] = np.zeros((5, 3))
        file["names"] = np.array([[b"a", b"b"]])
    assert open_image(path).data.shape == PIXELS.shape
    image = open_image(f"{path}:/volumes/raw")
    assert (image.axes, image.name) == ("CZYX", "Zelle µ 1")
    assert open_image(f"{path}:table").axes == "YX"
    assert list_positions(f"{path}:/table") == ("",) and describe_format(f"{path}:/table") == "HDF5"
    assert count_missing_chunks(image) == 0
    np.testing.assert_array_equal(image.source.open().read(), PIXELS)
    assert image.source.fingerprint() != open_image(f"{path}:/table").source.fingerprint()


def test_datasets_of_equal_size_are_listed(tmp_path: Path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["raw"], file["labels"], file["thumb"] = PIXELS, PIXELS, PIXELS[0]
    with pytest.raises(
        ValueError, match=r"^a\.h5 holds /labels, /raw, /thumb; choose one, as in a\.h5:/labels$"
    ):
        open_image(tmp_path / "a.h5")
    with pytest.raises(
        ValueError, match=r"^a\.h5 has no dataset '/mask'; choose among /labels, /raw, /thumb$"
    ):
        open_image(f"{tmp_path}/a.h5:/mask")
    with pytest.raises(ValueError, match="has no position 1: it has 1"):
        open_image(f"{tmp_path}/a.h5:/raw", position=1)


def test_a_file_without_an_image_says_so(tmp_path: Path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["empty"] = np.zeros((0, 4, 4))
        file["names"] = np.array([[b"a", b"b"]])
        file.create_group("group")
    with pytest.raises(ValueError, match=r"^a\.h5 holds no dataset that is an image; give another file$"):
        open_image(tmp_path / "a.h5")
    with pytest.raises(ValueError, match="has no dataset '/group'; choose among no image"):
        open_image(f"{tmp_path}/a.h5:/group")
    with pytest.raises(ValueError, match="has no pixels"):
        open_image(f"{tmp_path}/a.h5:/empty")
    with pytest.raises(FileNotFoundError, match=r"b\.h5 does not exist"):
        open_image(f"{tmp_path}/b.h5:/raw")


def _axistags(keys: str) -> str:
    return json.dumps(
        {"axes": [{"key": key, "typeFlags": 2, "resolution": 0, "description": ""} for key in keys]}
    )


@pytest.mark.parametrize(
    ("attributes", "axes", "spacing", "unit"),
    [
        ({"axistags": _axistags("tzyx")}, "TZYX", (1.0, 1.0, 1.0), "pixel"),
        ({"axistags": _axistags("zyxc").encode()}, "ZYXC", (1.0, 1.0, 1.0), "pixel"),
        ({"axes": "zcyx", "element_size_um": [2, 0.1, 0.1]}, "ZCYX", (2.0, 0.1, 0.1), "µm"),
        ({"resolution": [40, 4, 4], "units": ["nm", "nm", "nm"]}, "CZYX", (40.0, 4.0, 4.0), "nm"),
        ({"resolution": [40.0, 4, 4], "unit": "nanometers"}, "CZYX", (40.0, 4.0, 4.0), "nm"),
        ({"element_size_um": [0, 0, 0]}, "CZYX", (1.0, 1.0, 1.0), "pixel"),
        ({"element_size_um": [0.1, 0.2]}, "CZYX", (1.0, 1.0, 1.0), "pixel"),
        ({"axes": 3, "resolution": "high"}, "CZYX", (1.0, 1.0, 1.0), "pixel"),
        ({"spacing": [1, 2.0, 0.5, 0.5]}, "CZYX", (2.0, 0.5, 0.5), "pixel"),
    ],
)
def test_axes_and_voxel_size_come_from_attributes(tmp_path: Path, attributes, axes, spacing, unit):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["raw"] = PIXELS
        file["raw"].attrs.update(attributes)
    image = open_image(tmp_path / "a.h5")
    assert (image.axes, image.spacing, image.unit) == (axes, spacing, unit)
    assert open_image(tmp_path / "a.h5", axes="TZYX", spacing=(3, 2, 1)).spacing == (3.0, 2.0, 1.0)


def test_labels_of_dimensions_are_axes(tmp_path: Path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["raw"] = PIXELS
        for dimension, label in zip(file["raw"].dims, ("time", "z", "y", "x"), strict=True):
            dimension.label = label
    assert open_image(tmp_path / "a.h5").axes == "TZYX"


def _link_outside(file: h5py.File, kind: str) -> None:
    if kind == "external link":
        file["raw"] = h5py.ExternalLink("secret.h5", "/raw")
    elif kind == "link through a group":
        file["group"] = h5py.ExternalLink("secret.h5", "/")
        file["raw"] = h5py.SoftLink("/group/raw")
    elif kind == "virtual dataset":
        layout = h5py.VirtualLayout(PIXELS.shape, PIXELS.dtype)
        layout[...] = h5py.VirtualSource("secret.h5", "raw", PIXELS.shape)
        file.create_virtual_dataset("raw", layout)
    else:
        file.create_dataset("raw", PIXELS.shape, "u1", external=[("secret.h5", 0, h5py.h5f.UNLIMITED)])


@pytest.mark.parametrize(
    "kind", ["external link", "link through a group", "virtual dataset", "external storage"]
)
def test_a_dataset_in_another_file_is_refused(tmp_path: Path, kind: str):
    with h5py.File(tmp_path / "secret.h5", "w") as file:
        file["raw"] = PIXELS
    with h5py.File(tmp_path / "a.h5", "w") as file:
        _link_outside(file, kind)
    with pytest.raises(
        ValueError, match=r"^a\.h5 cannot be read \('/(group/)?raw' lies in another file, 'secret\.h5'\)"
    ):
        open_image(f"{tmp_path}/a.h5:/raw")
    with pytest.raises(ValueError, match=r"^a\.h5 (holds no dataset|cannot be read)"):
        open_image(tmp_path / "a.h5")


def _show_numbered(file: h5py.File, name: str, pattern: bytes) -> None:
    """Make a virtual dataset whose planes are as many datasets as there are."""
    space = h5py.h5s.create_simple((1, 20, 30), (h5py.h5s.UNLIMITED, 20, 30))
    space.select_hyperslab((0, 0, 0), (h5py.h5s.UNLIMITED, 1, 1), block=(1, 20, 30))
    created = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    created.set_virtual(space, b".", pattern, h5py.h5s.create_simple((20, 30)))
    h5py.h5d.create(file.id, name.encode(), h5py.h5t.NATIVE_UINT16, space, created)


def _show(file: h5py.File, name: str, *shown: str) -> None:
    """Make a virtual dataset of datasets of the same file, which need not be there yet."""
    layout = h5py.VirtualLayout((len(shown), 20, 30), "u2")
    for i, other in enumerate(shown):
        layout[i] = h5py.VirtualSource(".", other, (20, 30), "u2")
    file.create_virtual_dataset(name, layout)


@pytest.mark.parametrize(
    "kind", ["external link", "link through a group", "virtual dataset", "external storage"]
)
def test_a_virtual_dataset_shows_nothing_of_another_file(tmp_path: Path, kind: str):
    with h5py.File(tmp_path / "secret.h5", "w") as file:
        file["raw"] = PIXELS
    with h5py.File(tmp_path / "a.h5", "w") as file:
        _link_outside(file, kind)
        file["fine"] = PIXELS[0, 0]
        _show(file, "over", "/fine", "/raw")
        _show(file, "above", "over")
    for member in ("over", "above"):
        with pytest.raises(
            ValueError, match=r"^a\.h5 cannot be read \('.*raw' lies in another file, 'secret\.h5'\)"
        ):
            open_image(f"{tmp_path}/a.h5:/{member}")


def test_virtual_datasets_within_the_file_are_read_unless_they_go_in_circles(tmp_path: Path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["deep/raw"], file["other"] = PIXELS[0, 0], PIXELS[1, 1]
        file["link"] = h5py.SoftLink("/deep/raw")
        _show(file, "shown", "link", "/other")
        _show(file, "again", "/shown")
        _show(file, "left", "right")
        _show(file, "right", "left")
        _show_numbered(file, "many", b"/raw%b")
        _show(file, "nothing", "/absent")
    np.testing.assert_array_equal(
        open_image(f"{tmp_path}/a.h5:/shown").read()[0], [PIXELS[0, 0], PIXELS[1, 1]]
    )
    for member, reason in (
        ("left", "'left' is made of virtual datasets in circles"),
        ("many", "'many' shows numbered datasets, '/raw%b'"),
        ("nothing", "has no dataset '/absent'"),
    ):
        with pytest.raises(ValueError, match=rf"^a\.h5 .*{reason}"):
            open_image(f"{tmp_path}/a.h5:{member}")


def test_a_file_that_another_program_writes_is_told_from_a_damaged_one(tmp_path: Path):
    fcntl = pytest.importorskip("fcntl")
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["raw"] = PIXELS
    with open(tmp_path / "a.h5", "rb") as other:
        fcntl.flock(other, fcntl.LOCK_EX)  # as the HDF5 library does while it writes
        with pytest.raises(ValueError, match=r"^a\.h5 is open for writing in another program; close it"):
            open_image(tmp_path / "a.h5")
    np.testing.assert_array_equal(open_image(tmp_path / "a.h5").read(), PIXELS)


def test_a_file_that_may_not_be_read_is_told_from_a_damaged_one(tmp_path: Path, monkeypatch):
    (tmp_path / "a.h5").touch()

    def refuse(*_: object) -> None:
        raise PermissionError(13, "Unable to synchronously open file")

    monkeypatch.setattr(h5py, "File", refuse)
    with pytest.raises(ValueError, match=r"^a\.h5 may not be read; ask its owner"):
        open_image(tmp_path / "a.h5")


def test_links_within_the_file_are_followed_unless_they_go_in_circles(tmp_path: Path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["deep/raw"] = PIXELS
        file["here"] = h5py.SoftLink("/deep/raw")
        file["deep/there"] = h5py.SoftLink("raw")
        file["loop"] = h5py.SoftLink("/loop")
        file["nowhere"] = h5py.SoftLink("/absent")
    for name in ("here", "deep/there"):
        np.testing.assert_array_equal(open_image(f"{tmp_path}/a.h5:/{name}").read(), PIXELS)
    with pytest.raises(ValueError, match=r"^a\.h5 cannot be read"):
        open_image(f"{tmp_path}/a.h5:/loop")
    with pytest.raises(ValueError, match="has no dataset '/absent'"):
        open_image(f"{tmp_path}/a.h5:/nowhere")


def test_a_chunk_that_does_not_decode_is_named_by_dataset_and_region(tmp_path: Path):
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        raw = file.create_dataset("raw", data=PIXELS, chunks=(1, 4, 20, 30), compression="gzip")
        offset = raw.id.get_chunk_info(1).byte_offset
    with open(path, "r+b") as file:
        file.seek(offset)
        file.write(b"\xff" * 64)
    image = open_image(path)
    np.testing.assert_array_equal(open_image(path, channels=[0]).read()[0], PIXELS[0])
    with pytest.raises(
        ValueError, match=r"^a\.h5 cannot be read \(/raw, region \[0:3, 0:4, 0:20, 0:30\]: .*copy"
    ):
        image.read()


@pytest.mark.parametrize("kept", [0, 0.05, 0.5, 0.99])
def test_a_cut_off_file_is_one_clear_sentence(tmp_path: Path, kept: float):
    path = tmp_path / "cut.h5"
    with h5py.File(path, "w") as file:
        file["raw"] = PIXELS
    os.truncate(path, int(path.stat().st_size * kept))
    with pytest.raises(ValueError, match=r"^cut\.h5 cannot be read \(.*\); copy the file again"):
        open_image(path).read()


def test_threads_read_the_same_file_at_once(tmp_path: Path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("raw", data=PIXELS, chunks=(1, 2, 16, 16), compression="gzip")
    image = open_image(tmp_path / "a.h5")
    regions = [(slice(z, z + 1), slice(i, 20), slice(0, 25)) for z in range(4) for i in range(8)]
    with ThreadPoolExecutor(8) as pool:
        for region, read in zip(regions, pool.map(image.read, regions), strict=True):
            np.testing.assert_array_equal(read, PIXELS[(slice(None), *region)])
