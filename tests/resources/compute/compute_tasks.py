"""Tasks for tests of `resources.compute.local_processes`; workers import this module by name."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from resources.environment import environment
from resources.errors import EmergenceError

IMPORTED = time.monotonic_ns()
"""Time at which this process imported the module."""


class Unsendable(Exception):
    """An exception that can be pickled but not unpickled, as in some HTTP libraries."""

    def __init__(self, message: str, *, response: int):
        super().__init__(message)
        self.response = response


def double(report: Any, number: int) -> int:
    """Double the number."""
    return 2 * number


def slowly_double(report: Any, number: int) -> int:
    """Double the number after a pause."""
    time.sleep(0.05)
    return 2 * number


def worker(report: Any, seconds: float = 0.05) -> dict[str, Any]:
    """Describe the worker after a pause, so that the other worker is needed too."""
    time.sleep(seconds)
    return {"pid": os.getpid(), "imported": IMPORTED, "environment": dict(os.environ)}


def describe(report: Any) -> dict[str, Any]:
    """Return the environment that a record would contain."""
    return environment()


def fail(report: Any, kind: str) -> None:
    """Raise an exception of one kind."""
    if kind == "unsendable":
        raise Unsendable("no answer", response=404)
    if kind == "emergence":
        raise EmergenceError("The disk is full.", where="/data/x.h5", remedy="free some space")
    raise ValueError("odd")


def unsendable_result(report: Any) -> Any:
    """Return an object that cannot be pickled."""
    return lambda: None


def tell(report: Any, steps: int, note: str = "note") -> int:
    """Report progress."""
    for step in range(steps):
        report(step + 1, steps, note)
    return steps


def tell_for_ever(report: Any) -> None:
    """Report progress without a pause."""
    while True:
        report(1, 2, "busy")


def die_once(report: Any, marker: str) -> str:
    """Kill this worker at the first call; return "alive" afterwards."""
    path = Path(marker)
    if not path.exists():
        path.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return "alive"


def die(report: Any, counter: str) -> None:
    """Count the call and kill this worker."""
    with Path(counter).open("a") as file:
        file.write("x")
    os.kill(os.getpid(), signal.SIGKILL)


def start_and_stay(report: Any, folder: str) -> None:
    """Create a file named by the process id and keep running."""
    (Path(folder) / str(os.getpid())).touch()
    time.sleep(60)


def count_threads(report: Any) -> int:
    """Return the size of the thread pool of polars in this worker."""
    import polars as pl

    return pl.thread_pool_size()


def is_alive(pid: int) -> bool:
    """Return whether a process runs; a zombie does not."""
    state = subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True, check=False).stdout
    return bool(state.strip()) and not state.startswith("Z")


def disk_error(number: int, report: Any) -> None:
    """Fail like a file that the operating system refuses."""
    raise OSError(number, os.strerror(number), "/some/file")


def bring(report: Any, file: str) -> None:
    """Bring an input: a file with the process id; without a folder it fails."""
    report(1, 1, "brought")
    Path(file).write_text(str(os.getpid()))


def take(report: Any, file: str) -> bool:
    """Return whether the input is there, after a pause."""
    found = Path(file).exists()
    time.sleep(0.2)
    return found


def meet(report: Any, folder: str, n: int) -> dict[str, Any]:
    """Wait until `n` workers are here, and tell what this one sees."""
    (Path(folder) / f"here-{os.getpid()}").touch()
    deadline = time.monotonic() + 120
    while len(list(Path(folder).glob("here-*"))) < n:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    seen = {name: os.environ.get(name) for name in ("CUDA_VISIBLE_DEVICES", "EMERGENCE_DEVICE")}
    return {"pid": os.getpid(), "torch": "torch" in sys.modules, **seen}


def slow_append(report: Any, file: str, seconds: float) -> str:
    """Count the beginnings of this task in a file, and return its number after a pause."""
    with Path(file).open("a") as stream:
        stream.write("x")
    time.sleep(seconds)
    return file.rpartition("-")[2]
