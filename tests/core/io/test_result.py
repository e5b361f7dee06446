import errno
import hashlib
import os
import signal
import subprocess
import sys
import time
import tracemalloc
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import tifffile
import zarr
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from napari_unet.core.io import open_image
from napari_unet.core.io.disk import disk_errors
from napari_unet.core.io.layout import Layout, ResultSink, stored
from napari_unet.core.io.pyramid import Level
from napari_unet.core.io.result import check_output, create_result, open_result, publish
from napari_unet.core.io.tiff import read_info
from napari_unet.core.io.zarr_writer import create_parts, open_parts

SUFFIXES = (".tif", ".ome.tif", ".ome.zarr")
Region = tuple[slice, ...]


def _layout(
    shape: tuple[int, ...] = (3, 40, 50),
    block_shape: tuple[int, ...] = (1, 16, 32),
    *,
    axes: str = "ZYX",
    dtype: str = "u2",
    channels: tuple[str, ...] = (),
) -> Layout:
    spacing = (5.0, 0.5, 0.5)[-len(axes.strip("TC")) :]
    provenance = {"model": "5ea1", "options": {"halo": 16, "name": "Kerne α"}}
    return Layout(
        shape, np.dtype(dtype), axes, spacing, "µm", channels, block_shape=block_shape, provenance=provenance
    )


def _blocks(layout: Layout) -> list[Region]:
    assert layout.block_shape is not None
    level = Level(layout.shape, layout.block_shape, (), (), ())
    return [level.block(index) for index in range(len(level))]


def _pixels(layout: Layout) -> np.ndarray:
    """Pixels of which the first plane is 0."""
    pixels = np.random.default_rng(0).integers(1, 200, layout.shape).astype(layout.dtype)
    pixels[..., : layout.shape[-2] // 2, :] = 0
    return pixels


def _reduce(sink: ResultSink) -> None:
    for level, n_tasks in enumerate(sink.levels, start=1):
        for task in range(n_tasks):
            sink.reduce(level, task)


def _complete(temporary: Path, layout: Layout, regions: list[Region]) -> None:
    """Write blocks, each through a sink of its own, as so many processes would."""
    pixels = _pixels(layout)
    for region in regions:
        open_result(temporary, layout).write(region, pixels[region])
    _reduce(open_result(temporary, layout))


def _hashes(path: Path) -> dict[str, str]:
    files = sorted(path.rglob("*")) if path.is_dir() else [path]
    return {
        str(f.relative_to(path)): hashlib.sha256(f.read_bytes()).hexdigest() for f in files if f.is_file()
    }


@pytest.fixture
def sharded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Chunks so small and so few allowed that small results are sharded."""
    monkeypatch.setattr("napari_unet.core.io.zarr_writer._LARGEST", 16)
    monkeypatch.setattr("napari_unet.core.io.zarr_writer._MANY", 4)
    monkeypatch.setattr("napari_unet.core.io.pyramid.SMALL", 16)


@pytest.mark.usefixtures("sharded")
@pytest.mark.parametrize("suffix", SUFFIXES)
@settings(max_examples=8, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_the_bytes_depend_neither_on_the_order_nor_on_who_writes(
    tmp_path: Path, suffix: str, data: st.DataObject
):
    axes, dtype = data.draw(st.sampled_from([("ZYX", "u2"), ("CYX", "f4"), ("TYX", "u1")]))
    shape = (2, data.draw(st.integers(2, 70)), data.draw(st.integers(2, 70)))
    layout = _layout(shape, (1, 16, 32), axes=axes, dtype=dtype, channels=("a", "b") if axes == "CYX" else ())
    blocks = _blocks(layout)
    for name, order in (("a", blocks), ("b", [*data.draw(st.permutations(blocks)), blocks[0]])):
        temporary = tmp_path / f"{name}.unfinished{suffix}"
        create_result(temporary, layout, name="cells")
        _complete(temporary, layout, order)
        publish(temporary, tmp_path / f"{name}{suffix}", overwrite=True)
    assert _hashes(tmp_path / f"a{suffix}") == _hashes(tmp_path / f"b{suffix}")
    np.testing.assert_array_equal(
        open_image(tmp_path / f"a{suffix}", axes=axes if ".ome.tif" not in suffix else None).read().squeeze(),
        (_pixels(layout)[0] if axes == "TYX" else _pixels(layout)).squeeze(),
    )


@pytest.mark.usefixtures("sharded")
@pytest.mark.parametrize("suffix", SUFFIXES)
def test_blocks_that_are_written_at_once_do_not_disturb_one_another(tmp_path: Path, suffix: str):
    layout = _layout((2, 128, 128), (1, 32, 32))
    pixels, path = _pixels(layout), tmp_path / f"a{suffix}"
    sinks = [create_result(path, layout, name="a"), open_result(path, layout)]

    def write(task: tuple[int, Region]) -> None:
        sinks[task[0] % 2].write(task[1], pixels[task[1]])

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(write, enumerate(_blocks(layout))))
    np.testing.assert_array_equal(sinks[0].read(tuple(slice(0, size) for size in layout.shape)), pixels)


@pytest.mark.usefixtures("sharded")
def test_a_block_that_becomes_empty_leaves_no_file(tmp_path: Path):
    layout = _layout((1, 64, 64), (1, 32, 32))
    sink = create_result(tmp_path / "a.ome.zarr", layout, name="a")
    empty = _hashes(tmp_path / "a.ome.zarr")
    for region in _blocks(layout):
        sink.write(region, np.ones((1, 32, 32), "u2"))
    assert len(_hashes(tmp_path / "a.ome.zarr")) == len(empty) + 4
    for region in _blocks(layout):
        sink.write(region, np.zeros((1, 32, 32), "u2"))
    assert _hashes(tmp_path / "a.ome.zarr") == empty


@pytest.mark.usefixtures("sharded")
@settings(max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.tuples(st.integers(1, 9), st.integers(1, 90), st.integers(1, 90)),
    st.tuples(st.integers(1, 5), st.integers(1, 40), st.integers(1, 40)),
)
def test_no_two_blocks_share_a_file(
    tmp_path: Path, shape: tuple[int, int, int], block_shape: tuple[int, int, int]
):
    layout = _layout(shape, block_shape)
    path = tmp_path / "a.ome.zarr"
    create_result(path, layout, name="a")
    array = zarr.open_array(f"{path}/0")
    whole_file = array.shards or array.chunks
    for block, size, side, chunk in zip(block_shape, shape, whole_file, array.chunks, strict=True):
        assert side % chunk == 0 and (block % side == 0 or block >= size)


@pytest.mark.parametrize(
    ("shape", "block_shape", "chunks", "shards"),
    [
        ((4, 4096, 4096), (1, 2048, 2048), (1, 512, 512), None),
        ((900, 4096, 4096), (1, 2048, 2048), (1, 512, 512), (1, 2048, 2048)),
        ((5000, 1000, 1021), (5, 1000, 1021), (1, 500, 511), (5, 1000, 1022)),
        ((4000, 1504, 1504), (96, 752, 752), (6, 376, 376), (96, 752, 752)),
        ((100, 2000, 2000), (100, 1021, 1021), (1, 1021, 1021), None),
        ((60, 300, 300), (60, 300, 300), (10, 300, 300), None),
    ],
)
def test_chunks_divide_a_block_and_share_a_file_when_they_are_many(
    tmp_path: Path, shape: tuple[int, ...], block_shape: tuple[int, ...], chunks: object, shards: object
):
    create_result(tmp_path / "a.ome.zarr", _layout(shape, block_shape), name="a")
    array = zarr.open_array(str(tmp_path / "a.ome.zarr/0"))
    assert (array.chunks, array.shards) == (chunks, shards)


@pytest.mark.parametrize("dtype", ["u1", "f4", "f2"])
def test_coarser_levels_come_out_of_finer_ones(tmp_path: Path, dtype: str):
    probabilities = dtype != "u1"
    axes, channels = ("CYX", ("a", "b")) if probabilities else ("ZYX", ())
    layout = _layout((2, 1200, 700), (1, 512, 512), axes=axes, dtype=dtype, channels=channels)
    sink = create_result(tmp_path / "a.ome.zarr", layout, name="a")
    _complete(tmp_path / "a.ome.zarr", layout, _blocks(layout))
    levels = [zarr.open_array(str(tmp_path / f"a.ome.zarr/{number}"))[:] for number in range(3)]
    assert sink.levels == (4, 2) and levels[2].shape == (2, 300, 175)
    for finer, coarser in pairwise(levels):
        if probabilities:
            cells = finer.reshape(2, coarser.shape[1], 2, coarser.shape[2], 2).astype("f8")
            np.testing.assert_allclose(coarser, cells.mean((2, 4)), rtol=2e-3 if dtype == "f2" else 1e-6)
        else:
            np.testing.assert_array_equal(coarser, finer[:, ::2, ::2])


def test_a_coarser_block_takes_memory_for_itself_and_not_for_what_it_is_made_of(tmp_path: Path):
    layout = _layout((1, 8192, 4096), (1, 2048, 2048), dtype="u1")
    sink = create_result(tmp_path / "a.ome.zarr", layout, name="a")
    for region in _blocks(layout):
        sink.write(region, np.random.default_rng(0).integers(0, 255, (1, 2048, 2048), np.uint8))
    sink.reduce(1, 0)
    tracemalloc.start()
    sink.reduce(1, 1)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert (
        peak < 4 * 2048**2
    )  # the finer pixels alone are as many; the block, its copy and what it packs to are 3


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("dtype", ["u1", "f2", "f4"])
def test_our_reader_opens_our_probabilities_with_all_that_is_known(tmp_path: Path, suffix: str, dtype: str):
    layout = _layout(
        (2, 3, 40, 50), (2, 1, 16, 32), axes="CZYX", dtype=dtype, channels=("background", "nucleus")
    )
    path = tmp_path / f"p{suffix}"
    if (suffix, dtype) == (".ome.tif", "f2"):
        with pytest.raises(ValueError, match=r"OME-TIFF cannot store float16; choose \.tif or \.ome\.zarr"):
            create_result(path, layout, name="p")
        return
    create_result(path, layout, name="p")
    _complete(path, layout, _blocks(layout))
    image = open_image(path)
    assert (image.axes, image.channels, image.unit) == ("CZYX", ("background", "nucleus"), "µm")
    assert image.spacing == pytest.approx((5, 0.5, 0.5)) and image.dtype == dtype
    np.testing.assert_array_equal(image.read(), _pixels(layout))


def test_every_format_says_where_a_result_comes_from(tmp_path: Path):
    for suffix in SUFFIXES:
        create_result(tmp_path / f"a{suffix}", _layout(), name="a")
    create_result(tmp_path / "plain.tif", _layout(dtype="u4"), name="a")
    expected = '{"napari-unet": {"model": "5ea1", "options": {"halo": 16, "name": "Kerne \\u03b1"}}}'
    assert read_info(tmp_path / "a.tif") == read_info(tmp_path / "plain.tif") == expected
    with tifffile.TiffFile(tmp_path / "a.ome.tif") as tif:
        assert tif.ome_metadata is not None
        assert '<M K="model">5ea1</M>' in tif.ome_metadata and "Kerne α" in tif.ome_metadata


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_what_has_been_written_is_read_back(tmp_path: Path, suffix: str):
    layout = _layout()
    sink = create_result(tmp_path / f"a{suffix}", layout, name="a")
    first, second = _blocks(layout)[-2:]
    sink.write(first, _pixels(layout)[first])
    np.testing.assert_array_equal(
        open_result(tmp_path / f"a{suffix}", layout).read(first), _pixels(layout)[first]
    )
    assert not sink.read(second).any()


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_what_is_another_result_or_not_whole_is_not_gone_on_with(tmp_path: Path, suffix: str):
    path = tmp_path / f"a{suffix}"
    with pytest.raises(FileNotFoundError):
        open_result(path, _layout())
    create_result(path, _layout(), name="a")
    for other in (_layout((3, 40, 51)), _layout(dtype="u1")):
        with pytest.raises(
            ValueError, match=f"a{suffix} is another result or not whole; remove it and start anew"
        ):
            open_result(path, other)
    if suffix == ".ome.zarr":
        (path / "0/zarr.json").unlink()
    else:
        os.truncate(path, path.stat().st_size // 2)
    with pytest.raises(ValueError, match=r"not whole|cannot be read"):
        open_result(path, _layout())
    create_result(path, _layout(), name="a")
    open_result(path, _layout())


def test_parts_keep_numbers_until_they_are_joined(tmp_path: Path):
    parts = create_parts(tmp_path / "parts.zarr", (20, 64, 70), (10, 32, 32))
    region = (slice(10, 20), slice(32, 64), slice(64, 70))
    numbers = np.arange(10 * 32 * 6, dtype=np.uint32).reshape(10, 32, 6) + 70_000
    parts.write(region, numbers)
    again = open_parts(tmp_path / "parts.zarr")
    np.testing.assert_array_equal(again.read(region), numbers)
    np.testing.assert_array_equal(again.read((slice(9, 11), *region[1:]))[0], 0)
    assert len([f for f in (tmp_path / "parts.zarr/c").rglob("*") if f.is_file()]) == 1


WRITER = """
import sys
from pathlib import Path
import numpy as np
from napari_unet.core.io.result import create_result
sys.path.insert(0, sys.argv[2])
from test_result import _blocks, _layout, _pixels
layout = _layout((4, 1200, 1200), (1, 600, 600))
sink = create_result(Path(sys.argv[1]), layout, name="cells")
print("begun", flush=True)
while True:
    for region in _blocks(layout):
        sink.write(region, _pixels(layout)[region])
"""


@pytest.mark.skipif(os.name != "posix", reason="kill -9 is POSIX's")
@pytest.mark.parametrize("suffix", [".tif", ".ome.zarr"])
def test_a_writer_that_is_killed_costs_no_more_than_its_blocks(tmp_path: Path, suffix: str):
    layout = _layout((4, 1200, 1200), (1, 600, 600))
    temporary = tmp_path / f"killed.unfinished{suffix}"
    command = [sys.executable, "-c", WRITER, str(temporary), str(Path(__file__).parent)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as writer:
        assert writer.stdout is not None and writer.stdout.readline() == "begun\n"
        time.sleep(0.3)
        writer.send_signal(signal.SIGKILL)
    _complete(temporary, layout, _blocks(layout))
    publish(temporary, tmp_path / f"killed{suffix}", overwrite=False)
    create_result(tmp_path / f"whole{suffix}", layout, name="cells")
    _complete(tmp_path / f"whole{suffix}", layout, _blocks(layout))
    assert _hashes(tmp_path / f"killed{suffix}") == _hashes(tmp_path / f"whole{suffix}")


def test_what_a_killed_writer_has_left_is_not_published(tmp_path: Path):
    create_result(tmp_path / "a.unfinished.ome.zarr", _layout(), name="a")
    left = tmp_path / "a.unfinished.ome.zarr/0/c/0/0/1.0123456789abcdef.partial"
    left.parent.mkdir(parents=True)
    left.write_bytes(b"half a chunk")
    publish(tmp_path / "a.unfinished.ome.zarr", tmp_path / "a.ome.zarr", overwrite=False)
    assert not list((tmp_path / "a.ome.zarr").rglob("*.partial"))


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_an_old_result_is_whole_until_the_new_one_is_in_its_place(
    tmp_path: Path, suffix: str, monkeypatch: pytest.MonkeyPatch
):
    old, new, path = tmp_path / f"old{suffix}", tmp_path / f"new{suffix}", tmp_path / f"x{suffix}"
    create_result(old, _layout(dtype="u1"), name="x")
    publish(old, path, overwrite=False)
    before = _hashes(path)
    create_result(new, _layout(), name="x")
    with pytest.raises(FileExistsError, match="give --overwrite"):
        publish(new, path, overwrite=False)

    replace = os.replace

    def refuse(source: Path, target: Path) -> None:
        if source == new:
            raise PermissionError(errno.EACCES, "Permission denied")
        replace(source, target)

    with monkeypatch.context() as patch, pytest.raises(PermissionError):
        patch.setattr(os, "replace", refuse)
        publish(new, path, overwrite=True)
    assert _hashes(path) == before and sorted(tmp_path.iterdir()) == sorted([new, path])
    publish(new, path, overwrite=True)
    assert open_image(path).dtype == np.uint16 and list(tmp_path.iterdir()) == [path]


def test_what_cannot_be_written_is_refused_early(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    with pytest.raises(FileNotFoundError, match="none does not exist; make it first"):
        check_output(tmp_path / "none/a.tif", overwrite=False)
    with pytest.raises(ValueError, match=r"a\.png has no suffix of an output"):
        check_output(tmp_path / "a.png", overwrite=False)
    check_output(tmp_path / "Ergebnis µ 1.ome.zarr", overwrite=False)
    monkeypatch.setattr(os, "access", lambda *_: False)
    with pytest.raises(OSError, match=r"cannot write .*a\.tif .*; choose a folder that is writable"):
        check_output(tmp_path / "a.tif", overwrite=False)


@pytest.fixture
def read_only_disk(tmp_path: Path) -> Iterator[Path]:
    disk = tmp_path / "disk"
    disk.mkdir()
    if os.name != "posix" or os.geteuid() != 0:
        pytest.skip("only root may mount a tmpfs")
    command = ["mount", "-t", "tmpfs", "-o", "size=1m,ro", "tmpfs", str(disk)]
    mounted = subprocess.run(command, capture_output=True, text=True, check=False)
    if mounted.returncode:
        pytest.skip(f"tmpfs cannot be mounted here: {mounted.stderr.strip()}")
    yield disk
    subprocess.run(["umount", "--lazy", str(disk)], check=True)


def test_a_read_only_mount_is_refused_before_anything_is_computed(read_only_disk: Path):
    for suffix in SUFFIXES:
        with pytest.raises(OSError, match=r"cannot write .*; choose a folder that is writable"):
            check_output(read_only_disk / f"a{suffix}", overwrite=False)


@pytest.mark.skipif(os.name != "posix", reason="limits of file sizes are POSIX's")
@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_file_larger_than_the_disk_takes_is_one_clear_sentence(tmp_path: Path, suffix: str):
    import resource

    layout = _layout((1, 2000, 2000), (1, 500, 500), dtype="f4")
    noise = np.random.default_rng(0).random((1, 500, 500), np.float32)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (500_000, limits[1]))
    try:
        with (
            pytest.raises(
                OSError, match=r"no file here can be as large as .*a.* \(16 MB\); choose \.ome\.zarr"
            ),
            disk_errors(tmp_path / f"a{suffix}", layout),
        ):
            create_result(tmp_path / f"new{suffix}", layout, name="a").write(_blocks(layout)[0], noise)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert not (tmp_path / f"a{suffix}").exists()


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_values_that_do_not_fit_into_the_type_are_refused(tmp_path: Path, suffix: str):
    sink = create_result(tmp_path / f"a{suffix}", _layout(dtype="u1"), name="a")
    region = (slice(0, 1), slice(0, 16), slice(0, 32))
    with pytest.raises(ValueError, match="the value 256 does not fit into uint8; choose a larger type"):
        sink.write(region, np.full((1, 16, 32), 256, "u4"))
    with pytest.raises(TypeError, match="cannot store float32 as uint8; convert the result"):
        sink.write(region, np.ones((1, 16, 32), "f4"))
    sink.write(region, np.full((1, 16, 32), 255, "i8"))
    assert (sink.read(region) == 255).all()


def test_negative_values_do_not_fit_into_unsigned_ones():
    with pytest.raises(ValueError, match="the value -1 does not fit into uint16"):
        stored(np.array([-1, 3]), np.dtype("u2"))


def test_blocks_that_do_not_suit_the_axes_are_refused():
    for block_shape in ((16, 16), (0, 16, 16)):
        with pytest.raises(ValueError, match=r"blocks of .* need a size of at least 1 for each of ZYX"):
            _layout(block_shape=block_shape)
