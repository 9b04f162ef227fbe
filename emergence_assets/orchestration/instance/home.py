"""The Dagster instance that `emergence run` and the UI share: its home, its settings, and runs of dead processes."""

import contextlib
import os
import re
import shutil
import socket
from collections.abc import Iterator
from pathlib import Path

import dagster as dg

from resources.errors import EmergenceError
from resources.files.atomic import clear_disk_errors, process_is_alive
from resources.files.storage import instance_home, prepare_folder

OWNER_TAG = "emergence/process"
"""Run tag `host:pid:run` of the process that executes the run."""
DEAD_RUN_SECONDS = 30
UNFINISHED = (dg.DagsterRunStatus.STARTED, dg.DagsterRunStatus.STARTING, dg.DagsterRunStatus.CANCELING)


def prepare_home(data: Path) -> Path:
    """Set DAGSTER_HOME to the user's own or to a folder inside the data; give it the project's settings if it has none.

    Raises:
        EmergenceError: the folder cannot be written, or DAGSTER_HOME is not an absolute path.
    """
    home = instance_home(data)
    if not home.is_absolute():
        raise EmergenceError(
            f"DAGSTER_HOME is {str(home)!r}, which is not absolute.", remedy="set it to an absolute path or unset it"
        )
    os.environ["DAGSTER_HOME"] = str(prepare_settings(home))
    return home


def prepare_settings(home: Path) -> Path:
    """Make a folder the home of an instance: it gets the project's settings if it has none.

    Raises:
        EmergenceError: it cannot be written.
    """
    prepare_folder(home)
    settings = home / "dagster.yaml"
    if not settings.exists():
        with clear_disk_errors(home):
            shutil.copyfile(Path(__file__).with_name("dagster.yaml"), settings)
    return home


@contextlib.contextmanager
def instance_of(home: Path) -> Iterator[dg.DagsterInstance]:
    """Open the instance of a home, which is DAGSTER_HOME as long as it is open: its event log asks for it.

    Raises:
        EmergenceError: the folder cannot be written.
    """
    before = os.environ.get("DAGSTER_HOME")
    os.environ["DAGSTER_HOME"] = str(prepare_settings(home))
    try:
        with dg.DagsterInstance.get() as instance:
            yield instance
    finally:
        os.environ.pop("DAGSTER_HOME")
        if before is not None:
            os.environ["DAGSTER_HOME"] = before


def owner(run_id: str) -> str:
    """Value of OWNER_TAG for a run that this process executes."""
    return f"{socket.gethostname()}:{os.getpid()}:{run_id}"


def tag_run_owner(instance: dg.DagsterInstance, run: dg.DagsterRun) -> None:
    """Note that this process executes a run, so that it is not taken for alive when the process is gone."""
    if run.tags.get(OWNER_TAG) != owner(run.run_id):
        instance.add_run_tags(run.run_id, {OWNER_TAG: owner(run.run_id)})


def close_dead_runs(instance: dg.DagsterInstance) -> int:
    """Mark as failed the runs whose process on this host is gone, and free the pool slots that they still hold.

    Returns:
        How many there were.
    """
    dead = 0
    for run in instance.get_runs(dg.RunsFilter(statuses=list(UNFINISHED))):
        # With the run's own number: one that Dagster starts again inherits the tags of the one that died.
        owned = re.fullmatch(rf"(.*):(\d+):{re.escape(run.run_id)}", run.tags.get(OWNER_TAG, ""))
        if owned and owned[1] == socket.gethostname() and not process_is_alive(int(owned[2])):
            instance.report_run_failed(run, "The process that executed this run is gone.")
            instance.event_log_storage.free_concurrency_slots_for_run(run.run_id)
            dead += 1
    return dead


def dead_run_sensor(on: bool) -> dg.SensorDefinition:
    """Looks every so often for runs whose process is gone: Dagster's own launcher never notices, and waits for them."""

    @dg.sensor(
        name="dead_runs",
        minimum_interval_seconds=DEAD_RUN_SECONDS,
        default_status=dg.DefaultSensorStatus.RUNNING if on else dg.DefaultSensorStatus.STOPPED,
        description="Closes runs whose process is gone, so that they are started again and others need not wait.",
    )
    def dead_runs(context: dg.SensorEvaluationContext) -> dg.SkipReason:
        dead = close_dead_runs(context.instance)
        return dg.SkipReason(f"{dead} runs closed whose process is gone" if dead else None)

    return dead_runs
