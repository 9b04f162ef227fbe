"""The event log is read as Dagster wrote it and never written; its faults are reported."""

import shutil
import sqlite3
from pathlib import Path

import dagster as dg
import pytest

from emergence_assets.audit.events import open_event_log
from emergence_assets.plan.cell import Cell
from emergence_assets.plan.content_hash import CONTENT_HASH_TAG, CREATED_TAG

CELL = Cell("m", 8, 3)
KEY = ("sae", CELL)


def record(instance: dg.DagsterInstance, study: str, fingerprint: str, content_hash: str) -> None:
    tags = {"dagster/data_version": fingerprint, CONTENT_HASH_TAG: content_hash, CREATED_TAG: "2026-01-01"}
    event = dg.AssetMaterialization(dg.AssetKey([study, "m", "sae"]), partition="L03|step000008", tags=tags)
    instance.report_runless_asset_event(event)


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An instance with two events of one cell, and an event of the same cell of another study."""
    home = tmp_path_factory.mktemp("home")
    (home / "dagster.yaml").write_text("telemetry: {enabled: false}\n")
    with dg.DagsterInstance.from_config(str(home)) as instance:
        record(instance, "one", "a" * 32, "old")
        record(instance, "one", "b" * 32, "new")
        record(instance, "one-more", "c" * 32, "other")
        instance.dispose()
    return home


@pytest.fixture
def home(recorded: Path, tmp_path: Path) -> Path:
    """A copy of the instance's folder."""
    return shutil.copytree(recorded, tmp_path / "home")


def names(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}


def test_the_latest_event_of_a_cell_is_read(home: Path) -> None:
    before = names(home)
    with open_event_log(home, "one") as log:
        event = log.latest("sae", CELL)
        assert log.all() == {KEY: event}
        assert log.problem == ""
    assert event is not None
    assert (event.fingerprint, event.content_hash, event.created) == ("b" * 32, "new", "2026-01-01")
    assert event.page == f"/runs/{event.run_id}"
    assert names(home) == before


def test_studies_in_one_instance_are_separate(home: Path) -> None:
    with open_event_log(home, "one-more") as log:
        assert {key: event.content_hash for key, event in log.all().items()} == {KEY: "other"}
    with open_event_log(home, "on") as log:
        assert log.all() == {}
        assert log.latest("sae", CELL) is None


def test_the_latest_event_is_the_last_written_whatever_its_time(home: Path) -> None:
    with sqlite3.connect(home / "history/runs/index.db") as connection:
        connection.execute("UPDATE event_logs SET timestamp = '2001-01-01 00:00:00' WHERE id = 2")
    connection.close()
    with open_event_log(home, "one") as log:
        event = log.latest("sae", CELL)
    assert event is not None
    assert (event.content_hash, event.time) == ("new", "2001-01-01T00:00:00+00:00")


def test_a_cell_is_found_by_the_beginning_of_its_fingerprint(home: Path) -> None:
    with open_event_log(home, "one") as log:
        assert log.with_fingerprint("bbbb") == [KEY]
        assert log.with_fingerprint("cccc") == []


def test_a_log_that_is_not_there_is_not_made(tmp_path: Path) -> None:
    with open_event_log(tmp_path / "home", "one") as log:
        assert log.all() == {}
        assert "there is no event log" in log.problem
    assert not (tmp_path / "home").exists()


@pytest.mark.parametrize("content", [b"", b"not a database" * 1000])
def test_a_damaged_log_is_named(home: Path, content: bytes) -> None:
    (home / "history/runs/index.db").write_bytes(content)
    with open_event_log(home, "one") as log:
        assert log.all() == {}
        assert log.latest("sae", CELL) is None
        assert "cannot be read" in log.problem


def test_pages_that_are_lost_are_named(home: Path) -> None:
    path = home / "history/runs/index.db"
    content = path.read_bytes()
    path.write_bytes(content[:4096] + b"\0" * (len(content) - 4096))
    with open_event_log(home, "one") as log:
        log.all()
        assert "cannot be read" in log.problem


def test_an_event_that_is_no_json_has_no_content(home: Path) -> None:
    with sqlite3.connect(home / "history/runs/index.db") as connection:
        connection.execute("UPDATE event_logs SET event = 'half an ev'")
    connection.close()
    with open_event_log(home, "one") as log:
        (event,) = log.all().values()
    assert (event.fingerprint, event.content_hash) == ("", "")


@pytest.mark.parametrize(
    "settings", ["event_log_storage: {module: m, class: C}", "storage: {postgres: {}}", "storage: [", "storage: 3"]
)
def test_another_storage_is_reported(home: Path, settings: str) -> None:
    (home / "dagster.yaml").write_text(settings)
    with open_event_log(home, "one") as log:
        assert log.all() == {}
        assert "no SQLite storage" in log.problem


def test_a_storage_elsewhere_is_followed(home: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    (home / "history").rename(elsewhere.joinpath("history") if elsewhere.mkdir() is None else elsewhere)
    (home / "dagster.yaml").write_text(f"storage: {{sqlite: {{base_dir: {elsewhere}}}}}")
    with open_event_log(home, "one") as log:
        assert list(log.all()) == [KEY]


@pytest.mark.parametrize("value", ["3", "null", '["one", ["m"], "sae"]', "\x00"], ids=["number", "null", "list", "nul"])
def test_rows_that_dagster_never_writes_are_left_out(home: Path, value: str) -> None:
    with sqlite3.connect(home / "history/runs/index.db") as connection:
        connection.execute("UPDATE event_logs SET asset_key = ? WHERE id = 1", (value,))
        tags = "$.dagster_event.event_specific_data.materialization.tags"
        connection.execute("UPDATE event_logs SET event = json_set(event, ?, json('[1]')) WHERE id = 2", (tags,))
    connection.close()
    with open_event_log(home, "one") as log:
        event = log.all()[KEY]
        assert (event.fingerprint, event.content_hash) == ("", "")
        assert log.with_fingerprint("") == [KEY]


def test_a_log_that_is_being_written_is_read_without_side_files_of_ours(home: Path, tmp_path: Path) -> None:
    path = home / "history/runs/index.db"
    writer = sqlite3.connect(path)
    writer.execute("PRAGMA journal_mode=WAL")
    writer.execute("UPDATE event_logs SET partition = 'L04|step000008' WHERE asset_key LIKE '%\"one\"%'")
    writer.commit()
    with open_event_log(home, "one") as log:
        assert list(log.all()) == [("sae", Cell("m", 8, 4))]
    copy = shutil.copytree(home, tmp_path / "copy", ignore=shutil.ignore_patterns("*-shm"))
    before = names(copy)
    with open_event_log(copy, "one") as log:
        assert list(log.all()) == [("sae", Cell("m", 8, 4))]
    assert names(copy) == before
    writer.close()
