"""List, verify and pin checkpoints, for `emergence checkpoints`."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from emergence_assets.checkpoints.inspection import content_tasks, forget_refusals, measurement_tasks
from emergence_assets.checkpoints.listing import pin_new_models, refresh_timeline, verify_pins
from emergence_assets.checkpoints.sources.of_family import source_of
from emergence_assets.checkpoints.sources.source import reference
from emergence_assets.plan.cell import Cell
from emergence_assets.plan.listeners import ListeningCompute, TaskListener
from emergence_assets.plan.plan import Plan
from emergence_assets.plan.timeline import read_timeline
from emergence_assets.study.study import Study
from resources.compute.choice import chosen_compute
from resources.errors import EmergenceError
from resources.files.storage import Storage


def checkpoint_rows(study: Study, storage: Storage, models: Sequence[str]) -> list[dict[str, Any]]:
    """List one row per step of every model: its timeline entry, and whether the checkpoint is cached.

    Raises:
        EmergenceError: the source cannot be read.
    """
    source = source_of(study.family, storage)
    rows = []
    for model in models:
        for entry in refresh_timeline(study, storage, model, source).entries:
            ref = reference(model, entry)
            cached = source.is_cached(ref) if ref else None
            rows.append({"model": model, **asdict(entry), "failed": list(entry.failed), "cached": cached})
    return rows


def list_new_models(plan: Plan) -> dict[str, str]:
    """List the checkpoints of models that were not looked for yet, where the study does not list steps itself.

    Returns:
        Model to the reason why none of its checkpoints is known.
    """
    unlisted = {}
    for model in plan.study.models if plan.study.listed_steps is None else ():
        try:
            timeline = plan.timeline(model) or refresh_timeline(plan.study, plan.storage, model)
        except EmergenceError as error:
            unlisted[model] = str(error)
            continue
        if not timeline.entries:
            unlisted[model] = timeline.found_instead
    plan.reload()
    return unlisted


def without_checkpoints(study: Study, storage: Storage, models: Sequence[str]) -> list[str]:
    """Return a line for every model whose source has no checkpoint, by the stored timelines."""
    if study.family.trained_here:
        return []
    timelines = {model: read_timeline(storage.timeline(model)) for model in models}
    return [
        f"{model} has no checkpoint yet" + (f": {timeline.found_instead}" if timeline.found_instead else "")
        for model, timeline in timelines.items()
        if timeline and not any(entry.identity for entry in timeline.entries)
    ]


def verify_checkpoints(study: Study, storage: Storage, models: Sequence[str], progress: TaskListener) -> list[str]:
    """Measure new checkpoints and those that could not be used, hash files again, compare the pins with the source.

    Returns:
        One line per checkpoint that is left out, altered or moved.

    Raises:
        EmergenceError: the source does not answer.
    """
    pin_new_models(study, storage)
    problems: list[str] = []
    with chosen_compute(storage.data) as workers:
        compute = ListeningCompute(workers, progress)
        cells = [
            Cell(model, entry.step)
            for model in models
            for entry in refresh_timeline(study, storage, model).entries
            if entry.identity
        ]
        forget_refusals(study, storage, cells)
        again = content_tasks(study, storage, cells)  # checkpoints that are measured below need no second pass
        for task, problem in compute.run([*again, *measurement_tasks(study, storage, cells)], lambda *_: None):
            if problem:
                problems.append(f"{task.label}: {problem}")
    for model in models:
        problems += [f"{model} step {entry.step}: {entry.upstream}" for entry in verify_pins(study, storage, model)]
        problems += [
            f"{model} step {entry.step} is {entry.status}: {entry.reason}"
            for entry in refresh_timeline(study, storage, model).left_out
        ]
    return problems


def pin_revisions(
    study: Study, storage: Storage, models: Sequence[str], update: bool
) -> tuple[Path | None, dict[str, list[str]]]:
    """Refresh the lock file of a hub family; with `update`, also pin the new commits of branches that moved.

    Returns:
        Path of the lock file, and one line per revision that was added, removed or moved.

    Raises:
        EmergenceError: the family is not on a hub, or the hub does not answer.
    """
    source = source_of(study.family, storage)
    changes = source.refresh(models, accept_moved=update)
    return source.lock_file, asdict(changes)
