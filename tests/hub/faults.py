"""What can go wrong at a model hub, planted on purpose and used up request by request."""

import threading
import time
from dataclasses import dataclass


@dataclass
class Fault:
    """Something that befalls requests whose path contains a text, as often or as long as it says."""

    kind: str
    """`status`, `drop` or `corrupt`."""
    path_contains: str = ""
    method: str = ""
    """The only one that it befalls, as in `GET`; empty: all."""
    count: float = float("inf")
    """How many requests are still to meet it."""
    until: float = float("inf")
    """Moment of the monotonic clock when it ends."""
    status: int = 500
    retry_after_seconds: int | None = None
    n_bytes: int = 0
    """Of the body that arrive before the connection is dropped."""
    with_reset: bool = False
    """Whether the connection is reset and not closed."""


class Faults:
    """All planted faults; safe to use from several threads."""

    def __init__(self):
        self._faults: list[Fault] = []
        self._lock = threading.Lock()

    def add(self, fault: Fault) -> None:
        """Plant one."""
        with self._lock:
            self._faults.append(fault)

    def clear(self) -> None:
        """Remove all."""
        with self._lock:
            self._faults.clear()

    def take(self, kind: str, method: str, path: str) -> Fault | None:
        """The first fault of a kind that a request meets; it counts as met."""
        with self._lock:
            for fault in self._faults:
                is_met = fault.kind == kind and fault.method in ("", method) and fault.path_contains in path
                if is_met and fault.count > 0 and time.monotonic() < fault.until:
                    fault.count -= 1
                    return fault
        return None
