"""Kind of the file system that a path is on, and a second look where the first may be late."""

import os
import re
import time
from pathlib import Path

MOUNTS = Path("/proc/self/mountinfo")
NETWORK = {
    "afs",
    "beegfs",
    "ceph",
    "cifs",
    "glusterfs",
    "gpfs",
    "lustre",
    "nfs",
    "nfs4",
    "panfs",
    "pvfs2",
    "smb3",
    "smbfs",
    "wekafs",
}
"""File systems that several machines may write to at once."""
LATE_SECONDS = 90.0
"""Time after which every machine sees a new file: NFS keeps what it knows of a folder for 60 s (`acdirmax`)."""
LOCAL_FUSE = {"fuse.ext2", "fuse.ext4", "fuse.ntfs", "fuse.ntfs-3g", "fuse.fuse-overlayfs", "fuse.mergerfs"}
"""File systems of user space on a local disk; any other may be a network's."""


def file_system(path: Path) -> str:
    """Return the type of the file system of a path, such as `ext4` or `nfs4`; empty if the system does not tell.

    The path need not exist.
    """
    where = Path(os.path.realpath(path))
    try:
        lines = MOUNTS.read_text(encoding="utf-8", errors="surrogateescape").splitlines()
    except OSError:
        return ""
    found, longest = "", -1
    for line in lines:
        mount, _, about = line.partition(" - ")
        fields, kind = mount.split(" "), about.split(" ")[0]
        if len(fields) < 5:
            continue
        point = Path(re.sub(r"\\([0-7]{3})", lambda code: chr(int(code[1], 8)), fields[4]))
        # The last of several mounts of one folder hides the others.
        if where.is_relative_to(point) and len(point.parts) >= longest:
            found, longest = kind, len(point.parts)
    return found


def is_on_network(path: Path) -> bool:
    """Return whether other machines may write to the file system of a path."""
    kind = file_system(path)
    return kind in NETWORK or (kind.startswith("fuse.") and kind not in LOCAL_FUSE)


def look_again(path: Path, seconds: float = LATE_SECONDS) -> bool:
    """Wait for a path that another machine has written to show here; returns whether it does.

    A network file system may go on for a minute saying that a new file is not there, unless its folder is read. On a
    local disk nobody waits.

    Args:
        path: file or folder that should exist.
        seconds: longest wait.
    """
    deadline = time.monotonic() + seconds
    while is_on_network(path.parent):
        try:
            if path.name in (found.name for found in path.parent.iterdir()):
                return True
        except OSError:  # the folder itself is new
            pass
        if time.monotonic() >= deadline:
            break
        time.sleep(1.0)
    return path.exists()
