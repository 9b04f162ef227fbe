"""Locks across processes and machines: they name their holder, and a holder that is gone does not keep them for ever.

The operating system frees a lock when its process ends. On a network file system that is not enough: the server may
keep the lock of a machine that is gone, and some mounts lock within one machine only. The holder therefore renews a
file beside the lock, and whoever waits looks at its age.
"""

import contextlib
import json
import math
import os
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from filelock import FileLock, Timeout

from resources.errors import EmergenceError
from resources.files.mounts import is_on_network
from resources.files.temporaries import machine_id, process_is_alive, temporary_beside

RENEW_SECONDS = 30.0
LOST_SECONDS = 300.0
"""Time without a renewal after which a holder counts as gone; ten renewals, because a file server may be slow."""
POLL_SECONDS, SETTLE_SECONDS = 0.2, 1.0
WAIT = "wait for it or end it, then run again"
_renewed: set[Path] = set()
_renewing = threading.Lock()
_thread: threading.Thread | None = None


class Holder(NamedTuple):
    """Who holds a lock."""

    host: str
    machine: str
    pid: int

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host}"


@contextlib.contextmanager
def leased(
    lock: Path, *, wait_seconds: float = math.inf, refusal: str = "The lock is held by", remedy: str = WAIT
) -> Iterator[None]:
    """Hold a lock during a block. A missing folder of the lock is made.

    A lock of another machine whose holder was not renewed for LOST_SECONDS is taken over.

    Args:
        lock: file of the lock; its holder is named in a file beside it.
        wait_seconds: timeout of the wait for a holder that is well.
        refusal: beginning of the sentence about a holder that is well.
        remedy: what to do about it.

    Raises:
        EmergenceError: the lock is held for longer than that, or its holder on this machine was not renewed for
            LOST_SECONDS because it is stopped; the message names the holder.
    """
    holder = holder_file(lock)
    own = FileLock(lock)
    deadline = time.monotonic() + wait_seconds
    while not _acquired(own, lock, holder):
        if time.monotonic() >= deadline:
            raise EmergenceError(f"{refusal} {_read(holder) or 'another process'}.", where=lock, remedy=remedy)
        time.sleep(POLL_SECONDS)
    me = Holder(socket.gethostname(), machine_id(), os.getpid())
    try:
        with contextlib.suppress(OSError):  # a full disk: the lock is held nevertheless
            holder.write_text(json.dumps(me._asdict()), encoding="utf-8")
        _renew(holder)
        yield
    finally:
        with _renewing:
            _renewed.discard(holder)
        if _read(holder) in (me, None):  # not if this machine stood still and was taken for gone
            holder.unlink(missing_ok=True)
        own.release()


def holder_file(lock: Path) -> Path:
    """Return the file that names the holder of a lock."""
    return lock.with_name(f"{lock.name}.holder")


def _acquired(own: FileLock, lock: Path, holder: Path) -> bool:
    """Try to take the lock, from a holder elsewhere that is gone if need be."""
    with contextlib.suppress(Timeout):
        own.acquire(blocking=False)
    known = _read(holder)
    is_elsewhere = known is not None and known.machine != machine_id()
    if own.is_locked:
        # A mount that locks within one machine only gives the lock to both; a local disk gives it to one.
        if is_elsewhere and is_on_network(lock) and _age(holder) < LOST_SECONDS:
            own.release()
        return own.is_locked
    if known is not None and _age(holder) >= LOST_SECONDS:
        if not is_elsewhere:
            if not process_is_alive(known.pid):
                return False  # whoever has the lock now is about to write its name over that of a killed process
            raise EmergenceError(
                f"A lock is held by {known}, which has not moved for {LOST_SECONDS / 60:.0f} minutes.",
                where=lock,
                remedy=f"let it go on (kill -CONT {known.pid}) or end it, then run again",
            )
        # The server keeps the lock of a machine that is gone: leave that file to it, and lock a new one. One process
        # at a time, and once: whoever comes next finds no old holder.
        with FileLock(lock.with_name(f"{lock.name}.takeover.lock")):
            time.sleep(SETTLE_SECONDS)  # whoever has just got the lock writes its name meanwhile
            if _read(holder) == known and _age(holder) >= LOST_SECONDS:
                lock.unlink(missing_ok=True)
                holder.unlink(missing_ok=True)
    return False


def _read(holder: Path) -> Holder | None:
    try:
        found = json.loads(holder.read_text(encoding="utf-8"))
        return Holder(str(found["host"]), str(found["machine"]), int(found["pid"]))
    except (OSError, ValueError, TypeError, KeyError):
        return None


def _age(holder: Path) -> float:
    """Return the seconds since the last renewal, by the clock of the file server."""
    probe = temporary_beside(holder)
    try:
        probe.touch()
        return probe.stat().st_mtime - holder.stat().st_mtime
    except FileNotFoundError:  # released meanwhile
        return 0.0
    finally:
        probe.unlink(missing_ok=True)


def _renew(holder: Path) -> None:
    """Renew a holder's file from now on, in the one thread of this process that does so."""
    global _thread
    with _renewing:
        _renewed.add(holder)
        if _thread is None or not _thread.is_alive():  # a forked process has no threads of its parent
            _thread = threading.Thread(target=_keep_renewing, name="renewing locks", daemon=True)
            _thread.start()


def _keep_renewing() -> None:
    while True:
        time.sleep(RENEW_SECONDS)
        with _renewing:
            for holder in _renewed:
                with contextlib.suppress(OSError):
                    os.utime(holder)
