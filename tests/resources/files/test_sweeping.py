"""Partial results of dead processes are removed; those of living processes stay."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from resources.files.temporaries import process_is_alive, sweep_temporaries, temporary_beside
from tests.resources.files.killed_writer import kill_a_writer, named_by


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
    old = named_by(tmp_path / "layer", dead_pid)
    old.mkdir()
    named_by(old / "sae", dead_pid).touch()
    assert sweep_temporaries(tmp_path) == 1
    assert list(tmp_path.iterdir()) == []


def test_partial_results_of_a_living_process_stay(tmp_path: Path) -> None:
    own, first = temporary_beside(tmp_path / "table"), named_by(tmp_path / "table", 1)
    for path in (own, first, named_by(tmp_path / "folder", os.getppid())):
        path.touch()
    assert sweep_temporaries(tmp_path) == 0
    assert len(list(tmp_path.iterdir())) == 3


def test_other_files_stay(tmp_path: Path, dead_pid: int) -> None:
    name = named_by(tmp_path / "table", dead_pid).name
    names = (name.removeprefix("."), name.removesuffix(".tmp"), f"{name}.h5", ".table.tmp", ".table.1.tmp", "a.h5")
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
