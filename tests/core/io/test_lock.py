"""Folders that belong to one process at a time, on disks with locks and without."""

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from napari_unet.core.io.lock import LOCK, OwnFolder

OWNER = """
import sys
from pathlib import Path
from napari_unet.core.io.lock import OwnFolder
own = OwnFolder(Path(sys.argv[1]))
print("owns", flush=True)
sys.stdin.read()
"""
posix = pytest.mark.skipif(os.name != "posix", reason="Windows removes nothing that is open")


def test_two_processes_cannot_own_a_folder_and_a_killed_one_is_in_nobodys_way(tmp_path: Path):
    folder = tmp_path / "work"
    command = [sys.executable, "-c", OWNER, str(folder)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as first:
        assert first.stdout is not None and first.stdout.readline() == "owns\n"
        with pytest.raises(BlockingIOError):
            OwnFolder(folder)
        first.kill()
    OwnFolder(folder).remove()
    assert not folder.exists()


def test_a_folder_is_cleared_with_what_tells_of_it_last(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    from napari_unet.core.io import lock

    removed: list[str] = []
    monkeypatch.setattr(lock, "remove", lambda path: removed.append(path.name))
    own = OwnFolder(tmp_path / "work")
    for name in ("a.zarr", "journal", "z.tif"):
        (own.path / name).touch()
    own.clear(last="journal")
    own.close()
    assert sorted(removed[:2]) == ["a.zarr", "z.tif"] and removed[2:] == ["journal"]


@posix
def test_who_waited_for_a_folder_that_was_removed_makes_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    from napari_unet.core.io import lock

    folder = tmp_path / "work"
    first, take = OwnFolder(folder), lock._take

    def late(handle: int, *, waits: bool) -> None:
        if (folder / LOCK).exists() and not first._lock.closed:
            first.remove()  # the lock is open by now in both
        take(handle, waits=waits)

    monkeypatch.setattr(lock, "_take", late)
    second = OwnFolder(folder)
    assert (folder / LOCK).exists()
    with pytest.raises(BlockingIOError):
        OwnFolder(folder)
    second.remove()


@posix
def test_a_folder_that_another_has_taken_meanwhile_is_not_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    folder = tmp_path / "work"
    first, others, rmdir = OwnFolder(folder), [], Path.rmdir

    def late(self: Path) -> None:
        if not others:
            others.append(OwnFolder(folder))
            (folder / "result.tif").touch()
        rmdir(self)

    monkeypatch.setattr(Path, "rmdir", late)
    first.remove()
    assert (folder / "result.tif").exists()
    with pytest.raises(BlockingIOError):
        OwnFolder(folder)
    others[0].remove()


@posix
@pytest.mark.parametrize("number", [errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOLCK])
def test_a_disk_without_locks_is_no_reason_to_stop(
    number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    def flock(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr("fcntl.flock", flock)
    own = OwnFolder(tmp_path / "work")
    own.remove()
    assert not own.path.exists()


def test_a_link_to_nowhere_and_a_file_are_no_folders(tmp_path: Path):
    (tmp_path / "file").touch()
    with pytest.raises(FileExistsError):
        OwnFolder(tmp_path / "file")
    if os.name == "posix":
        (tmp_path / "link").symlink_to(tmp_path / "nowhere")
        with pytest.raises(FileExistsError):
            OwnFolder(tmp_path / "link")


MANY = """
import os, sys
from pathlib import Path
from napari_unet.core.io.lock import OwnFolder
folder = Path(sys.argv[1])
for _ in range(100):
    try:
        own = OwnFolder(folder)
    except BlockingIOError:
        continue
    (folder / str(os.getpid())).touch()
    assert set(os.listdir(folder)) == {"lock", str(os.getpid())}
    own.remove()
"""


@posix
def test_many_processes_that_make_and_remove_one_folder_never_meet_in_it(tmp_path: Path):
    command = [sys.executable, "-c", MANY, str(tmp_path / "work")]
    processes = [subprocess.Popen(command) for _ in range(3)]
    assert [process.wait(60) for process in processes] == [0, 0, 0]
