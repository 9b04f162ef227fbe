"""A full disk and a damaged, locked or closed database end in a message; moved away, the databases are made anew."""

import contextlib
import json
import shutil
import sqlite3
from pathlib import Path

import dagster as dg
import pytest

from emergence_assets.orchestration.instance import event_log
from emergence_assets.orchestration.instance.database_errors import DATABASES
from emergence_assets.orchestration.instance.home import instance_of
from resources.errors import EmergenceError
from tests.conftest import copied, mounted_disk, run_emergence, status_of
from tests.orchestration.instance.test_event_log import partitions, report


def use(home: Path, n_events: int = 3) -> set[str | None]:
    """Write to all databases of an instance and read them."""
    with instance_of(home) as instance:
        for number in range(n_events):
            report(instance, str(number))
        instance.create_run_for_job(JOB)
        instance.get_runs()
        instance.all_instigator_state()
        return partitions(instance)


@dg.job
def JOB() -> None:
    """A job without ops."""


def refusal(home: Path) -> EmergenceError:
    with pytest.raises(EmergenceError) as caught:
        use(home)
    assert caught.value.remedy
    return caught.value


DAMAGES = {
    "half": lambda content: content[: len(content) // 2],
    "overwritten": lambda content: content[:100] + b"\xff" * (len(content) - 100),
    "other": lambda content: b"no database" * 1000,
}


@pytest.mark.parametrize(
    ("name", "damage"),
    [*((name, "half") for name in DATABASES), *((DATABASES[0], how) for how in DAMAGES if how != "half")],
)
def test_a_damaged_database_is_named_and_made_anew_once_it_is_moved_away(
    tmp_path: Path, name: str, damage: str
) -> None:
    home = tmp_path / "home"
    use(home, n_events=30)
    for journal in home.rglob("*.db-*"):
        journal.unlink()
    (home / name).write_bytes(DAMAGES[damage]((home / name).read_bytes()))
    error = refusal(home)
    assert "is damaged" in error.what
    assert error.where == str(home / name)
    folder = name.partition("/")[0]
    assert f"move the folder {folder} away from {home}" in error.remedy
    (home / folder).rename(tmp_path / "away")
    assert use(home) >= {"0", "1", "2"}


def test_a_full_disk_is_explained_and_nothing_is_lost(tmp_path: Path) -> None:
    with mounted_disk(tmp_path / "disk", "4m") as disk:
        stored = use(disk)
        # Enough is left to open the instance.
        (disk / "filler").write_bytes(b"x" * (shutil.disk_usage(disk).free - 400_000))
        with pytest.raises(EmergenceError, match=r"full|disk I/O") as caught:
            use(disk, n_events=10_000)
        assert "free some space" in caught.value.remedy
        (disk / "filler").unlink()
        assert use(disk) >= stored


def test_a_database_that_another_program_holds_is_explained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    use(tmp_path)
    monkeypatch.setattr(event_log, "BUSY_SECONDS", 0.1)
    with contextlib.closing(sqlite3.connect(tmp_path / DATABASES[0], isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        error = refusal(tmp_path)
    assert "is in use: database is locked" in error.what
    assert "end it" in error.remedy
    use(tmp_path)


def test_a_database_that_cannot_be_opened_is_explained(tmp_path: Path) -> None:
    use(tmp_path)
    (tmp_path / DATABASES[0]).unlink()
    (tmp_path / DATABASES[0]).mkdir()
    error = refusal(tmp_path)
    assert "unable to open database file" in error.what
    assert "rights" in error.remedy


def test_other_errors_stay_as_they_are(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), instance_of(tmp_path):
        raise ZeroDivisionError
    with pytest.raises(EmergenceError, match="mine"), instance_of(tmp_path):
        raise EmergenceError("mine") from sqlite3.OperationalError("database is locked")


@pytest.mark.slow
@pytest.mark.long
def test_a_study_goes_on_with_all_its_cells_after_its_log_was_damaged(finished_study: Path, tmp_path: Path) -> None:
    data = copied(finished_study, tmp_path / "data")
    made = {path: path.stat().st_mtime_ns for path in (data / "tiny").rglob("*.parquet")}
    log = data / "dagster" / DATABASES[0]
    log.write_bytes(DAMAGES["half"](log.read_bytes()))
    for command in ("run", "status"):
        ended = run_emergence(data, command)
        assert ended.returncode == 1
        assert "Traceback" not in ended.stdout + ended.stderr
        assert f"where: {log}" in ended.stderr
    (data / "dagster" / "history").rename(data / "dagster" / "away")
    assert run_emergence(data, "run").returncode == 0
    assert {path: path.stat().st_mtime_ns for path in (data / "tiny").rglob("*.parquet")} == made
    assert all(one["done"] == one["total"] for one in status_of(data).values())
    found = json.loads(run_emergence(data, "audit", "--verify", "--json").stdout)
    assert found["clean"], found["findings"]
