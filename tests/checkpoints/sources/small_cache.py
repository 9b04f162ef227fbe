"""Entries of a cache of 1,000 bytes; for the tests of this folder."""

from collections.abc import Callable
from pathlib import Path

from emergence_assets.checkpoints.sources.cache import CheckpointCache


def filling(n_bytes: int) -> Callable[[Path], None]:
    """Fill a folder with one file."""

    def fill(folder: Path) -> None:
        (folder / "weights").write_bytes(b"x" * n_bytes)

    return fill


def never(folder: Path) -> None:
    """Fail, because the entry exists already."""
    raise AssertionError(f"{folder} is filled again")


def put(cache: CheckpointCache, key: str, n_bytes: int) -> None:
    """Use an entry for a moment."""
    with cache.hold(key, n_bytes, filling(n_bytes)):
        pass


def keys(cache: CheckpointCache) -> list[str]:
    """List complete entries, least recently used first."""
    return [entry.key for entry in cache.entries() if entry.whole]
