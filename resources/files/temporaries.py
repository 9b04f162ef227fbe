"""Names of temporary files that no two writers share, and removal of those that no living process writes.

Several machines or containers may write into one folder, and process ids repeat among them: in a container every
process is number 1 or 7. A name therefore has the writer's machine and PID namespace, its process id, and a random end.
"""

import contextlib
import functools
import os
import re
import secrets
import shutil
import socket
import time
import uuid
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

ABANDONED_SECONDS = 24 * 3600.0
"""Age after which a temporary file of another machine counts as abandoned, if nothing was written to it since."""
_NAME = re.compile(r"^\..+\.[A-Za-z0-9-]*~(?P<machine>[0-9a-f]{8})~(?P<pid>\d+)~[0-9a-f]{8}\.tmp$", re.DOTALL)


def temporary_beside(path: Path) -> Path:
    """Return a new temporary path in the folder of `path`: `.NAME.HOST~MACHINE~PID~RANDOM.tmp`."""
    host = re.sub(r"[^A-Za-z0-9-]", "", socket.gethostname())[:24]
    return path.with_name(f".{path.name}.{host}~{machine_id()}~{os.getpid()}~{secrets.token_hex(4)}.tmp")


@functools.cache
def machine_id() -> str:
    """Return eight hexadecimal digits that stand for the running system and the PID namespace of this process.

    Process ids are compared with those of this process only where they are equal.
    """
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii")
        namespace = str(Path("/proc/self/ns/pid").readlink())
    except OSError:  # without /proc
        boot, namespace = str(uuid.getnode()), ""
    return sha256(f"{boot}{namespace}".encode()).hexdigest()[:8]


def is_abandoned(path: Path) -> bool:
    """Return whether a path has the name of a temporary file whose writer is gone.

    A writer of this machine is gone when its process has ended. Of a writer elsewhere nothing is known but the last
    write, which is then at least ABANDONED_SECONDS old.
    """
    match = _NAME.match(path.name)
    if match is None:
        return False
    if match["machine"] == machine_id():
        return not process_is_alive(int(match["pid"]))
    try:
        written = max(file.lstat().st_mtime for file in (path, *path.rglob("*")))
    except OSError:  # it is being renamed or removed
        return False
    return time.time() - written > ABANDONED_SECONDS


def sweep_temporaries(root: Path) -> int:
    """Delete abandoned temporary files and folders below a folder.

    Returns:
        Number of deleted files and folders.
    """
    return sum(remove_abandoned(path) for path in root.rglob(".*.tmp"))


def remove_abandoned(path: Path) -> bool:
    """Delete a temporary file or folder if its writer is gone; returns whether this process has deleted it."""
    if not is_abandoned(path):
        return False
    with contextlib.suppress(FileNotFoundError):  # another process was faster
        shutil.rmtree(path) if path.is_dir() else path.unlink()
        return True
    return False


def keep_superseded(path: Path) -> None:
    """Keep the content that is about to be replaced under a temporary name, until this process has ended.

    On a network file system whoever has mapped a replaced file would be killed (SIGBUS): the server forgets it.
    """
    with contextlib.suppress(OSError):  # there is none, or the file system has no hard links
        temporary_beside(path).hardlink_to(path)


def temporaries_of(path: Path) -> Iterator[Path]:
    """Yield the temporary files of all writers of `path`."""
    for found in path.parent.iterdir():
        if found.name.startswith(f".{path.name}.") and _NAME.match(found.name):
            yield found


def process_is_alive(pid: int) -> bool:
    """Return whether a process of this machine runs; a zombie process does not."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    with contextlib.suppress(OSError):  # without /proc the signal decides
        state = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0]
        return state != "Z"
    return True
