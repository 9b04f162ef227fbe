"""Time several jobs in alternating rounds, so that other load on the machine affects all of them alike."""

import json
import os
import resource
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from resources.compute.worker_environment import WORKER_ENVIRONMENT

Table = dict[str, dict[str, float | str]]
"""Row → column → value, printed as a table of its own."""
Job = Callable[[], object]
ROUNDS = 5


class Seconds(NamedTuple):
    """Duration of a job."""

    cpu: float
    """CPU seconds of all threads of a process: comparable on a machine with other load."""
    wall: float


class Costs:
    """Seconds of each job, one entry per round."""

    def __init__(self) -> None:
        self.seconds: dict[str, list[Seconds]] = {}

    def cpu(self, job: str) -> float:
        """Median CPU seconds."""
        return statistics.median(seconds.cpu for seconds in self.seconds[job])

    def wall(self, job: str) -> float:
        """Median wall-clock seconds."""
        return statistics.median(seconds.wall for seconds in self.seconds[job])

    def speed(self, job: str, against: str) -> float:
        """Speed of a job relative to another: median over the rounds of the ratio of CPU seconds."""
        return statistics.median(self.speeds(job, against))

    def speeds(self, job: str, against: str) -> list[float]:
        """Ratio of CPU seconds in each round."""
        return [other.cpu / own.cpu for other, own in self._pairs(against, job)]

    def wall_ratio(self, job: str, against: str) -> float:
        """Median over the rounds of the wall-clock seconds, relative to another job."""
        return statistics.median(own.wall / other.wall for other, own in self._pairs(against, job))

    def rates(self, job: str, n_bytes: int) -> dict[str, float | str]:
        """Columns of a table: gigabytes per CPU second and per wall-clock second."""
        return {"GB/CPU-s": n_bytes / self.cpu(job) / 1e9, "GB/s wall": n_bytes / self.wall(job) / 1e9}

    def _pairs(self, one: str, other: str) -> Iterator[tuple[Seconds, Seconds]]:
        return zip(self.seconds[one], self.seconds[other], strict=True)


def measure_alternating(jobs: Mapping[str, Job], rounds: int = ROUNDS, between: Job = lambda: None) -> Costs:
    """Run every job once uncounted, then all jobs in each round, in alternating order.

    Args:
        jobs: name to job. `Seconds` that a job returns count in place of the time measured here.
        rounds: number of counted rounds.
        between: clean-up after each job, not measured.
    """
    costs = Costs()
    for number in range(rounds + 1):
        for name in list(jobs)[:: 1 if number % 2 else -1]:
            cpu, wall = _cpu_seconds(), time.perf_counter()
            result = jobs[name]()
            measured = Seconds(_cpu_seconds() - cpu, time.perf_counter() - wall)
            between()
            if number:
                costs.seconds.setdefault(name, []).append(result if isinstance(result, Seconds) else measured)
    return costs


def measure_in_worker(function: str) -> Any:
    """Call `package.module:function` in a process with the environment of the project's workers."""
    module, _, name = function.partition(":")
    script = f"import json; from {module} import {name}; print(json.dumps({name}()))"
    environment = {**os.environ, **WORKER_ENVIRONMENT}
    finished = subprocess.run(
        [sys.executable, "-c", script], env=environment, check=True, stdout=subprocess.PIPE, text=True
    )
    return json.loads(finished.stdout.splitlines()[-1])


def _cpu_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


@contextmanager
def peak_anonymous_bytes() -> Iterator[list[int]]:
    """Yield a list; afterwards its one value is the largest growth of anonymous memory, sampled every 2 ms."""
    start, peak, over = _anonymous_bytes(), [0], threading.Event()

    def watch() -> None:
        while not over.wait(0.002):
            peak[0] = max(peak[0], _anonymous_bytes() - start)

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield peak
    finally:
        over.set()
        watcher.join()


def _anonymous_bytes() -> int:
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("RssAnon"))
