"""Code that runs inside a worker process of a Ray cluster. Imports no Ray: a worker is handed what it needs of it."""

import importlib
import os
import socket
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from resources.compute.code_digest import differences, installed
from resources.compute.machine import available_memory
from resources.compute.task import Task
from resources.compute.worker_process import can_be_sent
from resources.compute.workers import MEMORY_VARIABLE
from resources.environment import made_for
from resources.errors import EmergenceError

TELL_SECONDS = 1.0
"""Time between two notes of the progress of a task."""


class Progress(Protocol):
    """Where the progress of tasks goes."""

    def __call__(self, label: str, done: int, total: int, note: str) -> None:
        """Send the last word of a task; must not wait."""
        ...


class Expected(NamedTuple):
    """What a worker must have to take part in a run."""

    installed: Mapping[str, str]
    """See `code_digest.installed`."""
    processor: Mapping[str, str] | None
    """Facts about the processor that decide the bits of a result; None: any."""
    data: str
    """Data folder."""
    probe: str
    """Name of a file that the driver has written into it."""


def processor() -> dict[str, str]:
    """Return the instruction set that torch selects."""
    import torch

    return {"instruction set": torch.backends.cpu.get_cpu_capability()}


def perform(task: Task, expected: Expected, slots: int, progress: Progress) -> tuple[Any, Exception | None]:
    """Run a task; return its result and no error, or no result and the error.

    Args:
        task: the task.
        expected: what this worker must have.
        slots: number of such tasks that run on this machine at once.
        progress: where the progress goes.
    """
    host, told = socket.gethostname(), 0.0
    os.environ[MEMORY_VARIABLE] = str(max(1, available_memory() // slots))

    def report(done: int, total: int, note: str = "") -> None:
        nonlocal told
        if time.monotonic() - told >= TELL_SECONDS or done == total:
            told = time.monotonic()
            progress(task.label, done, total, note)

    try:
        refuse_other_worker(expected, host)
        module, _, name = task.function.partition(":")
        with made_for(task.run_metadata):
            return getattr(importlib.import_module(module), name)(**task.arguments, report=report), None
    except Exception as error:
        if can_be_sent(error):
            return None, error
        return None, RuntimeError(f"{type(error).__name__}: {error}")


def refuse_other_worker(expected: Expected, host: str) -> None:
    """Refuse to work in another environment than the driver's.

    Raises:
        EmergenceError: other code, other libraries, another processor, or a machine that does not see the data folder.
    """
    if found := differences(expected.installed, installed()):
        raise EmergenceError(
            f"{host} has another environment: {found}.",
            remedy="install the same version on all machines, from the locks, then start Ray there again",
        )
    # The folder is read, because a network file system may go on for a minute saying that a new file is not there.
    if not (Path(expected.data).is_dir() and expected.probe in [path.name for path in Path(expected.data).iterdir()]):
        raise EmergenceError(
            f"{host} does not see the data folder.",
            where=expected.data,
            remedy="put the data on a file system that all machines mount under this path (--data)",
        )
    if expected.processor and (other := differences(expected.processor, processor())):
        raise EmergenceError(
            f"{host} has another processor: {other}. Results would differ in their last bits.",
            remedy="set EMERGENCE_MIXED=1 to allow that, EMERGENCE_PORTABLE=1 to compute with AVX2 everywhere, or "
            "take that machine out of the cluster",
        )
