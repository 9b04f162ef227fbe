"""Errors of the SQLite databases of the Dagster instance, as a message with a remedy.

The databases hold what happened, and no results: without them every cell stays, and the next run records the events of
finished cells again (`runs/missing_events.py`).
"""

import contextlib
import sqlite3
from collections.abc import Iterator
from pathlib import Path

from resources.errors import EmergenceError

DATABASES = ("history/runs/index.db", "history/runs.db", "schedules/schedules.db")
"""Databases of an instance within its home: events of all runs, runs, and ticks of sensors and schedules."""
_FULL = ("database or disk is full", "disk I/O error")
_CLOSED = ("readonly database", "unable to open database file", "authorization denied")


@contextlib.contextmanager
def database_errors_explained(home: Path) -> Iterator[None]:
    """Turn an error of SQLite into a message: a full disk, a damaged, locked or read-only database.

    Args:
        home: home of the instance.

    Raises:
        EmergenceError: a database could not be read or written; names the damaged one.
    """
    try:
        yield
    except EmergenceError:
        raise
    except Exception as error:
        problem = _problem_of_database(error)
        if problem is None:
            raise
        raise _explained(problem, home) from error


def _problem_of_database(error: BaseException) -> str | None:
    """Return the message of the error of SQLite behind an error, which SQLAlchemy and Dagster wrap."""
    seen: list[BaseException] = []
    found: BaseException | None = error
    while found is not None and found not in seen:
        seen.append(found)
        behind = getattr(found, "orig", None)
        if isinstance(behind, sqlite3.Error) or isinstance(found, sqlite3.Error):
            return str(behind if isinstance(behind, sqlite3.Error) else found)
        found = found.__cause__ or found.__context__
    return None


def _explained(problem: str, home: Path) -> EmergenceError:
    damaged = next((path for path in (home / name for name in DATABASES) if _is_damaged(path)), None)
    if damaged is not None:
        what, remedy = (
            f"A database of Dagster is damaged: {problem}.",
            (
                f"move the folder {damaged.relative_to(home).parts[0]} away from {home}: every cell stays, and the "
                "next run records the events of finished cells again; the list of earlier runs is gone"
            ),
        )
    elif any(sign in problem for sign in _FULL):
        what, remedy = (
            f"A database of Dagster cannot be written: {problem}.",
            "free some space on its disk and run again; finished cells are kept",
        )
    elif any(sign in problem for sign in _CLOSED):
        what, remedy = (
            f"A database of Dagster cannot be opened for writing: {problem}.",
            "change the rights of the folder, or name another one in DAGSTER_HOME",
        )
    elif "locked" in problem:
        what, remedy = (
            f"A database of Dagster is in use: {problem}.",
            "wait for the other program, or end it; where the folder is on a network, name one of this machine in "
            "DAGSTER_HOME",
        )
    else:
        what, remedy = f"A database of Dagster cannot be used: {problem}.", f"move {home} away and run again"
    return EmergenceError(what, where=damaged or home, remedy=remedy)


def _is_damaged(path: Path) -> bool:
    """Return whether a database exists and is none, or has pages that contradict each other; it is not changed."""
    if not path.exists():
        return False
    try:
        with contextlib.closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as database:
            return database.execute("PRAGMA quick_check(1)").fetchall() != [("ok",)]
    except sqlite3.OperationalError:  # closed, locked, or without room for its side files
        return False
    except sqlite3.DatabaseError:
        return True
