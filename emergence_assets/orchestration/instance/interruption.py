"""Delivery of Ctrl-C while Dagster is running.

Python drops an exception that is raised inside a finaliser or a callback of a weak reference. Dagster's database layer
has many of these, and a signal may arrive in any of them.
"""

import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import dagster as dg

AGAIN_AFTER_SECONDS = 0.05
"""Long enough for the finaliser to end, too short to be noticed."""
MAIN_THREAD = threading.main_thread().ident or 0
"""Thread that waits for the run; only a signal to this thread ends the wait."""


@contextmanager
def interruptions_kept() -> Iterator[None]:
    """Send the interrupt signal again when Python dropped its exception."""
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
