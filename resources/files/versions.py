"""What was read of a file, kept until another version of the file is there."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

T = TypeVar("T")
_read: dict[tuple[Any, Path], tuple[tuple[int, int, int], Any]] = {}


def per_version(path: Path, read: Callable[[Path], T]) -> T | None:
    """Call `read` once per version of a file, known by inode, size and time; None without a file.

    Files have to be replaced and never edited, as `atomic.py` does.
    """
    try:
        found = path.stat()
    except FileNotFoundError:
        return None
    version = (found.st_ino, found.st_size, found.st_mtime_ns)
    known = _read.get((read, path))
    if known is None or known[0] != version:
        known = _read[read, path] = (version, read(path))
    return known[1]
