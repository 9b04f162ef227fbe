"""Two machines write into one folder: processes in PID namespaces of their own, with equal process ids."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from resources.files.temporaries import ABANDONED_SECONDS, sweep_temporaries

ALONE = ["unshare", "--pid", "--fork", "--mount-proc"]
WRITER = """
import sys
from pathlib import Path
from resources.files.atomic import replacing_file
with replacing_file(Path(sys.argv[1])) as temporary:
    temporary.write_text(sys.argv[2] * 100_000)
    print("written", flush=True)
    sys.stdin.readline()
"""
SWEEPER = """
import os, sys
from pathlib import Path
from resources.files.temporaries import sweep_temporaries
print(os.getpid(), sweep_temporaries(Path(sys.argv[1])))
"""
ROOT = Path(__file__).parents[3]
pytestmark = pytest.mark.skipif(
    subprocess.run([*ALONE, "true"], capture_output=True, check=False).returncode != 0,
    reason="this user may not make PID namespaces",
)


class Writer:
    """A process on a machine of its own that has written its temporary file and waits."""

    def __init__(self, path: Path, letter: str):
        self.process = subprocess.Popen(
            [*ALONE, sys.executable, "-c", WRITER, path, letter],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
        )
        assert self.process.stdout is not None
        assert self.process.stdout.readline() == "written\n"

    def finish(self) -> None:
        """Let the process publish its file."""
        self.process.communicate("\n")
        assert self.process.returncode == 0

    def kill(self) -> None:
        """End the process and its namespace."""
        subprocess.run(["pkill", "-KILL", "-P", str(self.process.pid)], check=True)
        self.process.communicate()


def test_writers_with_equal_process_ids_do_not_share_a_temporary_file(tmp_path: Path) -> None:
    path = tmp_path / "result"
    one, other = Writer(path, "a"), Writer(path, "b")
    names = sorted(file.name.split("~")[1:3] for file in tmp_path.iterdir())
    assert names[0][1] == names[1][1], "the process ids are equal"
    assert names[0][0] != names[1][0]
    one.finish()
    assert path.read_text() == "a" * 100_000
    other.finish()
    assert path.read_text() == "b" * 100_000
    assert list(tmp_path.iterdir()) == [path]


def test_nobody_sweeps_the_file_of_a_living_writer_elsewhere(tmp_path: Path) -> None:
    writer = Writer(tmp_path / "result", "a")
    command = [*ALONE, sys.executable, "-c", SWEEPER, tmp_path]
    swept = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT)
    assert swept.stdout == "1 0\n"
    assert sweep_temporaries(tmp_path) == 0
    writer.finish()
    assert (tmp_path / "result").exists()


def test_what_a_dead_writer_elsewhere_has_left_is_swept_when_it_is_old(tmp_path: Path) -> None:
    Writer(tmp_path / "result", "a").kill()
    (left,) = tmp_path.iterdir()
    assert sweep_temporaries(tmp_path) == 0
    old = time.time() - ABANDONED_SECONDS - 60
    os.utime(left, (old, old))
    assert sweep_temporaries(tmp_path) == 1
    assert list(tmp_path.iterdir()) == []
