"""Fetch inputs of later work in a thread of this process, while the process or its workers compute."""

import logging
import threading
from collections.abc import Callable
from queue import SimpleQueue

_waiting: SimpleQueue[Callable[[], object]] = SimpleQueue()
_lock = threading.Lock()
_thread: threading.Thread | None = None


def fetch_in_background(call: Callable[[], object]) -> None:
    """Make a call in the fetching thread of this process, after the calls before it, and return at once.

    A failed call is forgotten: the task that needs the input fetches it again, and its error is shown. The thread ends
    with the process, in the middle of a fetch if necessary.
    """
    global _thread
    _waiting.put(call)
    with _lock:
        if _thread is None or not _thread.is_alive():  # a forked process has no threads of its parent
            _thread = threading.Thread(target=_fetch_all, name="fetching", daemon=True)
            _thread.start()


def _fetch_all() -> None:
    while True:
        call = _waiting.get()
        try:
            call()
        except Exception:
            logging.getLogger(__name__).debug("an input was not fetched ahead of its task", exc_info=True)
