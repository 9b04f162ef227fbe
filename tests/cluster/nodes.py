"""A Ray cluster of several nodes on this machine, each a group of processes that can be killed as a machine would."""

import contextlib
import os
import secrets
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]


def free_port() -> int:
    """Return a port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def processes_of(mark: str) -> list[int]:
    """Return the ids of processes whose environment contains a text."""
    found = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdecimal():
            with contextlib.suppress(OSError):
                if mark.encode() in (folder / "environ").read_bytes():
                    found.append(int(folder.name))
    return found


class Cluster:
    """A head without cores, and nodes with one core each."""

    def __init__(self) -> None:
        self.port = free_port()
        # Names of Unix sockets have 107 characters at most.
        self.folder = Path(tempfile.mkdtemp(prefix="ray", dir="/tmp"))
        self.environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith(("RAY_", "EMERGENCE_"))},
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN": secrets.token_hex(16),
            "RAY_USAGE_STATS_ENABLED": "0",
            "PYTHONPATH": str(ROOT),
        }
        self.marks: dict[str, str] = {}

    @property
    def address(self) -> str:
        """Address of the head."""
        return f"127.0.0.1:{self.port}"

    def start(self, name: str, *options: str, within: tuple[str, ...] = ()) -> None:
        """Start the head, or a node; `within` is a command that runs the command of the node."""
        mark = f"NODE_OF_TEST={secrets.token_hex(8)}"
        self.marks[name] = mark
        if name == "head":
            where = ["--head", f"--port={self.port}", "--num-cpus=0", "--include-dashboard=false"]
            where += [f"--temp-dir={self.folder}"]
        else:
            where = [f"--address={self.address}", "--num-cpus=1"]
        command = [sys.executable, "-m", "ray.scripts.scripts", "start", *where]
        command += ["--node-ip-address=127.0.0.1", "--object-store-memory=80000000", "--disable-usage-stats", *options]
        started = subprocess.run(
            [*within, *command],
            env=self.environment | dict([mark.split("=")]),
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )
        assert started.returncode == 0, started.stdout + started.stderr

    def kill(self, name: str) -> None:
        """Kill all processes of a node at once, as a power cut would."""
        for _ in range(3):  # those that were being started too
            for pid in processes_of(self.marks[name]):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            time.sleep(0.1)

    def close(self) -> None:
        """Kill all nodes."""
        for name in self.marks:
            self.kill(name)
        subprocess.run(["rm", "-rf", str(self.folder)], check=False)


@contextlib.contextmanager
def cluster(n_nodes: int) -> Iterator[Cluster]:
    """Start a head and nodes `node1`, `node2` …; all are killed at the end."""
    made = Cluster()
    try:
        made.start("head")
        for number in range(1, n_nodes + 1):
            made.start(f"node{number}")
        yield made
    finally:
        made.close()
