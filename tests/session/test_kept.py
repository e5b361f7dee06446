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
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from napari_unet.core.modelfile import load_model
from napari_unet.session import kept
from napari_unet.session.classes import DEFAULT_CLASSES, add_class
from napari_unet.session.kept import (
    MOST_ENTRIES,
    Snapshot,
    compact,
    data_home,
    discard,
    find_kept,
    keep,
    model_path,
    new_entry,
)

KILL_NINE = Path(__file__).with_name("kill_nine.py")


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("NAPARI_UNET_HOME", str(tmp_path))
    return tmp_path


def snapshot(key="image", task="classes", value=1, n_planes=2, complete=frozenset({(2,)})):
    planes = {(z,): np.full((5, 6), value, np.uint8) for z in range(n_planes)}
    return Snapshot(key, f"{key} name", task, DEFAULT_CLASSES, (4, 5, 6), planes, complete)


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
    assert list(found.planes) == list(wanted.planes)
    for index, plane in wanted.planes.items():
        np.testing.assert_array_equal(found.planes[index], plane)
        assert found.planes[index].dtype == plane.dtype


@st.composite
def snapshots(draw):
    shape = draw(npst.array_shapes(min_dims=2, max_dims=5, max_side=6))
    index = st.tuples(*(st.integers(0, size - 1) for size in shape[:-2]))
    plane = npst.arrays(npst.integer_dtypes() | npst.unsigned_integer_dtypes(), shape[-2:])
    return Snapshot(
        key=draw(st.text()),
        image_name=draw(st.text()),
        task=draw(st.sampled_from(["classes", "objects"])),
        classes=draw(st.sampled_from([DEFAULT_CLASSES, add_class(DEFAULT_CLASSES)])),
        shape=shape,
        planes=draw(st.dictionaries(index, plane, min_size=1, max_size=4)),
        complete=draw(st.frozensets(index, max_size=4)),
    )


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=50)
@given(snapshots())
def test_what_is_kept_is_found_again(wanted):
    entry = new_entry(wanted.key)
    keep(entry, wanted)
    assert_equal(find_kept(wanted.key, wanted.task), wanted)


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
    assert find_kept("image", "classes").planes[0,][0, 0] == 1


def test_entries_that_are_still_painted_on_are_passed_over():
    older, newer = kept_anew(snapshot(value=1), seconds=-10), kept_anew(snapshot(value=2))
    assert find_kept("image", but=[newer.parent]).path == older


def test_strokes_that_were_all_erased_are_not_offered():
    kept_anew(seconds=-10)
    kept_anew(snapshot(n_planes=0, complete=frozenset()))
    assert find_kept("image").planes


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


def test_the_model_beside_it_is_found_and_the_offer_tells():
    path = kept_anew()
    assert find_kept("image").model is None
    assert find_kept("image").offer.startswith("3 annotated slices of image name were kept on ")
    model_path(path.parent, "classes").write_bytes(b"a model")
    assert find_kept("image").model == model_path(path.parent, "classes")
    assert " and a model were kept on " in find_kept("image").offer


def test_discarding_removes_one_task_and_then_the_entry():
    entry = new_entry("image")
    keep(entry, snapshot(task="objects"))
    keep(entry, snapshot(task="classes"))
    model_path(entry, "classes").write_bytes(b"a model")
    discard(find_kept("image", "classes"))
    assert find_kept("image").task == "objects" and not model_path(entry, "classes").exists()
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
    if found is not None:
        assert_equal(found, wanted)
    path.unlink()


def test_behind_a_damaged_file_the_older_one_is_found_and_it_is_said():
    older, newer = kept_anew(seconds=-10), kept_anew()
    newer.write_bytes(newer.read_bytes()[:-30])
    with pytest.warns(UserWarning, match="is left aside"):
        assert find_kept("image").path == older


@pytest.mark.parametrize(
    "change",
    [
        {"format_version": 2},
        {"task": "dreams"},
        {"indices": [[9], [1]]},
        {"complete": [[0, 0]]},
        {"shape": [4, 5, 7]},
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
    assert find_kept("image").planes[0,][0, 0] == 1
    assert [each.name for each in path.parent.iterdir()] == [path.name]


def test_a_folder_that_cannot_be_made_is_a_sentence(home):
    (home / "kept").write_text("in the way")
    with pytest.raises(OSError, match="annotation cannot be kept in"):
        keep(new_entry("image"), snapshot())


def test_planes_are_kept_in_the_smallest_type_and_as_copies():
    for dtype in (np.uint8, np.uint16, np.int32, np.int64):
        plane = np.full((2, 2), np.iinfo(dtype).max, dtype)
        np.testing.assert_array_equal(compact(plane), plane)
        assert compact(plane).dtype == dtype
        assert not np.shares_memory(compact(plane), plane)
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
    reached = found.planes[0,][0, 0] - 1
    was = next(n for n in (number, number + 1) if n % 200 == reached)  # the next one may be whole, too
    wanted = growing.Growing(was)
    assert tuple(found.planes) == wanted.planes
    assert found.complete == wanted.complete
    for index in wanted.planes:
        np.testing.assert_array_equal(found.planes[index], wanted.plane(index))
    assert load_model(found.model).training["steps"] in (number, number + 1)
    again = replace(found, key="again")
    keep(new_entry("again"), again)
    assert_equal(find_kept("again"), again)
