"""Dagster instance shared by `emergence run` and the UI: its home, its settings, and runs of dead processes."""

import contextlib
import os
import re
import shutil
import socket
from collections.abc import Iterator
from pathlib import Path

import dagster as dg

from resources.environment import environment_variables
from resources.errors import EmergenceError
from resources.files.atomic import clear_disk_errors, process_is_alive
from resources.files.storage import instance_home, prepare_folder

OWNER_TAG = "emergence/process"
"""Run tag `host:pid:run` of the process that executes the run."""
DEAD_RUN_SECONDS = 30
UNFINISHED = (dg.DagsterRunStatus.STARTED, dg.DagsterRunStatus.STARTING, dg.DagsterRunStatus.CANCELING)


def prepare_home(data: Path) -> Path:
    """Set DAGSTER_HOME to the user's value or to a folder in the data; a home without settings gets the project's.

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
    """Make a folder the home of an instance: copy the project's settings into it if it has none.

    Raises:
        EmergenceError: the folder cannot be written.
    """
    prepare_folder(home)
    settings = home / "dagster.yaml"
    if not settings.exists():
        with clear_disk_errors(home):
            shutil.copyfile(Path(__file__).with_name("dagster.yaml"), settings)
    return home


@contextlib.contextmanager
def instance_of(home: Path) -> Iterator[dg.DagsterInstance]:
    """Open the instance of a home and set DAGSTER_HOME while it is open, because its event log reads the variable.

    Raises:
        EmergenceError: the folder cannot be written.
    """
    with environment_variables({"DAGSTER_HOME": str(prepare_settings(home))}), dg.DagsterInstance.get() as instance:
        yield instance


def owner(run_id: str) -> str:
    """Return the value of OWNER_TAG for a run that this process executes."""
    return f"{socket.gethostname()}:{os.getpid()}:{run_id}"


def tag_run_owner(instance: dg.DagsterInstance, run: dg.DagsterRun) -> None:
    """Tag a run with this process, so that the run can be closed when the process is dead."""
    if run.tags.get(OWNER_TAG) != owner(run.run_id):
        instance.add_run_tags(run.run_id, {OWNER_TAG: owner(run.run_id)})


def close_dead_runs(instance: dg.DagsterInstance) -> int:
    """Mark the runs of dead processes on this host as failed, and free the pool slots that these runs still hold.

    Returns:
        Number of runs that were closed.
    """
    dead = 0
    for run in instance.get_runs(dg.RunsFilter(statuses=list(UNFINISHED))):
        # With the id of the run itself: a run that Dagster retries inherits the tags of the dead run.
        owned = re.fullmatch(rf"(.*):(\d+):{re.escape(run.run_id)}", run.tags.get(OWNER_TAG, ""))
        if owned and owned[1] == socket.gethostname() and not process_is_alive(int(owned[2])):
            instance.report_run_failed(run, "The process that executed this run is gone.")
            instance.event_log_storage.free_concurrency_slots_for_run(run.run_id)
            dead += 1
    return dead


def dead_run_sensor(on: bool) -> dg.SensorDefinition:
    """Make a sensor that closes runs of dead processes, which Dagster's launcher does not notice and waits for."""

    @dg.sensor(
        name="dead_runs",
        minimum_interval_seconds=DEAD_RUN_SECONDS,
        default_status=dg.DefaultSensorStatus.RUNNING if on else dg.DefaultSensorStatus.STOPPED,
        description="Closes runs of dead processes, so that they are retried and other runs need not wait.",
    )
    def dead_runs(context: dg.SensorEvaluationContext) -> dg.SkipReason:
        dead = close_dead_runs(context.instance)
        return dg.SkipReason(f"{dead} runs closed whose process is gone" if dead else None)

    return dead_runs
