"""Limits of memory on made trees of control groups, as SLURM, systemd and containers set them."""

import sys

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from napari_unet.core.memory import room_in_groups

GIB = 2**30


def group(root, place, **files):
    """Make a group with its files; a dot of their names is written as two underscores."""
    folder = root / "sys/fs/cgroup" / place
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (folder / name.replace("__", ".")).write_text(f"{content}\n")


def belongs_to(root, *lines):
    (root / "proc/self").mkdir(parents=True, exist_ok=True)
    (root / "proc/self/cgroup").write_text("\n".join(lines))


def test_a_limit_of_a_group_above_counts(tmp_path):
    """The leaf says "max", which is no limit."""
    belongs_to(tmp_path, "0::/system.slice/slurmstepd.scope/job_7/step_0/user/task_0")
    group(
        tmp_path,
        "system.slice/slurmstepd.scope/job_7/step_0/user/task_0",
        memory__max="max",
        memory__current=GIB,
    )
    group(tmp_path, "system.slice/slurmstepd.scope/job_7", memory__max=8 * GIB, memory__current=3 * GIB)
    assert room_in_groups(tmp_path) == 5 * GIB


def test_files_that_would_be_dropped_at_once_do_not_count(tmp_path):
    belongs_to(tmp_path, "0::/a")
    stat = f"anon {GIB}\nfile {6 * GIB}\ninactive_file {5 * GIB}"
    group(tmp_path, "a", memory__max=8 * GIB, memory__current=7 * GIB, memory__stat=stat)
    assert room_in_groups(tmp_path) == 6 * GIB


def test_where_memory_is_throttled_is_a_limit_too(tmp_path):
    belongs_to(tmp_path, "0::/user.slice")
    group(tmp_path, "user.slice", memory__max="max", memory__high=2 * GIB, memory__current=GIB)
    assert room_in_groups(tmp_path) == GIB


def test_version_one_and_both_together(tmp_path):
    belongs_to(
        tmp_path, "5:cpu,cpuacct:/x", "4:memory:/slurm/uid_0/job_1/step_0", "0::/system.slice/a.service"
    )
    group(
        tmp_path,
        "memory/slurm/uid_0/job_1/step_0",
        memory__limit_in_bytes=2**63 - 4096,
        memory__usage_in_bytes=9,
    )
    group(tmp_path, "memory/slurm/uid_0/job_1", memory__limit_in_bytes=4 * GIB, memory__usage_in_bytes=GIB)
    assert room_in_groups(tmp_path) == 3 * GIB
    group(tmp_path, "unified/system.slice", memory__max=2 * GIB, memory__current=0)
    assert room_in_groups(tmp_path) == 2 * GIB


def test_in_a_container_only_the_top_is_there(tmp_path):
    belongs_to(tmp_path, "0::/../../docker/0123")
    group(tmp_path, ".", memory__max=GIB, memory__current=0)
    assert room_in_groups(tmp_path) == GIB


@pytest.mark.parametrize("lines", [(), ("nonsense",), ("0::/gone",)])
def test_without_limits_there_is_none(tmp_path, lines):
    belongs_to(tmp_path, *lines)
    assert room_in_groups(tmp_path) == room_in_groups(tmp_path / "nothing") == sys.maxsize


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.none() | st.tuples(st.integers(0, 100), st.integers(0, 100)), min_size=1, max_size=6))
def test_the_least_of_all_groups_above_is_what_is_left(tmp_path_factory, limits):
    root = tmp_path_factory.mktemp("tree")
    names = [f"g{i}" for i in range(len(limits))]
    belongs_to(root, f"0::/{'/'.join(names)}")
    for depth, limit in enumerate(limits, start=1):
        most, used = limit or ("max", 5)
        group(root, "/".join(names[:depth]), memory__max=most, memory__current=used)
    left = [max(0, most - used) for most, used in filter(None, limits)]
    assert room_in_groups(root) == min(left, default=sys.maxsize)


@pytest.mark.parametrize(
    ("shown", "mount", "name", "limits"),
    [
        ("/docker/abc", "sys/fs/cgroup/memory", "/docker/abc/child", {"child": 2, ".": 8}),
        ("/", "cgroup/memory", "/slurm/job_1", {"slurm/job_1": 2}),
        ("/docker/abc", "sys/fs/cgroup/memory", "/docker/abcd", {".": 2, "d": 1}),
    ],
)
def test_groups_are_looked_for_where_they_are_mounted(tmp_path, shown, mount, name, limits):
    belongs_to(tmp_path, f"4:memory:{name}")
    mounted = f"30 25 0:26 {shown} /{mount} rw,nosuid shared:9 - cgroup cgroup rw,memory\n"
    (tmp_path / "proc/self/mountinfo").write_text(f"22 1 8:1 / / rw - ext4 /dev/sda rw\n{mounted}")
    for place, limit in limits.items():
        folder = tmp_path / mount / place
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "memory.limit_in_bytes").write_text(str(limit * GIB))
    assert room_in_groups(tmp_path) == 2 * GIB
