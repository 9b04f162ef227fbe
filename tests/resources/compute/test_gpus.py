"""Workers have a GPU each; GPUs are those that scheduler, user and machine grant. Files stand in for the GPUs."""

import os
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from resources.compute import gpus as gpus_module
from resources.compute.gpus import CUDA, HIP, Gpus, granted_gpus, hold_gpu
from resources.compute.local_processes import LocalProcesses
from resources.compute.task import Task
from resources.compute.workers import MEMORY_VARIABLE, default_workers, memory_share
from resources.errors import EmergenceError
from tests.resources.compute.device_files import devices

TASKS = "tests.resources.compute.compute_tasks"


@pytest.fixture(autouse=True)
def _no_choices(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (CUDA, HIP, "ROCR_VISIBLE_DEVICES", "EMERGENCE_DEVICE", "EMERGENCE_WORKERS", MEMORY_VARIABLE):
        monkeypatch.delenv(name, raising=False)


def seen_by(pool: LocalProcesses, n_tasks: int, folder: Path) -> list[dict[str, Any]]:
    """Run tasks that all wait for each other, so that each has a worker of its own."""
    tasks = [Task(f"{TASKS}:meet", {"folder": str(folder), "n": n_tasks}, f"task {n}") for n in range(n_tasks)]
    return [facts for _, facts in pool.run(tasks)]


def test_eight_workers_use_eight_gpus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpus_module, "DEVICES", devices(tmp_path, 8, "nvidiactl", "nvidia-uvm"))
    with LocalProcesses() as pool:
        assert (pool.n_workers, pool.n_accelerators) == (8, 8)
        facts = seen_by(pool, 8, tmp_path)
        assert sorted(one[CUDA] for one in facts) == [str(n) for n in range(8)]
        assert not any(one["torch"] for one in facts), "the GPU is chosen before torch is imported"
        # A killed worker gives its GPU back.
        os.kill(facts[0]["pid"], signal.SIGKILL)
        time.sleep(0.5)
        (tmp_path / "again").mkdir()
        assert sorted(one[CUDA] for one in seen_by(pool, 8, tmp_path / "again")) == [str(n) for n in range(8)]


def test_more_workers_than_gpus_share_them_evenly(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpus_module, "DEVICES", devices(tmp_path, 2))
    with LocalProcesses(4) as pool:
        assert Counter(one[CUDA] for one in seen_by(pool, 4, tmp_path)) == {"0": 2, "1": 2}


@pytest.mark.parametrize(
    ("stated", "names"),
    [
        (None, ("0", "1", "2", "3")),
        ("", ()),
        ("-1", ()),
        ("NoDevFiles", ()),  # what Slurm sets for a job without GPUs
        ("2", ("2",)),
        ("3,1", ("3", "1")),
        ("0, 1", ("0", "1")),
        ("1,7,2", ("1",)),
        ("1,-1,2", ("1",)),
        ("1,1", ("1",)),
        ("MIG-4d2f,GPU-77", ("MIG-4d2f", "GPU-77")),
    ],
)
def test_gpus_are_those_that_the_scheduler_grants(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stated: str | None, names: tuple[str, ...]
) -> None:
    monkeypatch.setattr(gpus_module, "DEVICES", devices(tmp_path, 4))
    if stated is not None:
        monkeypatch.setenv(CUDA, stated)
    assert granted_gpus().names == names
    monkeypatch.setattr("os.sched_getaffinity", lambda _: {0, 1, 2})
    assert default_workers() == (len(names) or 3)


def test_one_chosen_gpu_serves_one_worker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpus_module, "DEVICES", devices(tmp_path, 8))
    monkeypatch.setenv(CUDA, "5,7")
    monkeypatch.setenv("EMERGENCE_DEVICE", "cuda:1")
    with LocalProcesses() as pool:
        assert pool.n_workers == 1
        (facts,) = seen_by(pool, 1, tmp_path)
    assert (facts[CUDA], facts["EMERGENCE_DEVICE"]) == ("7", "cuda")
    monkeypatch.setenv("EMERGENCE_DEVICE", "cuda:2")
    with pytest.raises(EmergenceError, match="may use 2 GPUs"):
        LocalProcesses()


def test_no_gpu_is_used_when_none_is_wanted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpus_module, "DEVICES", devices(tmp_path, 8))
    monkeypatch.setenv("EMERGENCE_DEVICE", "cpu")
    with LocalProcesses(2) as pool:
        assert pool.n_accelerators == 0
        assert all(one[CUDA] is None for one in seen_by(pool, 2, tmp_path))


def test_a_spread_model_sees_all_gpus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpus_module, "DEVICES", devices(tmp_path, 4))
    monkeypatch.setenv("EMERGENCE_DEVICE", "spread")
    with LocalProcesses() as pool:
        assert (pool.n_workers, pool.n_accelerators) == (1, 4)
        assert [one[CUDA] for one in seen_by(pool, 1, tmp_path)] == [None]


@pytest.mark.parametrize(("device", "variable"), [("dxg", CUDA), ("kfd", HIP)])
def test_where_no_file_is_a_gpu_torch_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, device: str, variable: str
) -> None:
    monkeypatch.setattr(gpus_module, "DEVICES", devices(tmp_path, 0, device))
    assert granted_gpus().names == (), "this machine has none, and torch says so"
    monkeypatch.setattr(gpus_module, "_counted_by_torch", lambda _: 3)
    assert granted_gpus() == Gpus(variable, ("0", "1", "2"))
    monkeypatch.setenv(variable, "4,2,1")
    assert granted_gpus() == Gpus(variable, ("4", "2", "1"))


def test_a_process_too_many_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(CUDA, "")
    hold = "from pathlib import Path; from resources.compute.gpus import Gpus, hold_gpu; import sys, time\n"
    hold += (
        f"hold_gpu(Path({str(tmp_path)!r}), Gpus('X_VISIBLE', ('0',)), 1); print('held', flush=True); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", hold], stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"
        with pytest.raises(RuntimeError, match="all 1 workers"):
            hold_gpu(tmp_path, Gpus("X_VISIBLE", ("0",)), 1)
        other.kill()


def test_a_worker_has_a_share_of_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("resources.compute.workers.available_memory", lambda: 1600)
    monkeypatch.setenv("EMERGENCE_WORKERS", "4")
    assert memory_share() == 200
    monkeypatch.setenv(MEMORY_VARIABLE, "1000")
    assert memory_share() == 500
    for wrong in ("", "0", "2GB"):
        monkeypatch.setenv(MEMORY_VARIABLE, wrong)
        with pytest.raises(EmergenceError, match=MEMORY_VARIABLE):
            memory_share()
