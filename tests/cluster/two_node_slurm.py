"""A Slurm of two nodes on this machine: its real daemons, in a folder of their own."""

import contextlib
import os
import secrets
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from tests.cluster.nodes import free_port

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "scontrol")
SETTINGS = """\
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ports[0]}
AuthType=auth/munge
AuthInfo=socket={folder}/munge.sock
CredType=cred/munge
SlurmUser=root
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool.%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.%n.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
MpiDefault=none
ReturnToService=2
SlurmdParameters=config_overrides
JobAcctGatherType=jobacct_gather/none
SchedulerParameters=bf_interval=5
KillWait=5
NodeName=node1 NodeHostname={host} NodeAddr=127.0.0.1 Port={ports[1]} CPUs=1 RealMemory=4000
NodeName=node2 NodeHostname={host} NodeAddr=127.0.0.1 Port={ports[2]} CPUs=1 RealMemory=4000
PartitionName=all Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""


class Slurm:
    """The folder of the daemons, and commands that ask them."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.environment = os.environ | {"SLURM_CONF": str(folder / "slurm.conf")}
        self.daemons: list[subprocess.Popen[bytes]] = []

    def start(self) -> None:
        """Start munge, the controller and two nodes."""
        (self.folder / "munge.key").write_bytes(secrets.token_bytes(128))
        (self.folder / "munge.key").chmod(0o400)
        (self.folder / "state").mkdir()
        host = os.uname().nodename
        ports = [free_port() for _ in range(3)]
        settings = SETTINGS.format(host=host, folder=self.folder, ports=ports)
        (self.folder / "slurm.conf").write_text(settings)
        files = {"socket": "munge.sock", "key-file": "munge.key", "pid-file": "munge.pid", "log-file": "munge.log"}
        files["seed-file"] = "munge.seed"
        munge = [
            "munged",
            "--foreground",
            "--force",
            *(f"--{name}={self.folder / path}" for name, path in files.items()),
        ]
        self._run(munge)
        self._run(["slurmctld", "-D"])
        for node in ("node1", "node2"):
            self._run(["slurmd", "-D", "-N", node])
        deadline = time.monotonic() + 60
        while self.ask("sinfo", "--noheader", "--format=%D %t").split() != ["2", "idle"]:
            assert time.monotonic() < deadline, self.ask("sinfo") + (self.folder / "slurmctld.log").read_text()
            time.sleep(0.5)

    def _run(self, command: list[str]) -> None:
        self.daemons.append(
            subprocess.Popen(command, env=self.environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        )

    def ask(self, *command: str) -> str:
        """Return what a command prints."""
        done = subprocess.run(command, env=self.environment, capture_output=True, text=True, check=False)
        return done.stdout + done.stderr

    def field(self, job: str, name: str) -> str:
        """Return a field of a job."""
        words = self.ask("scontrol", "-o", "show", "job", job).split()
        return next((word.partition("=")[2] for word in words if word.startswith(f"{name}=")), "")

    def stop(self) -> None:
        """End all jobs and daemons."""
        self.ask("scancel", "--full", "--signal=KILL", "--user=root")
        time.sleep(1)
        for daemon in reversed(self.daemons):
            daemon.kill()
            daemon.wait()


@contextlib.contextmanager
def two_node_slurm() -> Iterator[Slurm]:
    """Run a Slurm of two nodes."""
    folder = Path(tempfile.mkdtemp(prefix="slurm", dir="/tmp"))
    folder.chmod(0o755)
    made = Slurm(folder)
    try:
        made.start()
        yield made
    finally:
        made.stop()
        shutil.rmtree(folder, ignore_errors=True)
