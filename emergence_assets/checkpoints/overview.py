"""What `emergence checkpoints` says and does: rows of all checkpoints, verification, pins. Plain: no orchestration."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from emergence_assets.checkpoints.inspection import content_tasks, measurement_tasks
from emergence_assets.checkpoints.listing import pin_new_models, refresh_timeline, verify_pins
from emergence_assets.checkpoints.sources.of_family import hub_source_of, source_of
from emergence_assets.checkpoints.sources.source import reference
from emergence_assets.plan.cell import Cell
from emergence_assets.plan.listeners import ListeningCompute, TaskListener
from emergence_assets.plan.timeline import Timeline
from emergence_assets.study.family import Hub
from emergence_assets.study.study import Study
from resources.compute.local_processes import LocalProcesses
from resources.errors import EmergenceError
from resources.files.storage import Storage


def checkpoint_rows(study: Study, storage: Storage, models: Sequence[str]) -> list[dict[str, Any]]:
    """One row per step of every model: the entry of its checkpoint timeline, and whether it is cached.

    Raises:
        EmergenceError: the source cannot be read.
    """
    source = source_of(study.family, storage)
    rows = []
    for model in models:
        axis = refresh_timeline(study, storage, model, source)
        for entry in axis.entries:
            ref = reference(axis, model, entry.step)
            cached = source.is_cached(ref) if ref else None
            rows.append({"model": model, **asdict(entry), "failed": list(entry.failed), "cached": cached})
    return rows


def verify_checkpoints(study: Study, storage: Storage, models: Sequence[str], progress: TaskListener) -> list[str]:
    """Measure what was not measured, hash again what is on this machine, ask the source about the pins.

    Returns:
        A line per checkpoint that is left out, altered or moved.

    Raises:
        EmergenceError: the source cannot be asked.
    """
    pin_new_models(study, storage)
    problems: list[str] = []
    with LocalProcesses() as workers:
        compute = ListeningCompute(workers, progress)
        axes = {model: refresh_timeline(study, storage, model) for model in models}
        cells = [Cell(model, entry.step) for model, axis in axes.items() for entry in axis.entries if entry.identity]
        again = content_tasks(study, storage, cells)  # before the new ones, which need no second look
        for task, problem in compute.run([*again, *measurement_tasks(study, storage, cells)], lambda *_: None):
            if problem:
                problems.append(f"{task.label}: {problem}")
    for model in models:
        problems += [f"{model} step {entry.step}: {entry.upstream}" for entry in verify_pins(study, storage, model)]
        problems += [
            f"{model} step {entry.step} is {entry.status}: {entry.reason}"
            for entry in _axis(study, storage, model).left_out
        ]
    return problems


def pin_revisions(
    study: Study, storage: Storage, models: Sequence[str], update: bool
) -> tuple[Path, dict[str, list[str]]]:
    """Refresh the lock file of a hub family.

    Returns:
        Its path, and what was added, removed and moved, a line each.

    Raises:
        EmergenceError: the family is not on a hub, or the hub cannot be asked.
    """
    if not isinstance(study.family, Hub):
        raise EmergenceError(
            f"Study {study.name} takes its checkpoints from {study.family.source}, where there is nothing to pin.",
            remedy="lock files belong to families with source: hub",
        )
    source = hub_source_of(study.family, storage)
    changes = source.refresh(models, accept_moved=update)
    return source.lock, {"added": list(changes.added), "removed": list(changes.removed), "moved": list(changes.moved)}


def _axis(study: Study, storage: Storage, model: str) -> Timeline:
    return refresh_timeline(study, storage, model)
