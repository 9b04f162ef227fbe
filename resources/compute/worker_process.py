"""Code that runs inside a worker process."""

import contextlib
import importlib
import os
import pickle
import select
import signal
import threading
from collections.abc import Callable
from functools import partial
from multiprocessing.connection import Connection
from typing import Any

from resources.compute.fetching import fetch_in_background
from resources.compute.task import Fetch, Task
from resources.environment import made_for

_worker_progress: Connection | None = None


def begin_worker(leash: Connection, progress: Connection, hold: Callable[[], None] | None = None) -> None:
    """Prepare a worker process: it ignores Ctrl-C, and exits with its parent.

    Args:
        leash: pipe that the parent closes or that ends with it.
        progress: pipe for progress.
        hold: takes a GPU for this process, before anything imports torch.
    """
    global _worker_progress
    _worker_progress = progress
    if hold is not None:
        hold()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole process group; the parent handles it

    def leave_with_parent() -> None:
        with contextlib.suppress(EOFError, OSError):
            leash.recv()
        os._exit(1)

    threading.Thread(target=leave_with_parent, daemon=True).start()


def call_task(task: Task, later: Task | None = None) -> Any:
    """Run a task and return its result; progress goes to the parent.

    Args:
        task: the task.
        later: a later task whose input is fetched meanwhile.
    """
    if later is not None and later.fetch is not None:
        fetch_in_background(partial(_call, later.fetch, later.label))
    try:
        with made_for(task.run_metadata):
            return _call(task, task.label)
    except Exception as error:
        if can_be_sent(error):
            raise
        raise RuntimeError(f"{type(error).__name__}: {error}") from error


def _call(work: Task | Fetch, label: str) -> Any:
    module, _, name = work.function.partition(":")

    def report(done: int, total: int, note: str = "") -> None:
        event = pickle.dumps((label, done, total, note))
        # Up to this length a write to a pipe is atomic, also with several writers.
        if _worker_progress is not None and len(event) <= select.PIPE_BUF - 8:
            _worker_progress.send_bytes(event)

    return getattr(importlib.import_module(module), name)(**work.arguments, report=report)


def can_be_sent(error: Exception) -> bool:
    """Return whether an error can be pickled; otherwise the parent would take the worker for lost."""
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:
        return False
    return True
