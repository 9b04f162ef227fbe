"""A process that is killed while it replaces a file or a folder."""

import os
import subprocess
import sys
from pathlib import Path

from resources.files.temporaries import temporary_beside

PROGRAM = """
import os, signal, sys
from pathlib import Path
from resources.files.atomic import replacing_file, replacing_folder
replacing = {"file": replacing_file, "folder": replacing_folder}[sys.argv[1]]
with replacing(Path(sys.argv[2])) as temporary:
    (temporary / "a" if sys.argv[1] == "folder" else temporary).write_text("half")
    os.kill(os.getpid(), signal.SIGKILL)
"""


def kill_a_writer(kind: str, target: Path) -> None:
    """Start to replace a file or folder, and kill the process halfway."""
    killed = subprocess.run([sys.executable, "-c", PROGRAM, kind, str(target)], check=False)
    assert killed.returncode == -9


def named_by(path: Path, pid: int) -> Path:
    """Return a temporary path beside `path` with the name that another process of this machine would choose."""
    own = temporary_beside(path)
    return own.with_name(own.name.replace(f"~{os.getpid()}~", f"~{pid}~"))
