"""Lock that allows one run at a time on a data folder, and removal of temporary files of killed processes."""

import contextlib
import os
import socket
from collections.abc import Iterator
from pathlib import Path

from filelock import FileLock, Timeout

from resources.errors import EmergenceError
from resources.files.temporaries import sweep_temporaries


@contextlib.contextmanager
def clean_temporaries(root: Path) -> Iterator[None]:
    """Delete temporary files of killed processes before and after a run, since workers briefly outlive a killed run."""
    sweep_temporaries(root)
    yield
    sweep_temporaries(root)


@contextlib.contextmanager
def exclusive_run(path: Path) -> Iterator[None]:
    """Hold the lock of a study.

    Raises:
        EmergenceError: another process holds the lock; the message names the process.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(path)
    holder = path.with_suffix(".holder")
    try:
        lock.acquire(blocking=False)
    except Timeout:
        owner = holder.read_text() if holder.exists() else "another process"
        raise EmergenceError(
            f"Another run is working on this data: {owner}.",
            where=path,
            remedy="wait for it or stop it, or give another folder with --data",
        ) from None
    try:
        holder.write_text(f"process {os.getpid()} on {socket.gethostname()}")
        yield
    finally:
        holder.unlink(missing_ok=True)
        lock.release()
