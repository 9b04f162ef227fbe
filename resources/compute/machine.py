"""Cores and memory that this process may use: of the machine, and within the limits of its container."""

import math
import os
from collections.abc import Iterator
from pathlib import Path

CGROUPS = Path("/sys/fs/cgroup")
OWN_CGROUP = Path("/proc/self/cgroup")


def n_cores() -> int:
    """Return the number of cores, at least one."""
    try:
        n = len(os.sched_getaffinity(0))
    except AttributeError:  # macOS has no affinity
        n = os.cpu_count() or 1
    quotas = (_cores_of(folder) for folder in _own_folders("cpu"))
    return max(1, min([n, *(math.ceil(quota) for quota in quotas if quota is not None)]))


def available_memory() -> int:
    """Return the bytes of memory available without swapping; all memory where the system does not report it."""
    try:
        known = dict(line.split(":", 1) for line in Path("/proc/meminfo").read_text(encoding="ascii").splitlines())
        n_bytes = int(known["MemAvailable"].split()[0]) * 1024
    except (OSError, KeyError, ValueError):
        n_bytes = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    limits = (_memory_of(folder) for folder in _own_folders("memory"))
    return min([n_bytes, *(limit for limit in limits if limit is not None)])


def _own_folders(controller: str) -> Iterator[Path]:
    """Yield the cgroup folders of this process and those above, of version 2 and of a controller of version 1."""
    try:
        lines = OWN_CGROUP.read_text(encoding="utf-8").splitlines()
    except OSError:
        return
    for line in lines:
        _, controllers, path = [*line.split(":", 2), "", ""][:3]
        if controllers and controller not in controllers.split(","):
            continue
        root = CGROUPS / controller if controllers else CGROUPS
        own = root / path.lstrip("/")
        for folder in (own, *own.parents):
            if folder.is_relative_to(root):
                yield folder


def _cores_of(folder: Path) -> float | None:
    quota = _words(folder / "cpu.max") or [*_words(folder / "cpu.cfs_quota_us"), *_words(folder / "cpu.cfs_period_us")]
    try:
        cores = int(quota[0]) / int(quota[1])
    except (ValueError, IndexError, ZeroDivisionError):  # `max`, -1 or no file: no limit
        return None
    return cores if cores > 0 else None


def _memory_of(folder: Path) -> int | None:
    for limit, used in (("memory.max", "memory.current"), ("memory.limit_in_bytes", "memory.usage_in_bytes")):
        try:
            most, taken = (int(_words(folder / name)[0]) for name in (limit, used))
        except (ValueError, IndexError):
            continue
        # Pages of files that were read count as used, and are given back when memory is needed.
        return max(0, most - taken + _cached(folder)) if most > 0 else None
    return None


def _cached(folder: Path) -> int:
    words = _words(folder / "memory.stat")
    found = dict(zip(words[::2], words[1::2], strict=False))
    value = found.get("inactive_file") or found.get("total_inactive_file") or "0"
    return int(value) if value.isdecimal() else 0


def _words(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="ascii").split()
    except (OSError, ValueError):
        return []
