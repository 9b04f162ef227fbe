"""One run at a time works on a data folder, and finds it and leaves it without what killed processes left."""

import contextlib
import os
import socket
from collections.abc import Iterator
from pathlib import Path

from filelock import FileLock, Timeout

from resources.errors import EmergenceError
from resources.files.atomic import sweep_temporaries


@contextlib.contextmanager
def clean_temporaries(root: Path) -> Iterator[None]:
    """Clear away what killed processes left: before, and after, since a killed run's workers outlive it by a moment."""
    sweep_temporaries(root)
    yield
    sweep_temporaries(root)


@contextlib.contextmanager
def exclusive_run(path: Path) -> Iterator[None]:
    """Hold the lock of a study.

    Raises:
        EmergenceError: another process holds it; names that process.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(path)
    holder = path.with_suffix(".holder")
    try:
        lock.acquire(blocking=False)
    except Timeout:
        who = holder.read_text() if holder.exists() else "another process"
        raise EmergenceError(
            f"Another run is working on this data: {who}.",
            where=path,
            remedy="wait for it or stop it, or give another folder with --data",
        ) from None
    try:
        holder.write_text(f"process {os.getpid()} on {socket.gethostname()}")
        yield
    finally:
        holder.unlink(missing_ok=True)
        lock.release()
