"""Dagster's event log in SQLite, with databases that stay open between events.

Dagster opens the database again for every statement, and every close writes the write-ahead log back into it. With an
open database an event costs a quarter of the time (docs/measurements.md). Contents, places and durability of the files
are unchanged.
"""

import threading
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

from dagster import StringSource

# Documented for `dagster.yaml` under this name; the two methods that open a database are abstract.
from dagster._core.storage.event_log import SqliteEventLogStorage
from dagster._serdes import ConfigurableClassData
from sqlalchemy import Connection, Engine, create_engine

INDEX = "index"
"""Database with the asset events of all runs; every run also has a database of its own."""
OPEN_RUNS = 8
"""Maximum number of runs with an open database; the UI and the daemon read the databases of thousands of runs."""
BUSY_SECONDS = 60
"""Time for which a writer waits for another writer."""


class EventLog(SqliteEventLogStorage):
    """Event log of the instance, named in `dagster.yaml`."""

    def __init__(self, base_dir: str, inst_data: ConfigurableClassData | None = None):
        self._engines: OrderedDict[str, Engine] = OrderedDict()
        self._engines_lock = threading.Lock()
        super().__init__(base_dir, inst_data)

    @classmethod
    def config_type(cls) -> Any:
        """Return the schema of the settings: the home of the instance, which Dagster does not pass to a storage."""
        return {"home": StringSource}

    @classmethod
    def from_config_value(cls, inst_data: ConfigurableClassData | None, config_value: Any) -> "EventLog":
        """Make the event log of a home, in the folder of Dagster's own event log."""
        return cls(str(Path(config_value["home"]) / "history" / "runs"), inst_data)

    def run_connection(self, run_id: str | None = None) -> AbstractContextManager[Connection]:
        """Open a transaction on the database of a run."""
        return self._transaction(str(run_id))

    def index_connection(self) -> AbstractContextManager[Connection]:
        """Open a transaction on the database of all runs."""
        return self._transaction(INDEX)

    def wipe(self) -> None:
        """Delete all events."""
        self._close(*self._engines)
        super().wipe()

    def dispose(self) -> None:
        """Close the databases."""
        self._close(*self._engines)
        super().dispose()

    @contextmanager
    def _transaction(self, database: str) -> Iterator[Connection]:
        with self._engine(database).begin() as connection:
            yield connection

    def _engine(self, database: str) -> Engine:
        with self._engines_lock:
            if database not in self._engines:
                with super().run_connection(database):
                    pass  # the database exists now, with its tables
                self._engines[database] = create_engine(
                    self.conn_string_for_shard(database), max_overflow=-1, connect_args={"timeout": BUSY_SECONDS}
                )
            self._engines.move_to_end(database)
            runs = [name for name in self._engines if name != INDEX]
            self._close(*runs[:-OPEN_RUNS])
            return self._engines[database]

    def _close(self, *databases: str) -> None:
        for database in databases:
            self._engines.pop(database).dispose()
