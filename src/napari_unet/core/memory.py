"""Memory that this machine, a container, SLURM or systemd leaves to this process."""

import os
import sys
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class _Hierarchy:
    """Files of one version of control groups, where its groups may be mounted, and its page cache."""

    mounts: tuple[str, ...]
    limits: tuple[str, ...]
    usage: str
    cache: str


_V2 = _Hierarchy(
    ("sys/fs/cgroup", "sys/fs/cgroup/unified"),
    ("memory.max", "memory.high"),
    "memory.current",
    "inactive_file",
)
_V1 = _Hierarchy(
    ("sys/fs/cgroup/memory",), ("memory.limit_in_bytes",), "memory.usage_in_bytes", "total_inactive_file"
)


def available_memory() -> int:
    """Return the bytes that this process may still take; a guess where the system does not tell."""
    with suppress(OSError):
        for line in Path("/proc/meminfo").read_text().splitlines():
            if line.startswith("MemAvailable"):
                return min(int(line.split()[1]) * 1024, room_in_groups())
    if "SC_PHYS_PAGES" in getattr(os, "sysconf_names", {}):
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2
    return 4 * 2**30


def room_in_groups(root: Path = Path("/")) -> int:
    """Return the bytes that control groups leave to this process: the least of its own and all above it.

    A group that says "max" has no limit, but those above it may have one. What is used does not count files
    that the system would drop at once.

    Parameters
    ----------
    root : Path
        Where /proc and /sys are.

    Returns
    -------
    int
        `sys.maxsize` where there is no limit.
    """
    return min(_rooms(root), default=sys.maxsize)


def _rooms(root: Path) -> Iterator[int]:
    mounted = list(_mounted(root))
    for hierarchy, name in _own_groups(root):
        usual = [(top, "/") for top in hierarchy.mounts]
        for mount, shown in [(at, group) for each, at, group in mounted if each is hierarchy] or usual:
            top = root / mount.strip("/")
            # in a container the name may be one of the host: then only the top is there
            below = name.removeprefix(shown) if f"{name}/".startswith(f"{shown.rstrip('/')}/") else ""
            group = top / below.strip("/")
            for each in (group, *group.parents):
                yield from _room_of(each, hierarchy)
                if each == top:
                    break


def _mounted(root: Path) -> Iterator[tuple[_Hierarchy, str, str]]:
    """Name where groups are mounted, and the group that is the top there: a container shows only its own."""
    with suppress(OSError, LookupError, ValueError):
        for line in (root / "proc/self/mountinfo").read_text().splitlines():
            place, _, kind = (part.split() for part in line.partition(" - "))
            if kind[:1] == ["cgroup2"]:
                yield _V2, place[4], place[3]
            elif kind[:1] == ["cgroup"] and "memory" in kind[-1].split(","):
                yield _V1, place[4], place[3]


def _own_groups(root: Path) -> Iterator[tuple[_Hierarchy, str]]:
    """Name the groups of this process: lines of number:controllers:path."""
    with suppress(OSError):
        for line in (root / "proc/self/cgroup").read_text().splitlines():
            _, controllers, name = (*line.split(":", 2), "", "")[:3]
            if controllers == "":
                yield _V2, name
            elif "memory" in controllers.split(","):
                yield _V1, name


def _room_of(group: Path, hierarchy: _Hierarchy) -> Iterator[int]:
    limits = [limit for name in hierarchy.limits if (limit := _number(group / name)) is not None]
    if limits:
        used = (_number(group / hierarchy.usage) or 0) - _cached(group, hierarchy.cache)
        yield max(0, min(limits) - max(0, used))


def _number(file: Path) -> int | None:
    with suppress(OSError, ValueError):  # "max" is no limit
        return int(file.read_text())
    return None


def _cached(group: Path, name: str) -> int:
    with suppress(OSError, ValueError):
        facts = (line.split() for line in (group / "memory.stat").read_text().splitlines())
        return int(dict(fact for fact in facts if len(fact) == 2).get(name, 0))
    return 0
