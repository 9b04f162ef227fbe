"""Code that runs inside a worker process."""

import contextlib
import importlib
import os
import pickle
import select
import signal
import threading
from multiprocessing.connection import Connection
from typing import Any

from resources.compute.task import Task
from resources.environment import made_for

_worker_progress: Connection | None = None


def begin_worker(leash: Connection, progress: Connection) -> None:
    """Prepare a worker process: it ignores Ctrl-C, and exits with its parent."""
    global _worker_progress
    _worker_progress = progress
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole process group; the parent handles it

    def leave_with_parent() -> None:
        with contextlib.suppress(EOFError, OSError):
            leash.recv()
        os._exit(1)

    threading.Thread(target=leave_with_parent, daemon=True).start()


def call_task(task: Task) -> Any:
    """Run a task and return its result; progress goes to the parent."""
    module, _, name = task.function.partition(":")

    def report(done: int, total: int, note: str = "") -> None:
        event = pickle.dumps((task.label, done, total, note))
        # Up to this length a write to a pipe is atomic, also with several writers.
        if _worker_progress is not None and len(event) <= select.PIPE_BUF - 8:
            _worker_progress.send_bytes(event)

    try:
        with made_for(task.run_metadata):
            return getattr(importlib.import_module(module), name)(**task.arguments, report=report)
    except Exception as error:
        if _can_be_sent(error):
            raise
        raise RuntimeError(f"{type(error).__name__}: {error}") from error


def _can_be_sent(error: Exception) -> bool:
    """Return whether an error can be pickled; otherwise the parent would take the worker for lost."""
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:
        return False
    return True
