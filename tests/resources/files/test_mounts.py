"""The file system of a path is that of the mount below which it lies."""

import threading
from pathlib import Path

import pytest

from resources.files import mounts
from resources.files.mounts import file_system, is_on_network

TABLE = """\
27 1 254:0 / / rw,relatime - ext4 /dev/vda rw
28 27 0:40 / /home rw - nfs4 server:/home rw
29 28 0:41 / /home/me/fast rw - xfs /dev/vdb rw
30 27 0:42 / /lustre rw shared:1 master:2 - lustre mds@tcp:/l rw
31 27 0:43 / /with\\040blank rw - fuse.glusterfs server:/v rw
32 27 0:44 / /mnt/ssd rw - fuse.mergerfs a:b rw
33 27 0:45 / /mnt/remote rw - fuse.sshfs host: rw
34 27 0:46 / /over rw - nfs server:/o rw
35 34 0:47 / /over rw - tmpfs tmpfs rw
broken
"""


@pytest.mark.parametrize(
    ("path", "kind", "network"),
    [
        ("/data", "ext4", False),
        ("/home/me/study", "nfs4", True),
        ("/homes", "ext4", False),
        ("/home/me/fast/study", "xfs", False),
        ("/lustre/x", "lustre", True),
        ("/with blank/x", "fuse.glusterfs", True),
        ("/mnt/ssd/x", "fuse.mergerfs", False),
        ("/mnt/remote/x", "fuse.sshfs", True),
        ("/over/x", "tmpfs", False),
    ],
)
def test_mounts_are_told_apart(tmp_path: Path, monkeypatch, path: str, kind: str, network: bool) -> None:
    table = tmp_path / "mountinfo"
    table.write_text(TABLE)
    monkeypatch.setattr(mounts, "MOUNTS", table)
    assert file_system(Path(path)) == kind
    assert is_on_network(Path(path)) == network


def test_the_disk_of_this_machine_has_a_kind(tmp_path: Path) -> None:
    assert file_system(tmp_path)
    assert file_system(Path("/proc/self")) == "proc"


def test_a_system_that_tells_no_mounts_counts_as_local(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(mounts, "MOUNTS", tmp_path / "none")
    assert not is_on_network(tmp_path)


def test_a_file_that_shows_late_is_waited_for_on_a_network_only(tmp_path: Path, monkeypatch) -> None:
    late = tmp_path / "new" / "late.json"
    assert not mounts.look_again(late, 60)  # a local disk: at once
    monkeypatch.setattr(mounts, "is_on_network", lambda _: True)

    def write() -> None:
        late.parent.mkdir()
        late.touch()

    threading.Timer(0.3, write).start()
    assert mounts.look_again(late, 60)
    assert not mounts.look_again(tmp_path / "never", 0.1)
