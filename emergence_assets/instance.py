"""The Dagster instance that `emergence run` and the UI share: its home, its settings, and runs of dead processes."""

import os
import shutil
import socket
from pathlib import Path

import dagster as dg

from emergence_assets.durable import clear_disk_errors, process_is_alive
from emergence_assets.errors import EmergenceError
from resources.storage import prepare_folder

OWNER_TAG = "emergence/process"
"""Run tag `host:pid` of the process that executes a run itself."""
UNFINISHED = (dg.DagsterRunStatus.STARTED, dg.DagsterRunStatus.STARTING, dg.DagsterRunStatus.CANCELING)


def prepare_home(data: Path) -> Path:
    """Set DAGSTER_HOME to the user's own or to a folder inside the data; give it the project's settings if it has none.

    Raises:
        EmergenceError: the folder cannot be written, or DAGSTER_HOME is not an absolute path.
    """
    home = Path(os.environ.get("DAGSTER_HOME") or data / "dagster")
    if not home.is_absolute():
        raise EmergenceError(
            f"DAGSTER_HOME is {str(home)!r}, which is not absolute.", remedy="set it to an absolute path or unset it"
        )
    prepare_folder(home)
    os.environ["DAGSTER_HOME"] = str(home)
    settings = home / "dagster.yaml"
    if not settings.exists():
        with clear_disk_errors(home):
            shutil.copyfile(Path(__file__).with_name("dagster.yaml"), settings)
    return home


def owner() -> str:
    """Value of OWNER_TAG for this process."""
    return f"{socket.gethostname()}:{os.getpid()}"


def close_dead_runs(instance: dg.DagsterInstance) -> int:
    """Mark as failed the runs whose process on this host is gone, and free the pool slots that they still hold.

    Returns:
        How many there were.
    """
    dead = 0
    for run in instance.get_runs(dg.RunsFilter(statuses=list(UNFINISHED))):
        host, _, pid = run.tags.get(OWNER_TAG, "").rpartition(":")
        if host == socket.gethostname() and pid.isdecimal() and not process_is_alive(int(pid)):
            instance.report_run_failed(run, "The process that executed this run is gone.")
            instance.event_log_storage.free_concurrency_slots_for_run(run.run_id)
            dead += 1
    return dead
