"""Jobs measured in turns, so that whatever else the machine does falls on all of them; the caller says what one is."""

import json
import os
import resource
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from resources.compute.local_processes import WORKER_ENVIRONMENT

Table = dict[str, dict[str, float | str]]
"""Row → column → value, printed as a table of its own."""
Job = Callable[[], object]
ROUNDS = 5


class Costs:
    """What each job took in each round."""

    def __init__(self) -> None:
        self.cpu_seconds: dict[str, list[float]] = {}
        """Of all threads of this process: what to trust on a machine that others use too."""
        self.wall_seconds: dict[str, list[float]] = {}

    def cpu(self, job: str) -> float:
        """Median CPU seconds."""
        return statistics.median(self.cpu_seconds[job])

    def wall(self, job: str) -> float:
        """Median seconds on the clock."""
        return statistics.median(self.wall_seconds[job])

    def speed(self, job: str, against: str) -> float:
        """How fast a job is for another's speed of 1: median of the ratios within rounds, by CPU seconds."""
        return statistics.median(self.speeds(job, against))

    def speeds(self, job: str, against: str) -> list[float]:
        """The ratio of each round."""
        pairs = zip(self.cpu_seconds[against], self.cpu_seconds[job], strict=True)
        return [other / own for other, own in pairs]

    def rates(self, job: str, n_bytes: int) -> dict[str, float | str]:
        """Columns of a table."""
        return {"GB/CPU-s": n_bytes / self.cpu(job) / 1e9, "GB/s wall": n_bytes / self.wall(job) / 1e9}


def measured_in_turns(jobs: Mapping[str, Job], rounds: int = ROUNDS, between: Job = lambda: None) -> Costs:
    """Run every job once without counting it, then all of them in turn, forwards and backwards by turns.

    Args:
        jobs: Name to what is measured.
        rounds: How often each is measured.
        between: Tidies up after each job, unmeasured.
    """
    costs = Costs()
    for name, counts in _turns(jobs, rounds):
        cpu, wall = _cpu_seconds(), time.perf_counter()
        jobs[name]()
        cpu, wall = _cpu_seconds() - cpu, time.perf_counter() - wall
        between()
        if counts:
            costs.cpu_seconds.setdefault(name, []).append(cpu)
            costs.wall_seconds.setdefault(name, []).append(wall)
    return costs


def told_in_turns(jobs: Mapping[str, Callable[[], float]], rounds: int = ROUNDS) -> Costs:
    """As `measured_in_turns`, of jobs that say themselves what CPU seconds count."""
    costs = Costs()
    for name, counts in _turns(jobs, rounds):
        seconds = jobs[name]()
        if counts:
            costs.cpu_seconds.setdefault(name, []).append(seconds)
    return costs


def _turns(names: Iterable[str], rounds: int) -> Iterator[tuple[str, bool]]:
    """Whose turn it is, and whether that counts."""
    for number in range(rounds + 1):
        for name in list(names)[:: 1 if number % 2 else -1]:
            yield name, number > 0


def measured_by_a_worker(function: str, *arguments: object) -> Any:
    """What `package.module:function` returns in a process that has the environment of the project's workers.

    Args:
        function: By name.
        arguments: Of it: numbers, texts, tuples of them.
    """
    module, _, name = function.partition(":")
    given = ", ".join(repr(argument) for argument in arguments)
    script = f"import json; from {module} import {name}; print(json.dumps({name}({given})))"
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
    """A list that holds, afterwards, by how much memory that is not file pages grew at most; looked at every 2 ms."""
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
