"""Limits of a container are seen: of either version of cgroups, of the own group and of those above."""

import os
from pathlib import Path

import pytest

from resources.compute import machine


@pytest.fixture
def cgroups(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(machine, "CGROUPS", tmp_path / "cgroup")
    monkeypatch.setattr(machine, "OWN_CGROUP", tmp_path / "own")
    return tmp_path


def write(root: Path, own: str, **files: str) -> None:
    (root / "own").write_text(own)
    for name, text in files.items():
        path = root / "cgroup" / name.replace("__", "/").replace("_DOT_", ".")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def test_without_limits_it_is_the_machine(cgroups: Path) -> None:
    assert machine.n_cores() == len(os.sched_getaffinity(0))
    everything = machine.available_memory()
    assert everything > 2**20
    write(cgroups, "0::/\n", cpu_DOT_max="max 100000", memory_DOT_max="max", memory_DOT_current="1")
    assert machine.n_cores() == len(os.sched_getaffinity(0))


def test_the_limits_of_a_container_are_seen(cgroups: Path) -> None:
    write(
        cgroups,
        "0::/box/own\n",
        box__cpu_DOT_max="50000 100000",
        box__own__cpu_DOT_max="max 100000",
        box__own__memory_DOT_max="3000000",
        box__own__memory_DOT_current="2000000",
        box__own__memory_DOT_stat="anon 5\ninactive_file 500000\n",
    )
    assert machine.n_cores() == 1
    assert machine.available_memory() == 1_500_000


def test_the_limits_of_the_first_version_are_seen(cgroups: Path) -> None:
    write(
        cgroups,
        "4:cpu,cpuacct:/box\n7:memory:/box\n",
        cpu__box__cpu_DOT_cfs_quota_us="100000",
        cpu__box__cpu_DOT_cfs_period_us="100000",
        memory__box__memory_DOT_limit_in_bytes="4000000",
        memory__box__memory_DOT_usage_in_bytes="1000000",
    )
    assert machine.n_cores() == 1
    assert machine.available_memory() == 3_000_000


@pytest.mark.parametrize("text", ["", "x y", "-1 100000", "0 0", "\xff"])
def test_odd_limits_are_none(cgroups: Path, text: str) -> None:
    write(cgroups, "0::/\nnonsense\n", cpu_DOT_max=text, memory_DOT_max=text, memory_DOT_current="0")
    assert machine.n_cores() == len(os.sched_getaffinity(0))
    assert machine.available_memory() > 2**20


def test_a_system_without_affinity_has_its_cores(cgroups: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "sched_getaffinity")
    assert machine.n_cores() == os.cpu_count()
