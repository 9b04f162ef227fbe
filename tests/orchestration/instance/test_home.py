"""The Dagster instance: its home folder, and runs whose process died."""

import os
import socket
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest
import yaml

import emergence_assets.orchestration.instance.home
from emergence_assets.orchestration.instance.home import (
    OWNER_TAG,
    close_dead_runs,
    instance_of,
    owner,
    prepare_home,
    tag_run_owner,
)
from resources.errors import EmergenceError

OURS = Path(emergence_assets.orchestration.instance.home.__file__).with_name("dagster.yaml")


@pytest.fixture(autouse=True)
def no_home(monkeypatch: pytest.MonkeyPatch) -> None:
    # Set before it is deleted, so that the changes of `prepare_home` are undone too.
    monkeypatch.setenv("DAGSTER_HOME", "")
    monkeypatch.delenv("DAGSTER_HOME")


def test_without_a_home_of_the_users_own_it_lies_in_the_data_with_our_settings(tmp_path: Path) -> None:
    home = prepare_home(tmp_path / "data")
    assert home == tmp_path / "data" / "dagster"
    assert os.environ["DAGSTER_HOME"] == str(home)
    assert (home / "dagster.yaml").read_bytes() == OURS.read_bytes()


def test_the_users_own_home_is_respected(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path / "own"))
    assert prepare_home(tmp_path / "data") == tmp_path / "own"
    assert not (tmp_path / "data").exists()


def test_the_users_own_settings_are_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "dagster.yaml").write_text("telemetry: {enabled: false}\n")
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path))
    prepare_home(tmp_path / "data")
    prepare_home(tmp_path / "data")
    assert (tmp_path / "dagster.yaml").read_text() == "telemetry: {enabled: false}\n"


def test_a_home_that_is_not_absolute_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DAGSTER_HOME", "relative/home")
    with pytest.raises(EmergenceError, match="'relative/home', which is not absolute") as caught:
        prepare_home(tmp_path)
    assert "absolute path" in caught.value.remedy


def test_a_home_that_cannot_be_written_is_explained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path / "file" / "home"))
    with pytest.raises(EmergenceError, match="cannot be written"):
        prepare_home(tmp_path)


def test_our_settings_are_accepted_by_dagster_and_send_no_telemetry(tmp_path: Path) -> None:
    home = prepare_home(tmp_path)
    with instance_of(home) as instance:
        assert not instance.telemetry_enabled
        assert instance.get_concurrency_config().pool_config.default_pool_limit == 1
    assert yaml.safe_load(OURS.read_text())["telemetry"] == {"enabled": False}


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as temporary:
        yield temporary


@pytest.fixture(scope="module")
def dead_pid() -> int:
    """Id of a process that has ended."""
    process = subprocess.Popen([sys.executable, "-S", "-c", ""])
    process.wait()
    return process.pid


def add_run(
    instance: dg.DagsterInstance, tag: str | None, status: dg.DagsterRunStatus = dg.DagsterRunStatus.STARTED
) -> str:
    """Add a run; in its tag `{host}` and `{run}` stand for this host and the run's id."""
    run_id = str(uuid.uuid4())
    tags = {} if tag is None else {OWNER_TAG: tag.format(host=socket.gethostname(), run=run_id)}
    return instance.add_run(dg.DagsterRun(job_name="job", run_id=run_id, status=status, tags=tags)).run_id


def status_of(instance: dg.DagsterInstance, run_id: str) -> dg.DagsterRunStatus:
    run = instance.get_run_by_id(run_id)
    assert run is not None
    return run.status


@pytest.mark.parametrize("status", ["STARTED", "STARTING", "CANCELING"])
def test_a_run_of_a_dead_process_is_closed_as_failed(instance: dg.DagsterInstance, dead_pid: int, status: str) -> None:
    run_id = add_run(instance, f"{{host}}:{dead_pid}:{{run}}", dg.DagsterRunStatus[status])
    assert close_dead_runs(instance) == 1
    assert status_of(instance, run_id) == dg.DagsterRunStatus.FAILURE
    assert close_dead_runs(instance) == 0


def test_the_slots_of_a_dead_process_are_free_again(tmp_path: Path, dead_pid: int) -> None:
    with instance_of(prepare_home(tmp_path)) as instance:
        log = instance.event_log_storage
        log.set_concurrency_slots("gpu", 1)
        run_id = add_run(instance, f"{{host}}:{dead_pid}:{{run}}")
        assert log.claim_concurrency_slot("gpu", run_id, "step").is_claimed
        close_dead_runs(instance)
        assert log.get_concurrency_info("gpu").claimed_slots == []
        assert log.claim_concurrency_slot("gpu", "another", "step").is_claimed


def test_a_run_of_a_living_process_stays_open(instance: dg.DagsterInstance) -> None:
    run_ids = [add_run(instance, f"{{host}}:{os.getpid()}:{{run}}"), add_run(instance, "{host}:1:{run}")]
    assert close_dead_runs(instance) == 0
    assert all(status_of(instance, run_id) == dg.DagsterRunStatus.STARTED for run_id in run_ids)


@pytest.mark.parametrize(
    "tag", [None, "", "another-host:{pid}:{run}", "no number", "{host}:{pid}", "{host}:abc:{run}", "{host}:-1:{run}"]
)
def test_runs_of_others_stay_open(instance: dg.DagsterInstance, dead_pid: int, tag: str | None) -> None:
    run_id = add_run(instance, tag and tag.replace("{pid}", str(dead_pid)))
    assert close_dead_runs(instance) == 0
    assert status_of(instance, run_id) == dg.DagsterRunStatus.STARTED


@pytest.mark.parametrize("status", ["SUCCESS", "FAILURE", "CANCELED", "NOT_STARTED"])
def test_runs_that_are_not_under_way_are_left_alone(instance: dg.DagsterInstance, dead_pid: int, status: str) -> None:
    run_id = add_run(instance, f"{{host}}:{dead_pid}:{{run}}", dg.DagsterRunStatus[status])
    assert close_dead_runs(instance) == 0
    assert status_of(instance, run_id) == dg.DagsterRunStatus[status]


def test_a_run_that_is_started_again_is_not_closed_for_the_tag_that_it_inherits(
    instance: dg.DagsterInstance, dead_pid: int
) -> None:
    again = add_run(instance, f"{{host}}:{dead_pid}:{uuid.uuid4()}")
    assert close_dead_runs(instance) == 0
    assert status_of(instance, again) == dg.DagsterRunStatus.STARTED


def test_a_claimed_run_is_closed_when_its_process_is_gone(tmp_path: Path) -> None:
    home = prepare_home(tmp_path)
    program = (
        "import dagster as dg\nfrom pathlib import Path\n"
        "from emergence_assets.orchestration.instance.home import instance_of, tag_run_owner\n"
        f"with instance_of(Path({str(home)!r})) as instance:\n"
        "    run = instance.add_run(dg.DagsterRun(job_name='job', status=dg.DagsterRunStatus.STARTED))\n"
        "    tag_run_owner(instance, run)\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True, cwd=OURS.parents[1])
    with instance_of(home) as instance:
        own = instance.add_run(dg.DagsterRun(job_name="job", status=dg.DagsterRunStatus.STARTED))
        tag_run_owner(instance, own)
        assert close_dead_runs(instance) == 1
        assert status_of(instance, own.run_id) == dg.DagsterRunStatus.STARTED


def test_the_owner_of_a_run_is_this_host_and_process() -> None:
    assert owner("7") == f"{socket.gethostname()}:{os.getpid()}:7"
