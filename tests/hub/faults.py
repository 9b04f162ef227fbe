"""Faults of a model hub, planted on purpose and used up request by request."""

import threading
import time
from dataclasses import dataclass


@dataclass
class Fault:
    """A fault of requests whose path contains a text, for a number of requests or until a time."""

    kind: str
    """`status`, `drop` or `corrupt`."""
    path_contains: str = ""
    method: str = ""
    """The only affected method, as in `GET`; empty: all."""
    count: float = float("inf")
    """Number of requests that the fault still affects."""
    until: float = float("inf")
    """Time of the monotonic clock at which the fault ends."""
    status: int = 500
    retry_after_seconds: int | None = None
    n_bytes: int = 0
    """Bytes of the body that are sent before the connection is dropped."""
    with_reset: bool = False
    """Whether the connection is reset instead of closed."""


class Faults:
    """All planted faults; safe to use from several threads."""

    def __init__(self):
        self._faults: list[Fault] = []
        self._lock = threading.Lock()

    def add(self, fault: Fault) -> None:
        """Plant a fault."""
        with self._lock:
            self._faults.append(fault)

    def clear(self) -> None:
        """Remove all faults."""
        with self._lock:
            self._faults.clear()

    def take(self, kind: str, method: str, path: str) -> Fault | None:
        """Return the first fault of a kind that affects a request, and count it as used."""
        with self._lock:
            for fault in self._faults:
                is_met = fault.kind == kind and fault.method in ("", method) and fault.path_contains in path
                if is_met and fault.count > 0 and time.monotonic() < fault.until:
                    fault.count -= 1
                    return fault
        return None
