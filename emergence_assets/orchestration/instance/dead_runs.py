"""Runs of dead processes, on this host or another: they are closed, so that they are retried and hold up no others.

A process that executes runs holds an exclusive lock on a file of its own in the home of the instance as long as it
lives; the operating system releases the lock. Process ids would not do: a container has a new host name at every start,
and its processes have the same ids as before.
"""

import contextlib
import fcntl
import os
import re
import socket
import uuid
from pathlib import Path
from typing import IO

import dagster as dg

from resources.files.atomic import clear_disk_errors

OWNER_TAG = "emergence/process"
"""Run tag `host:pid:lock:run` of the process that executes the run; host and process id are for people."""
DEAD_RUN_SECONDS = 30
UNFINISHED = (dg.DagsterRunStatus.STARTED, dg.DagsterRunStatus.STARTING, dg.DagsterRunStatus.CANCELING)
_held: dict[tuple[Path, int], tuple[str, IO[str]]] = {}
"""Maps folder and process id to the name of the lock that this process holds there, and its open file."""


def owner(instance: dg.DagsterInstance, run_id: str) -> str:
    """Return the value of OWNER_TAG for a run that this process executes, and take the lock of this process.

    Raises:
        EmergenceError: the home of the instance cannot be written.
    """
    key = _folder(instance), os.getpid()
    if key not in _held:
        with clear_disk_errors(key[0]):
            _held[key] = _take_lock(key[0])
    return f"{socket.gethostname()}:{os.getpid()}:{_held[key][0]}:{run_id}"


def _take_lock(folder: Path) -> tuple[str, IO[str]]:
    folder.mkdir(parents=True, exist_ok=True)
    name = uuid.uuid4().hex
    file = (folder / f".{name}").open("w")
    # A file system without locks keeps no lock from others either: there, runs count as alive.
    with contextlib.suppress(OSError):
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    (folder / f".{name}").rename(folder / name)  # locked before others see it
    return name, file


def tag_run_owner(instance: dg.DagsterInstance, run: dg.DagsterRun) -> None:
    """Tag a run with this process, so that the run can be closed when the process is dead."""
    tag = owner(instance, run.run_id)
    if run.tags.get(OWNER_TAG) != tag:
        instance.add_run_tags(run.run_id, {OWNER_TAG: tag})


def close_dead_runs(instance: dg.DagsterInstance) -> int:
    """Mark the runs of dead processes as failed, and free the pool slots that these runs still hold.

    Returns:
        Number of runs that were closed.
    """
    folder, dead = _folder(instance), 0
    released = {path for path in folder.glob("[0-9a-f]*") if _is_released(path)}
    for run in instance.get_runs(dg.RunsFilter(statuses=list(UNFINISHED))):
        # With the id of the run itself: a run that Dagster retries inherits the tags of the dead run.
        owned = re.fullmatch(rf"(.*):\d+:([0-9a-f]+):{re.escape(run.run_id)}", run.tags.get(OWNER_TAG, ""))
        if owned and folder / owned[2] in released:
            instance.report_run_failed(run, f"The process on {owned[1]} that executed this run is gone.")
            instance.event_log_storage.free_concurrency_slots_for_run(run.run_id)
            dead += 1
    for path in released:
        path.unlink(missing_ok=True)
    return dead


def _is_released(path: Path) -> bool:
    try:
        with path.open() as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
    except OSError:  # held, removed by another process, or a file system without locks
        return False


def _folder(instance: dg.DagsterInstance) -> Path:
    return Path(instance.root_directory) / "running"


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
