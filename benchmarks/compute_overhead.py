"""Overhead of the two computes: tasks that do nothing, and the time to begin."""

import tempfile
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.rounds import Table
from resources.compute.local_processes import LocalProcesses
from resources.compute.machine import n_cores
from resources.compute.ray_cluster import RayCluster
from resources.compute.task import Task

N_TASKS, ROUNDS = 400, 3


def nothing(report: Any, number: int) -> int:
    """Return the number."""
    return number


def measure_compute_overhead() -> Table:
    """Run tasks that do nothing on local processes and on a Ray cluster of this machine, in alternating rounds."""
    tasks = [Task("benchmarks.compute_overhead:nothing", {"number": n}, f"task {n}") for n in range(N_TASKS)]
    with tempfile.TemporaryDirectory() as folder:
        ways: dict[str, Callable[[], AbstractContextManager[Any]]] = {
            "local processes": lambda: LocalProcesses(n_cores()),
            "Ray on this machine": lambda: RayCluster(Path(folder), "local"),
        }
        seconds: dict[str, list[tuple[float, float]]] = {way: [] for way in ways}
        for _ in range(ROUNDS):
            for way, opened in ways.items():
                began = time.perf_counter()
                with opened() as compute:
                    list(compute.run(tasks[:1]))
                    first = time.perf_counter()
                    assert len(list(compute.run(tasks))) == N_TASKS
                    seconds[way].append((first - began, time.perf_counter() - first))
    medians = {way: np.median(found, 0) for way, found in seconds.items()}
    return {
        way: {"until the first result, s": float(start), "tasks per s": N_TASKS / float(all_tasks)}
        for way, (start, all_tasks) in medians.items()
    }
