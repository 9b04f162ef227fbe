"""Whether a checkpoint folder that another program writes is finished: by its names, a marker, and its last change."""

import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

UNFINISHED = (".tmp", ".partial", ".incomplete", ".part", ".crdownload")
"""Endings of the temporary files and folders of common programs."""
LONGEST_WATCH_SECONDS = 30.0
"""Longest wait for folders whose time of change lies in the future."""


class File(NamedTuple):
    """Directory entry of a file in a checkpoint folder."""

    name: str
    n_bytes: int
    modified_ns: int
    changed_ns: int
    """Unlike the time of modification, never copied from another file. The inode changes on some network mounts."""


_watched: dict[Path, tuple[Sequence[File], float]] = {}
"""Maps a folder that changed in the future to its files at the first look, and the monotonic time of that look."""


def watch(folders: Iterable[tuple[Path, Sequence[File]]], settle_seconds: float) -> None:
    """Remember the folders that, by the clock of their file server, changed in the future.

    Their age is not known, so that two looks are compared; for a new one this waits, once for all folders.
    """
    ahead = [(folder, files) for folder, files in folders if files and _age(files) < 0]
    new = [(folder, files) for folder, files in ahead if _watched.get(folder, ((), 0.0))[0] != files]
    _watched.update({folder: (files, time.monotonic()) for folder, files in new})
    if new and settle_seconds <= LONGEST_WATCH_SECONDS:
        time.sleep(settle_seconds)


def unfinished(folder: Path, files: Sequence[File], marker: str | None, settle_seconds: float) -> str:
    """Return why a folder counts as unfinished; empty if it is finished.

    Args:
        folder: the checkpoint folder.
        files: its files as they are now.
        marker: name of a file that a finished folder has; None without such a file.
        settle_seconds: time without a change after which a folder is finished.
    """
    temporary = [path.name for path in folder.iterdir() if path.name.endswith(UNFINISHED)]
    if temporary:
        return f"still being written: {temporary[0]}"
    if marker and not (folder / marker).exists():
        return f"it has no {marker} yet"
    age = _age(files) if files else settle_seconds
    # Without the age: the reason is part of a table, which should not change every second.
    if age < 0:
        before, looked = _watched.get(folder, ((), 0.0))
        if before != files or time.monotonic() - looked < settle_seconds:
            return f"by the clock of its file server it changes in the future; it was not watched {settle_seconds:g} s"
    elif age < settle_seconds:
        return f"still being written: it changed less than {settle_seconds:g} s ago"
    return ""


def _age(files: Sequence[File]) -> float:
    return time.time() - max(file.changed_ns for file in files) / 1e9
