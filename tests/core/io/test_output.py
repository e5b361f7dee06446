import errno
import hashlib
import itertools
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import suppress
from math import prod
from pathlib import Path
from threading import Thread

import numpy as np
import pytest
import tifffile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from napari_unet.core.io import create_output, open_image
from napari_unet.core.io.disk import remove

SUFFIXES = (".tif", ".ome.tif", ".ome.zarr")
AXES = ("YX", "ZYX", "CYX", "CZYX", "TYX", "TCZYX", "TZYX")


def _tiles(shape: tuple[int, ...], step: int) -> Iterator[tuple[slice, ...]]:
    for origin in itertools.product(*(range(0, size, step) for size in shape)):
        yield tuple(slice(o, min(o + step, size)) for o, size in zip(origin, shape, strict=True))


def _hash(path: Path) -> dict[str, str]:
    files = sorted(path.rglob("*")) if path.is_dir() else [path]
    contents = {f: f.read_bytes() for f in files if f.is_file()}
    return {str(f.relative_to(path)): hashlib.sha256(c).hexdigest() for f, c in contents.items()}


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.data())
def test_what_is_written_by_tiles_in_any_order_reads_back_with_its_metadata(
    tmp_path: Path, data: st.DataObject
):
    path = tmp_path / f"out{data.draw(st.sampled_from(SUFFIXES))}"
    axes = data.draw(st.sampled_from(AXES))
    thinnest = 2 if ".ome.tif" in path.name else 1  # OME-TIFF forgets axes of size 1
    shape = tuple(data.draw(st.integers(1, 30) if a in "YX" else st.integers(thinnest, 3)) for a in axes)
    dtype = data.draw(st.sampled_from(["u1", "u2", "u4", "f4", "i4"]))
    size = st.floats(1e-3, 1e3)
    spacing = tuple(data.draw(size) for axis in "ZYX" if axis in axes)
    unit = data.draw(st.sampled_from(["nm", "µm", "pixel", "mm", "Å"]))
    channels = tuple(f"class {i}" for i in range(shape[axes.index("C")])) if "C" in axes else ()
    pixels = np.random.default_rng(1).integers(0, 99, shape).astype(dtype)
    regions = data.draw(st.permutations(list(_tiles(shape, 16))))

    options = {"axes": axes, "spacing": spacing, "unit": unit, "channels": channels, "overwrite": True}
    with create_output(path, shape, dtype, **options) as output:
        for region in regions:
            output.write(region, pixels[region])

    assert [entry.name for entry in tmp_path.iterdir() if entry.name.startswith(".")] == []
    image = open_image(path)
    assert (image.unit, image.dtype, image.n_timepoints) == (
        unit, np.dtype(dtype), shape[0] if "T" in axes else 1,
    )  # fmt: skip
    assert image.spacing == pytest.approx(spacing, rel=1e-5)
    assert not channels or image.channels == channels
    assert image.axes.replace("C", "") == axes.replace("C", "") and image.n_channels == max(1, len(channels))
    for t in range(image.n_timepoints):
        expected = pixels[t] if "T" in axes else pixels
        np.testing.assert_array_equal(image.read(t=t).reshape(expected.shape), expected)


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("dtype", ["u1", "u4", "f4"])
def test_two_equal_runs_give_the_same_bytes(tmp_path: Path, suffix: str, dtype: str):
    for run in ("a", "b"):
        (tmp_path / run).mkdir()
        with create_output(
            tmp_path / run / f"x{suffix}", (4, 9, 9), dtype, axes="ZYX", spacing=(3, 1, 1), unit="µm"
        ) as output:
            output.write((slice(1, 3), slice(0, 9), slice(4, 9)), np.ones((2, 9, 5), dtype))
    assert _hash(tmp_path / f"a/x{suffix}") == _hash(tmp_path / f"b/x{suffix}")


@pytest.mark.parametrize(
    ("dtype", "imagej"), [("u1", True), ("u2", True), ("f4", True), ("u4", False), ("i2", False)]
)
@pytest.mark.parametrize("axes", ["ZYX", "CYX", "TZYX", "TCYX"])
def test_imagej_reads_what_its_types_allow(tmp_path: Path, dtype: str, imagej: bool, axes: str):
    shape, spacing = (3, 2, 8, 9)[-len(axes) :], (5, 2, 2)[-len(axes.strip("TC")) :]
    with create_output(tmp_path / "x.tif", shape, dtype, axes=axes, spacing=spacing, unit="nm"):
        pass
    with tifffile.TiffFile(tmp_path / "x.tif") as tif:
        assert (tif.is_imagej, tif.series[0].axes, tif.series[0].shape) == (imagej, axes, shape)


@pytest.mark.parametrize("suffix", [".tif", ".ome.tif"])
def test_channels_come_before_z_for_whoever_reads_the_file(tmp_path: Path, suffix: str):
    pixels = np.random.default_rng(0).random((2, 3, 8, 9), dtype=np.float32)
    with create_output(
        tmp_path / f"x{suffix}", pixels.shape, "f4", axes="CZYX", spacing=(5, 2, 2), channels=("a", "b")
    ) as output:
        output.write(tuple(slice(0, size) for size in pixels.shape), pixels)
    np.testing.assert_array_equal(tifffile.imread(tmp_path / f"x{suffix}"), pixels)


def test_more_than_four_gigabytes_become_bigtiff(tmp_path: Path):
    shape = (5, 30000, 30000)
    if not hasattr(os, "posix_fallocate") or shutil.disk_usage(tmp_path).free < 1.2 * prod(shape):
        pytest.skip("needs 5.4 GB of free disk that can be claimed without writing it")
    with create_output(tmp_path / "big.tif", shape, "u1", axes="ZYX", spacing=(1, 1, 1)) as output:
        output.write((slice(4, 5), slice(29999, 30000), slice(29999, 30000)), np.full((1, 1, 1), 7, "u1"))
    with tifffile.TiffFile(tmp_path / "big.tif") as tif:
        assert tif.is_bigtiff and not tif.is_imagej
    assert open_image(tmp_path / "big.tif").read(
        (slice(4, 5), slice(29999, 30000), slice(29998, 30000))
    ).tolist() == [[[[0, 7]]]]
    (tmp_path / "big.tif").unlink()


def test_labels_in_zarr_say_that_they_are_labels(tmp_path: Path):
    import zarr

    with create_output(tmp_path / "l.ome.zarr", (8, 9), "u2", axes="YX", spacing=(1, 1)):
        pass
    with create_output(
        tmp_path / "p.ome.zarr", (2, 8, 9), "f4", axes="CYX", spacing=(1, 1), channels=("a", "b")
    ):
        pass
    labels = dict(zarr.open_group(str(tmp_path / "l.ome.zarr"), mode="r").attrs)["ome"]
    probabilities = dict(zarr.open_group(str(tmp_path / "p.ome.zarr"), mode="r").attrs)["ome"]
    assert labels["version"] == "0.5" and "image-label" in labels and "image-label" not in probabilities


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_an_existing_output_is_refused_without_overwrite_and_replaced_with_it(tmp_path: Path, suffix: str):
    path = tmp_path / f"x{suffix}"
    options = {"axes": "YX", "spacing": (1, 1)}
    with create_output(path, (4, 4), "u1", **options) as output:
        output.write((slice(0, 4), slice(0, 4)), np.ones((4, 4), "u1"))
    before = _hash(path)
    with pytest.raises(FileExistsError, match="exists; give --overwrite to replace it"):
        create_output(path, (4, 4), "u1", **options)
    assert _hash(path) == before
    with create_output(path, (5, 5), "u1", **options, overwrite=True):
        assert _hash(path) == before  # untouched until the new one is whole
    assert open_image(path).spatial_shape == (5, 5)
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]


@pytest.mark.parametrize(
    ("suffix", "inside"), [(".tif", "notes.txt"), (".tif", "zarr.json"), (".ome.zarr", "notes.txt")]
)
def test_a_folder_that_is_no_zarr_store_is_never_replaced(tmp_path: Path, suffix: str, inside: str):
    path = tmp_path / f"x{suffix}"
    path.mkdir()
    (path / inside).write_text("precious")
    with pytest.raises(FileExistsError, match="is a folder and no Zarr store; choose another name"):
        create_output(path, (4, 4), "u1", axes="YX", spacing=(1, 1), overwrite=True)
    assert (path / inside).read_text() == "precious"


def test_a_folder_that_came_meanwhile_is_not_replaced(tmp_path: Path):
    path = tmp_path / "x.tif"
    with (
        pytest.raises(FileExistsError, match="is a folder"),
        create_output(path, (4, 4), "u1", axes="YX", spacing=(1, 1), overwrite=True),
    ):
        path.mkdir()
    assert [entry.name for entry in tmp_path.iterdir()] == ["x.tif"] and path.is_dir()


def test_a_link_to_a_store_is_replaced_and_the_store_left_alone(tmp_path: Path):
    options = {"axes": "YX", "spacing": (1, 1), "overwrite": True}
    with create_output(tmp_path / "far.ome.zarr", (4, 4), "u1", **options):
        pass
    link = tmp_path / "x.ome.zarr"
    try:
        link.symlink_to(tmp_path / "far.ome.zarr", target_is_directory=True)
    except OSError:
        pytest.skip("symbolic links cannot be made here")
    with create_output(link, (5, 5), "u1", **options):
        pass
    assert open_image(link).spatial_shape == (5, 5)
    assert open_image(tmp_path / "far.ome.zarr").spatial_shape == (4, 4)
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["far.ome.zarr", "x.ome.zarr"]


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_nothing_remains_after_an_exception(tmp_path: Path, suffix: str, error: type[BaseException]):
    with (
        pytest.raises(error),
        create_output(tmp_path / f"x{suffix}", (4, 4), "u1", axes="YX", spacing=(1, 1)),
    ):
        raise error
    assert not list(tmp_path.iterdir())


def test_what_threads_still_write_after_an_exception_does_not_remain(tmp_path: Path):
    def write_on(store: Path) -> None:
        for index in range(20):
            with suppress(OSError):  # removed meanwhile
                (store / "0" / "c" / str(index)).mkdir(parents=True)
            time.sleep(0.01)

    with (
        pytest.raises(RuntimeError),
        create_output(tmp_path / "x.ome.zarr", (4, 4), "u1", axes="YX", spacing=(1, 1)),
    ):
        late = Thread(target=write_on, args=tmp_path.iterdir())
        late.start()
        raise RuntimeError
    late.join()
    assert not list(tmp_path.iterdir())


def test_a_folder_into_which_nothing_writes_is_removed_without_a_pause(tmp_path: Path, monkeypatch):
    (tmp_path / "x.ome.zarr" / "0").mkdir(parents=True)
    monkeypatch.setattr(time, "sleep", lambda seconds: pytest.fail(f"waits {seconds} s"))
    remove(tmp_path / "x.ome.zarr")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_arrays_that_do_not_fit_are_refused(tmp_path: Path, suffix: str):
    with (
        pytest.raises(TypeError),
        create_output(tmp_path / f"x{suffix}", (4, 4), "u1", axes="YX", spacing=(1, 1)) as output,
    ):
        with pytest.raises(ValueError, match="does not fill"):
            output.write((slice(0, 4), slice(0, 4)), np.zeros((1, 4), "u1"))
        output.write((slice(0, 4), slice(0, 4)), np.zeros((4, 4), "f4"))
    assert not list(tmp_path.iterdir())


def test_bad_names_and_layouts_are_refused(tmp_path: Path):
    good = {"axes": "YX", "spacing": (1, 1)}
    with pytest.raises(ValueError, match=r"choose \.tif"):
        create_output(tmp_path / "x.jpg", (4, 4), "u1", **good)
    with pytest.raises(FileNotFoundError, match=r"the folder .*none does not exist"):
        create_output(tmp_path / "none/x.tif", (4, 4), "u1", **good)
    for wrong in ({"axes": "XY"}, {"axes": "ZYX"}, {"spacing": (1,)}):
        with pytest.raises(ValueError, match=r"must|letter"):
            create_output(tmp_path / "x.tif", (4, 4), "u1", **{**good, **wrong})
    with pytest.raises(ValueError, match="OME-TIFF cannot store uint64"):
        create_output(tmp_path / "x.ome.tif", (4, 4), "u8", **good).__enter__()
    assert not list(tmp_path.iterdir())


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 2 MB, made read-only by a test where it wants."""
    disk = tmp_path / "disk"
    disk.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(disk)]
    if os.name != "posix" or os.geteuid() != 0:
        pytest.skip("only root may mount a small tmpfs")
    mounted = subprocess.run(command, capture_output=True, text=True, check=False)
    if mounted.returncode:
        pytest.skip(f"tmpfs cannot be mounted here: {mounted.stderr.strip()}")
    yield disk
    subprocess.run(["umount", "--lazy", str(disk)], check=True)  # the caught error still holds a file


NO_SPACE = "no space for .*; free some or write to another disk"


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_full_disk_is_one_clear_sentence_and_leaves_nothing(small_disk: Path, suffix: str):
    noise = np.random.default_rng(0).integers(0, 2**16, (3000, 1000), dtype=np.uint16)  # does not compress
    whole = (slice(0, 3000), slice(0, 1000))
    with (
        pytest.raises(OSError, match=NO_SPACE),
        create_output(small_disk / f"x{suffix}", noise.shape, "u2", axes="YX", spacing=(1, 1)) as output,
    ):
        output.write(whole, noise)
    assert not list(small_disk.iterdir())


def test_a_read_only_disk_is_one_clear_sentence(small_disk: Path):
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    for suffix in SUFFIXES:
        with pytest.raises(OSError, match=r"cannot write .*; choose a folder that is writable"):
            create_output(small_disk / f"x{suffix}", (4, 4), "u1", axes="YX", spacing=(1, 1)).__enter__()


@pytest.mark.parametrize("reason", [errno.ENOSPC, errno.EACCES])
def test_what_the_disk_refuses_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reason: int):
    def refuse(*_: object) -> None:
        raise OSError(reason, os.strerror(reason))

    monkeypatch.setattr("napari_unet.core.io.tiff_writer._allocate", refuse)
    with pytest.raises(OSError, match=r"no space|cannot write"):
        create_output(tmp_path / "x.tif", (4, 4), "u1", axes="YX", spacing=(1, 1)).__enter__()
    assert not list(tmp_path.iterdir())
