"""Bounded cache of downloaded checkpoints: the least recently used is evicted first, an entry in use never.

An entry is a folder `<key>/`, created atomically. The folder `<key>.partial/` holds an incomplete entry, which is
resumed after a kill. A reader holds a shared lock on `<key>.lock`; eviction requires the exclusive lock. Space is
reserved, and entries are completed and counted, under one lock: a listing during a rename shows an entry twice or not
at all.
"""

import contextlib
import fcntl
import os
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from resources.errors import EmergenceError
from resources.files.atomic import clear_disk_errors, sync
from resources.files.lease import leased
from resources.files.temporaries import remove_abandoned, temporary_beside

WAIT_SECONDS = 600.0
"""Timeout of the wait for free space while other checkpoints are in use."""
_EXPECTED = ".expected_bytes"


class Entry(NamedTuple):
    """One complete or partial folder of the cache."""

    key: str
    n_bytes: int
    last_used: float
    """Seconds since 1970."""
    whole: bool


class CheckpointCache:
    """A bounded folder of checkpoints, shared by all processes of this machine."""

    def __init__(self, root: Path, limit_bytes: int, wait_seconds: float = WAIT_SECONDS):
        """Read nothing yet."""
        self.root, self.limit_bytes, self.wait_seconds = root, limit_bytes, wait_seconds

    def contains(self, key: str) -> bool:
        """Return whether the cache holds the complete entry."""
        return (self.root / key).is_dir()

    @contextlib.contextmanager
    def hold(
        self, key: str, n_bytes: int, fill: Callable[[Path], None], wait_seconds: float | None = None
    ) -> Iterator[Path]:
        """Yield the folder of an entry, filled if it is missing; it is not evicted while the context is open.

        Args:
            key: key of the content.
            n_bytes: size of the complete entry.
            fill: completes a folder, resuming from its present files.
            wait_seconds: timeout of the wait for free space; by default that of the cache.

        Raises:
            EmergenceError: the entry does not fit, or `fill` fails; the partial folder is kept.
        """
        with clear_disk_errors(self.root):
            self.root.mkdir(parents=True, exist_ok=True)
        entry = self.root / key
        with self._lock(key, fcntl.LOCK_SH):
            with clear_disk_errors(self.root), leased(self.root / f"{key}.filling"):
                if not entry.is_dir():
                    self._fill(key, n_bytes, fill, self.wait_seconds if wait_seconds is None else wait_seconds)
                os.utime(entry)
            yield entry

    def _fill(self, key: str, n_bytes: int, fill: Callable[[Path], None], wait_seconds: float) -> None:
        partial = self.root / f"{key}.partial"
        self._reserve(partial, n_bytes, wait_seconds)
        fill(partial)
        (partial / _EXPECTED).unlink()
        for file in partial.iterdir():
            sync(file)
        sync(partial)
        with self._changes():
            partial.rename(self.root / key)
        sync(self.root)

    def entries(self) -> list[Entry]:
        """List the entries of the cache, least recently used first."""
        if not self.root.is_dir():
            return []
        # Nobody changes a folder that this user may only read, and a lock cannot be made there.
        with self._changes() if os.access(self.root, os.W_OK) else contextlib.nullcontext():
            return self._listed()

    def _listed(self) -> list[Entry]:
        found = []
        for path in self.root.iterdir():
            with contextlib.suppress(FileNotFoundError):  # removed meanwhile
                if path.is_dir() and not path.name.startswith("."):
                    n_bytes = sum(file.stat().st_size for file in path.iterdir() if file.is_file())
                    whole = not path.name.endswith(".partial")
                    if not whole:
                        n_bytes = max(n_bytes, _expected(path))
                    found.append(Entry(path.name.removesuffix(".partial"), n_bytes, path.stat().st_mtime, whole))
        return sorted(found, key=lambda entry: entry.last_used)

    def evict(self, key: str) -> int:
        """Remove an entry that is not in use.

        Returns:
            Bytes freed; 0 if the entry is missing or in use.
        """
        if not self.root.is_dir():
            return 0
        freed = 0
        with contextlib.suppress(BlockingIOError), self._lock(key, fcntl.LOCK_EX | fcntl.LOCK_NB):
            for path in (self.root / key, self.root / f"{key}.partial"):
                if path.is_dir():
                    freed += sum(file.stat().st_size for file in path.iterdir() if file.is_file())
                    removed = temporary_beside(path)
                    path.rename(removed)  # atomic, so that no half-removed entry looks complete
                    shutil.rmtree(removed)
        return freed

    def _reserve(self, partial: Path, n_bytes: int, wait_seconds: float) -> None:
        """Reserve space for a checkpoint, evicting the least recently used entries.

        Raises:
            EmergenceError: the checkpoint is larger than the cache, or other entries are in use for too long.
        """
        remedy = "raise family.cache_gb in the study file"
        if n_bytes > self.limit_bytes:
            what = (
                f"A checkpoint of {n_bytes / 1e9:.2f} GB does not fit into a cache of {self.limit_bytes / 1e9:.2f} GB."
            )
            raise EmergenceError(what, where=self.root, remedy=remedy)
        began = time.monotonic()
        while True:
            with self._changes():
                self._sweep()
                entries = [entry for entry in self._listed() if entry.key != partial.name.removesuffix(".partial")]
                excess = sum(entry.n_bytes for entry in entries) + n_bytes - self.limit_bytes
                for entry in entries:
                    if excess > 0:
                        excess -= entry.n_bytes if self.evict(entry.key) else 0
                if excess <= 0:
                    partial.mkdir(exist_ok=True)
                    (partial / _EXPECTED).write_text(str(n_bytes))
                    return
            if time.monotonic() - began >= wait_seconds:
                what = f"No room for {n_bytes / 1e9:.3g} GB: {excess / 1e9:.3g} GB too much is in use."
                raise EmergenceError(what, where=self.root, remedy=remedy)
            time.sleep(min(1.0, wait_seconds / 10))

    def _changes(self) -> contextlib.AbstractContextManager[None]:
        return leased(self.root / "reserving.lock")

    def _sweep(self) -> None:
        """Delete the remains of evictions whose process was killed: they are no entries but take space."""
        for removed in self.root.glob(".*.tmp"):
            remove_abandoned(removed)

    @contextlib.contextmanager
    def _lock(self, key: str, how: int) -> Iterator[None]:
        # Open for reading too: where a network file system emulates flock, a shared lock needs that.
        with (self.root / f"{key}.lock").open("a+") as file:
            fcntl.flock(file, how)
            yield  # the lock is released when the file is closed, also by a kill


def _expected(partial: Path) -> int:
    try:
        return int((partial / _EXPECTED).read_text())
    except (OSError, ValueError):
        return 0
