"""Partial results of dead processes are removed; those of living processes stay."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from resources.files.atomic import process_is_alive, sweep_temporaries
from tests.resources.files.killed_writer import kill_a_writer


@pytest.fixture(scope="module")
def dead_pid() -> int:
    """Id of a process that has ended."""
    process = subprocess.Popen([sys.executable, "-S", "-c", ""])
    process.wait()
    return process.pid


@pytest.mark.parametrize("kind", ["file", "folder"])
def test_partial_results_of_a_killed_writer_are_removed(tmp_path: Path, kind: str) -> None:
    target = tmp_path / "saes" / "model=m" / "step=000008"
    kill_a_writer(kind, target)
    left = list(target.parent.iterdir())
    assert len(left) == 1
    assert not target.exists()
    assert sweep_temporaries(tmp_path) == 1
    assert list(target.parent.iterdir()) == []


def test_partial_folders_of_a_killed_writer_are_removed(tmp_path: Path, dead_pid: int) -> None:
    old = tmp_path / f".layer.{dead_pid}.old.tmp"
    old.mkdir()
    (old / f".sae.{dead_pid}.tmp").touch()
    assert sweep_temporaries(tmp_path) == 1
    assert list(tmp_path.iterdir()) == []


def test_partial_results_of_a_living_process_stay(tmp_path: Path) -> None:
    for name in (f".table.{os.getpid()}.tmp", ".table.1.tmp", f".folder.{os.getppid()}.old.tmp"):
        (tmp_path / name).touch()
    assert sweep_temporaries(tmp_path) == 0
    assert len(list(tmp_path.iterdir())) == 3


def test_other_files_stay(tmp_path: Path, dead_pid: int) -> None:
    names = (
        f"table.{dead_pid}.tmp",
        f".table.{dead_pid}",
        ".table.tmp",
        ".table.x.tmp",
        f".t.{dead_pid}.tmp.h5",
        "a.h5",
    )
    for name in names:
        (tmp_path / name).touch()
    assert sweep_temporaries(tmp_path) == 0
    assert {path.name for path in tmp_path.iterdir()} == set(names)


def test_a_process_that_only_waits_to_be_collected_is_not_alive() -> None:
    ended = subprocess.Popen([sys.executable, "-S", "-c", ""], stdout=subprocess.PIPE)
    assert ended.stdout is not None
    ended.stdout.read()  # its end closes the pipe, but no process has waited for it yet
    deadline = time.monotonic() + 10
    while process_is_alive(ended.pid):
        assert time.monotonic() < deadline
    assert Path(f"/proc/{ended.pid}").exists()
    ended.stdout.close()
    ended.wait()
    assert process_is_alive(os.getpid())
