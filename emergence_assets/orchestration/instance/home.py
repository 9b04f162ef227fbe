"""Dagster instance shared by `emergence run` and the UI: its home and its settings."""

import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
from sqlalchemy import make_url

from emergence_assets.orchestration.instance.database_errors import database_errors_explained
from resources.environment import environment_variables
from resources.errors import EmergenceError
from resources.files.atomic import clear_disk_errors
from resources.files.mounts import file_system, is_on_network
from resources.files.plain_yaml import read_yaml
from resources.files.storage import instance_home, prepare_folder


def prepare_home(data: Path) -> Path:
    """Set DAGSTER_HOME to the user's value or to a folder in the data; a home without settings gets the project's.

    Raises:
        EmergenceError: see `prepare_settings`; or DAGSTER_HOME is not an absolute path.
    """
    home = instance_home(data)
    if not home.is_absolute():
        raise EmergenceError(
            f"DAGSTER_HOME is {str(home)!r}, which is not absolute.", remedy="set it to an absolute path or unset it"
        )
    os.environ["DAGSTER_HOME"] = str(prepare_settings(home))
    return home


def prepare_settings(home: Path) -> Path:
    """Make a folder the home of an instance: copy the project's settings into it if it has none.

    Raises:
        EmergenceError: the folder cannot be written, its path has characters of addresses, or its databases would be
            SQLite on a network file system.
    """
    # Dagster makes the addresses of its databases from the path as it is.
    address = make_url(f"sqlite:///{home}")
    if address.query or address.database != str(home):
        raise EmergenceError(
            f"Dagster would make its databases in {address.database!r} instead of its home: a path with a question "
            "mark, or a percent sign before two digits, is another address.",
            where=home,
            remedy="rename the folder, or set DAGSTER_HOME to another one",
        )
    prepare_folder(home)
    settings = home / "dagster.yaml"
    if not settings.exists():
        with clear_disk_errors(home):
            shutil.copyfile(Path(__file__).with_name("dagster.yaml"), settings)
    if is_on_network(home) and _uses_sqlite(settings):
        raise EmergenceError(
            f"Dagster's event log would be an SQLite database on a network file system ({file_system(home)}), where "
            "two machines lose each other's events without an error.",
            where=home,
            remedy="set DAGSTER_HOME to a folder on a disk of this machine; the data may stay where they are",
        )
    return home


def _uses_sqlite(settings: Path) -> bool:
    """Return whether an instance keeps its events in SQLite: always, unless its settings name another storage."""
    declared = read_yaml(settings)
    storage = declared.get("storage") if isinstance(declared, dict) else None
    return not isinstance(storage, dict) or "sqlite" in storage


@contextlib.contextmanager
def instance_of(home: Path) -> Iterator[dg.DagsterInstance]:
    """Open the instance of a home and set DAGSTER_HOME while it is open, because its event log reads the variable.

    Raises:
        EmergenceError: see `prepare_settings` and `open_instance`.
    """
    with environment_variables({"DAGSTER_HOME": str(prepare_settings(home))}), open_instance(home) as instance:
        yield instance


@contextlib.contextmanager
def open_instance(home: Path) -> Iterator[dg.DagsterInstance]:
    """Open the instance of DAGSTER_HOME.

    Args:
        home: the folder that DAGSTER_HOME names.

    Raises:
        EmergenceError: a database of the instance cannot be read or written, also while it is open.
    """
    with database_errors_explained(home), dg.DagsterInstance.get() as instance:
        yield instance
