import errno
import importlib.util
import json
import os
import random
import subprocess
import sys
import time
import warnings
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from napari_unet.core.annotated_regions import cell_pixels, cells_in
from napari_unet.core.modelfile import load_model
from napari_unet.session import kept
from napari_unet.session.classes import DEFAULT_CLASSES, add_class
from napari_unet.session.kept import (
    MOST_ENTRIES,
    Snapshot,
    annotation_path,
    compact,
    data_home,
    discard,
    find_kept,
    keep,
    keep_model,
    model_path,
    new_entry,
)

KILL_NINE = Path(__file__).with_name("kill_nine.py")


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("NAPARI_UNET_HOME", str(tmp_path))
    return tmp_path


def cut(plane):
    """Cut a plane into the cells in which it is kept."""
    corners = cells_in(tuple(slice(0, size) for size in plane.shape))
    return {corner: plane[cell_pixels(corner)] for corner in corners}


def snapshot(key="image", task="classes", value=1, n_planes=2, complete=frozenset({(2,)})):
    cells = {(z,): cut(np.full((5, 6), value, np.uint8)) for z in range(n_planes)}
    return Snapshot(key, f"{key} name", task, DEFAULT_CLASSES, (8, 5, 6), cells, complete, "session")


def value_of(found):
    return dict(found.cells())[0,][0, 0][0, 0]


def kept_anew(some=None, seconds=0):
    """Keep a snapshot in an entry of its own, and date it some seconds from now."""
    some = some or snapshot()
    entry = new_entry(some.key)
    keep(entry, some)
    path = entry / f"annotation-{some.task}.npz"
    os.utime(path, times=(time.time() + seconds,) * 2)
    return path


def assert_equal(found, wanted):
    for name in ("key", "image_name", "task", "classes", "shape", "complete"):
        assert getattr(found, name) == getattr(wanted, name)
    planes = dict(found.cells())
    assert list(planes) == list(wanted.cells)
    for index, cells in wanted.cells.items():
        assert list(planes[index]) == list(cells)
        for corner, cell in cells.items():
            np.testing.assert_array_equal(planes[index][corner], cell)


@st.composite
def snapshots(draw):
    outer = draw(npst.array_shapes(min_dims=0, max_dims=3, max_side=6))
    shape = (*outer, draw(st.integers(1, 600)), draw(st.integers(1, 600)))
    index = st.tuples(*(st.integers(0, size - 1) for size in outer))
    dtype = draw(npst.integer_dtypes(endianness="=") | npst.unsigned_integer_dtypes(endianness="="))
    values = npst.from_dtype(dtype)

    @st.composite
    def planes(draw):
        cells = cut(np.full(shape[-2:], draw(values), dtype))
        for cell in cells.values():
            cell[draw(st.integers(0, 1)) :] = draw(values)
        return {corner: cells[corner] for corner in draw(st.sets(st.sampled_from(sorted(cells)), min_size=1))}

    return Snapshot(
        key=draw(st.text()),
        image_name=draw(st.text()),
        task=draw(st.sampled_from(["classes", "objects"])),
        classes=draw(st.sampled_from([DEFAULT_CLASSES, add_class(DEFAULT_CLASSES)])),
        shape=shape,
        cells=draw(st.dictionaries(index, planes(), min_size=1, max_size=4)),
        complete=draw(st.frozensets(index, max_size=4)),
        session="session",
    )


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=50)
@given(snapshots())
def test_what_is_kept_is_found_again(wanted):
    entry = new_entry(wanted.key)
    keep(entry, wanted)
    found = find_kept(wanted.key, wanted.task)
    assert_equal(found, wanted)
    discard(found)


def test_nothing_is_found_of_an_image_that_was_never_painted():
    kept_anew()
    assert find_kept("another image") is None


def test_a_path_that_is_no_text_is_a_key_too():
    key = os.fsdecode(b"\xff.tif")
    kept_anew(snapshot(key))
    assert find_kept(key).key == key


def test_the_newest_of_an_image_is_found_whatever_its_task():
    kept_anew(snapshot(value=1), seconds=-20)
    kept_anew(snapshot(task="objects", value=7), seconds=-10)
    assert find_kept("image").task == "objects"
    assert value_of(find_kept("image", "classes")) == 1


def test_entries_that_are_still_painted_on_are_passed_over():
    older, newer = kept_anew(snapshot(value=1), seconds=-10), kept_anew(snapshot(value=2))
    assert find_kept("image", but=[newer.parent]).path == older


def test_strokes_that_were_all_erased_are_not_offered():
    kept_anew(seconds=-10)
    kept_anew(snapshot(n_planes=0, complete=frozenset()))
    assert find_kept("image").n_slices == 3


def test_a_small_newer_entry_does_not_hide_a_large_one():
    large = kept_anew(snapshot(n_planes=6), seconds=-100)
    kept_anew(snapshot(n_planes=1, complete=frozenset()))
    assert find_kept("image").path == large and find_kept("image").n_slices == 6


def test_an_entry_that_holds_more_than_those_after_it_stays():
    large = kept_anew(snapshot(n_planes=6), seconds=-1000)
    other_task = kept_anew(snapshot(task="objects", n_planes=1), seconds=-900)
    small = [kept_anew(snapshot(n_planes=1), seconds=-n) for n in reversed(range(MOST_ENTRIES + 3))]
    assert large.exists() and other_task.exists()
    assert [path.exists() for path in small] == [False] * 3 + [True] * MOST_ENTRIES
    larger = kept_anew(snapshot(n_planes=7))
    assert not large.exists() and larger.exists()


def test_an_offer_reads_no_planes(monkeypatch):
    kept_anew()
    monkeypatch.setattr(kept, "_read_cells", None)
    assert find_kept("image").n_slices == 3


def test_images_and_models_that_were_written_longest_ago_go(monkeypatch):
    monkeypatch.setattr(kept, "MOST_IMAGES", 3)
    monkeypatch.setattr(kept, "MOST_MODELS", 2)
    for n in range(5):
        kept_anew(snapshot(f"image {n}"), seconds=n - 100)
        keep_model(model_path(f"session {n}", "classes"), lambda path: path.write_text("model"))
        os.utime(model_path(f"session {n}", "classes"), times=(time.time() + n - 100,) * 2)
    assert [find_kept(f"image {n}") is not None for n in range(5)] == [False, False, True, True, True]
    assert [model_path(f"session {n}", "classes").exists() for n in range(5)] == [False] * 3 + [True] * 2


def test_only_the_newest_entries_stay():
    paths = [kept_anew(seconds=-n) for n in reversed(range(MOST_ENTRIES + 2))]
    assert [path.parent.exists() for path in paths] == [False, False] + [True] * MOST_ENTRIES


def test_an_entry_that_has_gone_is_made_again_by_its_writer():
    path = kept_anew(seconds=-1000)
    for _ in range(MOST_ENTRIES):
        kept_anew()
    assert not path.exists()
    keep(path.parent, snapshot())
    assert path.exists()


def test_another_image_does_not_push_entries_out():
    path = kept_anew(seconds=-1000)
    for _ in range(MOST_ENTRIES + 1):
        kept_anew(snapshot("another"))
    assert path.exists()


def test_the_model_of_its_session_is_found_and_the_offer_tells():
    kept_anew()
    assert find_kept("image").model is None
    assert find_kept("image").offer.startswith("3 annotated slices of image name were kept on ")
    keep_model(model_path("session", "classes"), lambda path: path.write_bytes(b"a model"))
    assert find_kept("image").model == model_path("session", "classes")
    assert " and a model were kept on " in find_kept("image").offer


def test_discarding_removes_one_task_and_then_the_entry():
    entry = new_entry("image")
    keep(entry, snapshot(task="objects"))
    keep(entry, snapshot(task="classes"))
    discard(find_kept("image", "classes"))
    assert find_kept("image").task == "objects" and not annotation_path(entry, "classes").exists()
    discard(find_kept("image"))
    assert not entry.exists()


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=300)
@given(st.data())
def test_a_damaged_file_is_left_aside_or_still_right(data):
    wanted = snapshot(value=3)
    path = kept_anew(wanted)
    content = bytearray(path.read_bytes())
    place = int(data.draw(st.floats(0, 1, exclude_max=True)) * len(content))
    if data.draw(st.booleans()):
        content = content[:place]
    else:
        content[place] ^= data.draw(st.integers(1, 255))
    path.write_bytes(content)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = find_kept("image")
        planes = dict(found.cells()) if found is not None else {}
    assert all((cells[0, 0] == 3).all() for cells in planes.values())
    path.unlink()


def test_of_a_file_with_a_damaged_plane_the_others_are_read_and_it_is_said():
    path = kept_anew()
    with zipfile.ZipFile(path) as archive:
        info = archive.getinfo("0.npy")
    content = bytearray(path.read_bytes())
    content[info.header_offset + info.compress_size] ^= 255
    path.write_bytes(content)
    with pytest.warns(UserWarning, match=r"slice \(0,\) of .* is left aside"):
        assert list(dict(find_kept("image").cells())) == [(1,)]


def test_behind_a_damaged_file_the_older_one_is_found_and_it_is_said():
    older, newer = kept_anew(seconds=-10), kept_anew()
    newer.write_bytes(newer.read_bytes()[:-30])
    with pytest.warns(UserWarning, match="is left aside"):
        assert find_kept("image").path == older


@pytest.mark.parametrize(
    "change",
    [
        {"format_version": 3},
        {"task": "dreams"},
        {"planes": [{"index": [9], "cells": [[0, 0]]}]},
        {"planes": [{"index": [1], "cells": [[0, 1]]}]},
        {"planes": [{"index": [1], "cells": [[-1, 0]]}]},
        {"complete": [[0, 0]]},
        {"shape": [4, 5]},
        {"classes": [{"value": 0, "name": "", "colour": ""}]},
    ],
)
def test_a_header_that_contradicts_itself_is_left_aside(change):
    path = kept_anew()
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    members["header.json"] = json.dumps(json.loads(members["header.json"]) | change).encode()
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    with pytest.warns(UserWarning, match="is left aside"):
        assert find_kept("image") is None


def test_what_was_kept_stays_when_the_next_try_fails(monkeypatch):
    path = kept_anew(snapshot(value=1))

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(kept.os, "fsync", full)
    with pytest.raises(OSError, match=r"No space left on device\): free some space there"):
        keep(path.parent, snapshot(value=2))
    assert value_of(find_kept("image")) == 1
    assert [each.name for each in path.parent.iterdir()] == [path.name]


def test_a_folder_that_cannot_be_made_is_a_sentence(home):
    (home / "kept").write_text("in the way")
    with pytest.raises(OSError, match="annotation cannot be kept in"):
        keep(new_entry("image"), snapshot())


def test_values_are_kept_in_the_smallest_type():
    for dtype in (np.uint8, np.uint16, np.int32, np.int64):
        plane = np.full((2, 2), np.iinfo(dtype).max, dtype)
        np.testing.assert_array_equal(compact(plane), plane)
        assert compact(plane).dtype == dtype
    assert compact(np.array([[300]], np.int64)).dtype == np.uint16
    assert compact(np.array([[-1]])).item() == -1


def test_the_folder_is_the_users_own_unless_it_is_named(monkeypatch, home):
    assert data_home() == home
    monkeypatch.delenv("NAPARI_UNET_HOME")
    assert data_home().name == "napari-unet"


@pytest.fixture
def growing():
    spec = importlib.util.spec_from_file_location("kill_nine", KILL_NINE)
    module = importlib.util.module_from_spec(spec)
    sys.modules["kill_nine"] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    yield module
    del sys.modules["kill_nine"]


@pytest.mark.parametrize("seed", range(4))
def test_a_killed_process_loses_nothing_that_it_had_kept(home, growing, seed):
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path), "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(
        [sys.executable, str(KILL_NINE)], env=environment, stdout=subprocess.PIPE, text=True
    )
    first = process.stdout.readline()
    time.sleep(random.Random(seed).uniform(0, 0.3))
    process.kill()
    rest, _ = process.communicate()
    number = int((first + rest).split("\n")[-2])  # the last line may be torn

    found = find_kept(growing.KEY)
    planes = {index: cells[0, 0] for index, cells in found.cells()}
    reached = planes[0,][0, 0] - 1
    was = next(n for n in (number, number + 1) if n % 200 == reached)  # the next one may be whole, too
    wanted = growing.Growing(was)
    assert tuple(planes) == wanted.planes
    assert found.complete == wanted.complete
    for index in wanted.planes:
        np.testing.assert_array_equal(planes[index], wanted.plane(index))
    assert load_model(found.model).training["steps"] in (number, number + 1)
