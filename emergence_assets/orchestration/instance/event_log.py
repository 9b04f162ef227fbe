"""Dagster's event log in SQLite, with databases that stay open between events.

Dagster opens the database anew for every statement, and closing it writes the write-ahead log back into it. Kept open,
an event costs a quarter of that (docs/measurements.md). What is stored, where, and when it is on disk is unchanged.
"""

import threading
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

from dagster import StringSource

# Documented for `dagster.yaml` under this name, and abstract in the two methods that open a database.
from dagster._core.storage.event_log import SqliteEventLogStorage
from dagster._serdes import ConfigurableClassData
from sqlalchemy import Connection, Engine, create_engine

INDEX = "index"
"""Database with the events of assets, of all runs; every run has one more of its own."""
OPEN_RUNS = 8
"""Runs whose databases stay open: the UI and the daemon read those of thousands."""
BUSY_SECONDS = 60
"""How long a writer waits for another."""


class EventLog(SqliteEventLogStorage):
    """The event log that `dagster.yaml` names."""

    def __init__(self, base_dir: str, inst_data: ConfigurableClassData | None = None):
        self._engines: OrderedDict[str, Engine] = OrderedDict()
        self._engines_lock = threading.Lock()
        super().__init__(base_dir, inst_data)

    @classmethod
    def config_type(cls) -> Any:
        """The instance's home: a storage is not given the folder of its instance."""
        return {"home": StringSource}

    @classmethod
    def from_config_value(cls, inst_data: ConfigurableClassData | None, config_value: Any) -> "EventLog":
        """The event log of a home, in the folder where Dagster's own would be."""
        return cls(str(Path(config_value["home"]) / "history" / "runs"), inst_data)

    def run_connection(self, run_id: str | None = None) -> AbstractContextManager[Connection]:
        """A transaction on the database of a run."""
        return self._transaction(str(run_id))

    def index_connection(self) -> AbstractContextManager[Connection]:
        """A transaction on the database of all runs."""
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
