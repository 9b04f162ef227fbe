"""Materialisation events of a study: run, time and content hash of every result.

The SQLite files of the instance are opened read-only and without Dagster, which would create, migrate and lock them.
"""

import contextlib
import json
import shutil
import sqlite3
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import yaml

from emergence_assets.plan.cell import Cell, cell_of, layer_key, step_key
from emergence_assets.plan.content_hash import CONTENT_HASH_TAG, CREATED_TAG, VERSION_TAG

_TAGS = (VERSION_TAG, CONTENT_HASH_TAG, CREATED_TAG)
# Dagster indexes only some of its own tags.
_TAGS_OF_EVENT = (
    "CASE WHEN json_valid(event) THEN "
    "json_extract(event, '$.dagster_event.event_specific_data.materialization.tags') END"
)
_MAX_SETTINGS_BYTES = 1_000_000
OUR_EVENT_LOG = "emergence_assets.orchestration.instance.event_log"
"""Module of an event log that keeps the files of Dagster's own."""


class Event(NamedTuple):
    """The latest materialisation of one cell."""

    number: int
    """Position in the log: later events have greater numbers, also after a clock was set back."""
    run_id: str
    time: str
    """UTC, to the second."""
    fingerprint: str
    """Fingerprint of the cell at that time; empty when the event has none."""
    content_hash: str
    """Empty in events of versions that recorded none."""
    created: str
    """Time at which the file of the event was written, in the spelling of `content_hash.tag_time`."""

    @property
    def page(self) -> str:
        """Path of the run in the UI."""
        return f"/runs/{self.run_id}"


EventKey = tuple[str, Cell]
"""An asset and one of its cells."""


class EventLog:
    """Materialisation events of one study, read from the database on request."""

    def __init__(self, connection: sqlite3.Connection | None, study: str, problem: str = ""):
        self._connection, self._study, self.problem = connection, study, problem

    def latest(self, asset: str, cell: Cell) -> Event | None:
        """Return the latest materialisation of a cell; None without an event, or without a readable log (`problem`)."""
        path = [self._study, *([cell.model] if cell.model else []), asset]
        layer = [] if cell.layer is None else [layer_key(cell.layer)]
        partition = None if cell.step is None else "|".join([*layer, step_key(cell.step)])
        rows = self._query(
            f"SELECT id, run_id, timestamp, {_TAGS_OF_EVENT} FROM event_logs WHERE asset_key = ? "
            "AND partition IS ? AND dagster_event_type = 'ASSET_MATERIALIZATION' ORDER BY id DESC LIMIT 1",
            (json.dumps(path), partition),
        )
        return _event(*rows[0]) if rows else None

    def all(self) -> dict[EventKey, Event]:
        """Return the latest materialisation of every cell of the study with an event."""
        beginning = json.dumps([self._study])[:-1] + ","
        rows = self._query(
            f"SELECT asset_key, partition, MAX(id), run_id, timestamp, {_TAGS_OF_EVENT} FROM event_logs WHERE "
            "dagster_event_type = 'ASSET_MATERIALIZATION' AND asset_key >= ? AND asset_key < ? "
            "GROUP BY asset_key, partition",
            (beginning, beginning + "\uffff"),
        )
        return {key: _event(*event) for path, partition, *event in rows for key in self._keys(path, partition)}

    def with_fingerprint(self, beginning: str) -> list[EventKey]:
        """Return the cells with an event whose fingerprint has this beginning."""
        rows = self._query(
            "SELECT DISTINCT e.asset_key, e.partition FROM asset_event_tags t JOIN event_logs e ON e.id = t.event_id "
            "WHERE t.key = ? AND t.value >= ? AND t.value < ?",
            (VERSION_TAG, beginning, beginning + "~"),
        )
        return [key for path, partition in rows for key in self._keys(path, partition)]

    def _keys(self, path: str, partition: str | None) -> Iterator[EventKey]:
        """Yield the cell of a row of the log, if it belongs to the study."""
        with contextlib.suppress(ValueError, TypeError):
            study, *model, asset = json.loads(path)
            if study == self._study:
                yield asset, cell_of(model[0] if model else None, partition)

    def _query(self, statement: str, values: tuple[object, ...]) -> list[tuple]:
        if self._connection is None:
            return []
        try:
            return self._connection.execute(statement, values).fetchall()
        except sqlite3.Error as error:
            self.problem = f"the event log cannot be read: {error}"
            return []


@contextlib.contextmanager
def open_event_log(home: Path, study: str) -> Iterator[EventLog]:
    """Open the event log of an instance; an absent or damaged log is empty, with the reason in `problem`."""
    path, problem = _database(home)
    if problem or not path.exists():
        yield EventLog(None, study, problem or f"there is no event log at {path}")
        return
    with contextlib.ExitStack() as stack:
        try:
            connection = stack.enter_context(_connected(path))
            connection.execute("SELECT 1 FROM event_logs, asset_event_tags LIMIT 1").fetchall()
        except (sqlite3.Error, OSError) as error:
            connection, problem = None, f"the event log cannot be read: {error}"
        yield EventLog(connection, study, problem)


def _database(home: Path) -> tuple[Path, str]:
    """Return the database with the events of an instance, and the reason why it is unknown."""
    folder = home / "history"
    try:
        with (home / "dagster.yaml").open(encoding="utf-8") as file:
            settings = yaml.safe_load(file.read(_MAX_SETTINGS_BYTES)) or {}
        storage = settings.get("storage") or {}
        if storage:
            folder = Path(storage["sqlite"]["base_dir"]) / "history"
        elif settings.get("event_log_storage", {"module": OUR_EVENT_LOG})["module"] != OUR_EVENT_LOG:
            raise KeyError("event_log_storage")
    except FileNotFoundError:
        pass
    except (OSError, UnicodeDecodeError, yaml.YAMLError, AttributeError, KeyError, TypeError):
        return folder, f"the settings of the instance name no SQLite storage: {home / 'dagster.yaml'}"
    return folder / "runs" / "index.db", ""


@contextlib.contextmanager
def _connected(path: Path) -> Iterator[sqlite3.Connection]:
    """Open a connection that changes no file on disk, not even the side files of SQLite."""
    log, shared = (path.with_name(path.name + ending) for ending in ("-wal", "-shm"))
    with contextlib.ExitStack() as stack:
        if not log.exists():
            address = f"{path.absolute().as_uri()}?mode=ro&immutable=1"  # not open elsewhere: no side files
        elif shared.exists():
            address = f"{path.absolute().as_uri()}?mode=ro"
        else:  # a copy of an open database: SQLite would have to create the missing side file
            copy = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            for file in (path, log):
                shutil.copyfile(file, copy / file.name)
            address = f"{(copy / path.name).as_uri()}?mode=ro"
        yield stack.enter_context(contextlib.closing(sqlite3.connect(address, uri=True, check_same_thread=False)))


def _event(number: int, run_id: str, time: str, tags: str | None) -> Event:
    values = json.loads(tags) if tags else {}
    values = values if isinstance(values, dict) else {}
    seconds = str(time).partition(".")[0].replace(" ", "T") + "+00:00"
    return Event(number, run_id, seconds, *(str(values.get(name, "")) for name in _TAGS))
