"""Delivers Ctrl-C while Dagster is running.

Python drops an exception that is raised inside a finaliser or a weak reference's callback, and a signal may arrive just
there; Dagster's database layer has many of them.
"""

import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import dagster as dg

AGAIN_AFTER_SECONDS = 0.05
"""Long enough for the finaliser to be left, too short to be noticed."""
MAIN_THREAD = threading.main_thread().ident or 0
"""Only a signal to the thread that waits ends its waiting."""


@contextmanager
def interruptions_kept() -> Iterator[None]:
    """Send the signal again when the exception that it raised was dropped."""
    before = sys.unraisablehook

    def hook(dropped: "sys.UnraisableHookArgs") -> None:
        if issubclass(dropped.exc_type, KeyboardInterrupt | dg.DagsterExecutionInterruptedError):
            again = threading.Timer(AGAIN_AFTER_SECONDS, signal.pthread_kill, (MAIN_THREAD, signal.SIGINT))
            again.daemon = True
            again.start()
        else:
            before(dropped)

    sys.unraisablehook = hook
    try:
        yield
    finally:
        sys.unraisablehook = before
