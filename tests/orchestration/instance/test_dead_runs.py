"""Runs whose process is dead are closed, on whatever host it was; runs of living processes stay open."""

import os
import socket
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest

from emergence_assets.orchestration.instance.dead_runs import (
    OWNER_TAG,
    UNFINISHED,
    close_dead_runs,
    owner,
    tag_run_owner,
)
from emergence_assets.orchestration.instance.home import instance_of, prepare_home

STARTED = dg.DagsterRunStatus.STARTED
PROGRAM = """
import socket, sys
from pathlib import Path
import dagster as dg
from emergence_assets.orchestration.instance.dead_runs import tag_run_owner
from emergence_assets.orchestration.instance.home import instance_of
socket.gethostname = lambda: "a-container-of-yesterday"
with instance_of(Path(sys.argv[1])) as instance:
    for status in set(dg.DagsterRunStatus) - {dg.DagsterRunStatus.QUEUED}:
        run = instance.add_run(dg.DagsterRun(job_name="job", status=status))
        tag_run_owner(instance, run)
        print(status.value, run.run_id)
    print(flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("DAGSTER_HOME", "")
    monkeypatch.delenv("DAGSTER_HOME")
    return prepare_home(tmp_path)


@pytest.fixture
def instance(home: Path) -> Iterator[dg.DagsterInstance]:
    with instance_of(home) as opened:
        yield opened


def started_elsewhere(home: Path) -> tuple[subprocess.Popen[str], dict[str, str]]:
    """Start a process of another host name that owns a run of every status; return it with the ids of the runs."""
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, str(home)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    lines = iter(process.stdout.readline, "\n")
    return process, dict(line.split() for line in lines)


def status_of(instance: dg.DagsterInstance, run_id: str) -> dg.DagsterRunStatus:
    run = instance.get_run_by_id(run_id)
    assert run is not None
    return run.status


def kill(process: subprocess.Popen[str]) -> None:
    with process:  # closes its pipes and waits
        process.kill()


def test_runs_are_closed_when_their_process_on_another_host_was_killed_and_no_sooner(
    instance: dg.DagsterInstance, home: Path
) -> None:
    process, runs = started_elsewhere(home)
    assert close_dead_runs(instance) == 0
    assert {status: status_of(instance, run_id).value for status, run_id in runs.items()} == {
        name: name for name in runs
    }
    log = instance.event_log_storage
    log.set_concurrency_slots("gpu", 1)
    assert log.claim_concurrency_slot("gpu", runs["STARTED"], "step").is_claimed
    started = instance.get_run_by_id(runs["STARTED"])
    assert started is not None
    retried = instance.add_run(dg.DagsterRun(job_name="job", status=STARTED, tags=started.tags))  # inherits the tag
    kill(process)
    assert close_dead_runs(instance) == len(UNFINISHED)
    unfinished = {status.value for status in UNFINISHED}
    for status, run_id in runs.items():
        assert status_of(instance, run_id).value == ("FAILURE" if status in unfinished else status)
    assert status_of(instance, retried.run_id) == STARTED
    assert log.get_concurrency_info("gpu").claimed_slots == []
    assert close_dead_runs(instance) == 0
    assert list((home / "running").iterdir()) == []


def test_a_run_of_this_process_stays_open(instance: dg.DagsterInstance) -> None:
    run = instance.add_run(dg.DagsterRun(job_name="job", status=STARTED))
    tag_run_owner(instance, run)
    assert close_dead_runs(instance) == 0
    assert status_of(instance, run.run_id) == STARTED


def test_a_process_with_the_id_of_a_dead_one_does_not_keep_its_runs_open(
    instance: dg.DagsterInstance, home: Path
) -> None:
    process, runs = started_elsewhere(home)
    kill(process)
    run = instance.get_run_by_id(runs["STARTED"])
    assert run is not None
    # As in a container that is started again: same host name, and this process has the id of the dead one.
    parts = run.tags[OWNER_TAG].split(":")
    tag = ":".join([socket.gethostname(), str(os.getpid()), *parts[2:]])
    instance.add_run_tags(run.run_id, {OWNER_TAG: tag})
    close_dead_runs(instance)
    assert status_of(instance, run.run_id) == dg.DagsterRunStatus.FAILURE


@pytest.mark.parametrize(
    "tag",
    [None, "", "no lock", "host:7:{run}", "host:7:../../etc:{run}", "host:7:0123abcd:{run}"],
    ids=["none", "empty", "words", "two parts", "path", "lock that nobody took"],
)
def test_runs_without_a_known_owner_stay_open(instance: dg.DagsterInstance, tag: str | None) -> None:
    run_id = str(uuid.uuid4())
    tags = {} if tag is None else {OWNER_TAG: tag.format(run=run_id)}
    instance.add_run(dg.DagsterRun(job_name="job", run_id=run_id, status=STARTED, tags=tags))
    assert close_dead_runs(instance) == 0
    assert status_of(instance, run_id) == STARTED


def test_the_owner_of_a_run_names_host_and_process(instance: dg.DagsterInstance) -> None:
    assert owner(instance, "7").startswith(f"{socket.gethostname()}:{os.getpid()}:")
    assert owner(instance, "7") == owner(instance, "7")
