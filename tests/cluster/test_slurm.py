"""The job script of `emergence slurm`, on a real Slurm of two nodes."""

import json
import os
import shutil
import subprocess
import time
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from emergence_assets.cli.main import main
from tests.cluster.two_node_slurm import PROGRAMS, Slurm, two_node_slurm
from tests.conftest import TINY, run_emergence
from tests.study_tables import tables

on_slurm = pytest.mark.skipif(
    not all(map(shutil.which, PROGRAMS)) or os.geteuid() != 0, reason="Slurm is not installed, or this is not root"
)


@pytest.fixture(autouse=True)
def _own_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("EMERGENCE_STUDY", "EMERGENCE_DATA"):
        monkeypatch.setenv(name, "")  # the command sets them; this restores them


def command(data: Path, *arguments: str) -> Result:
    return CliRunner().invoke(main, ["--study", str(TINY), "--data", str(data), "slurm", *arguments])


def script(data: Path, *arguments: str) -> str:
    made = command(data, *arguments)
    assert made.exit_code == 0, made.output
    return made.output


def test_the_script_is_one_that_bash_accepts_and_names_what_was_asked(tmp_path: Path) -> None:
    data = tmp_path / "data folder"
    text = script(data, "--nodes", "4", "--gpus", "8", "--time", "1-12", "--option", "--partition=gpu")
    subprocess.run(["bash", "-n"], input=text, text=True, check=True)
    head = text.split("\nset -euo pipefail")[0]
    for line in ("--nodes=4", "--gpus-per-node=8", "--time=1-12", "--partition=gpu", "--signal=B:INT@120", "--requeue"):
        assert f"\n#SBATCH {line}\n" in head + "\n"
    assert f"data='{data}'" in text
    assert "@" not in text.replace("INT@120", "").replace('"$@"', "").replace("[@]", "")
    assert "gpus" not in script(tmp_path)


@pytest.mark.parametrize(
    "arguments",
    [("--time", "tomorrow"), ("--time", "1\n#SBATCH --uid=0"), ("--option", "--x=1\nrm"), ("--nodes", "0")],
)
def test_what_slurm_would_not_take_is_refused(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    refused = command(tmp_path, *arguments)
    assert refused.exit_code in (1, 2)
    assert arguments[0] in refused.output


def submit(slurm: Slurm, folder: Path, text: str) -> str:
    (folder / "job.sh").write_text(text)
    return slurm.ask("sbatch", "--parsable", f"--output={folder}/log.txt", str(folder / "job.sh")).strip()


def wait(slurm: Slurm, job: str, *states: str, seconds: float = 900) -> str:
    deadline = time.monotonic() + seconds
    while (state := slurm.field(job, "JobState")) not in states:
        assert time.monotonic() < deadline, (state, slurm.ask("scontrol", "show", "job", job))
        time.sleep(0.5)
    return state


@on_slurm
@pytest.mark.long
@pytest.mark.xdist_group("ray")
def test_a_study_on_two_nodes_goes_on_after_its_time_limit_with_the_tables_of_one_machine(
    finished_study: Path, tmp_path: Path
) -> None:
    with two_node_slurm() as slurm:
        # Interrupted after about a minute: 120 of 180 s before its end.
        text = script(tmp_path, "--nodes", "2", "--cpus", "1", "--time", "3")
        job, log = submit(slurm, tmp_path, text), tmp_path / "log.txt"
        wait(slurm, job, "RUNNING")
        assert slurm.field(job, "NumNodes") == "2"
        wait(slurm, job, "PENDING")
        assert "goes back into the queue" in log.read_text()
        assert any(path.is_file() for path in (tmp_path / "tiny").rglob("*")), "something was finished before"
        slurm.ask("scontrol", "update", f"JobId={job}", "StartTime=now", "TimeLimit=60")
        ended = wait(slurm, job, "COMPLETED", "FAILED", "TIMEOUT", "NODE_FAIL")
        assert ended == "COMPLETED", log.read_text()
        assert slurm.field(job, "ExitCode") == "0:0"
        assert slurm.field(job, "Restarts") == "1"
    assert tables(tmp_path) == tables(finished_study)
    verified = run_emergence(tmp_path, "audit", "--verify", "--json")
    assert json.loads(verified.stdout)["findings"] == []


@on_slurm
@pytest.mark.long
@pytest.mark.xdist_group("ray")
def test_a_study_that_fails_fails_its_job(tmp_path: Path) -> None:
    with two_node_slurm() as slurm:
        text = script(tmp_path, "--nodes", "2", "--cpus", "1").replace(" run --on", " run --stage nothing --on")
        job = submit(slurm, tmp_path, text)
        assert wait(slurm, job, "COMPLETED", "FAILED", seconds=200) == "FAILED"
        assert slurm.field(job, "ExitCode") == "1:0"
        assert "'nothing'" in (tmp_path / "log.txt").read_text()
