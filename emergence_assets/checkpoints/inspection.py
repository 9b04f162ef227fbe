"""Looking at checkpoints: tasks that measure what nobody looked at yet, and compare again what was measured."""

from collections.abc import Sequence
from dataclasses import asdict

from emergence_assets.checkpoints.sources.of_family import source_arguments, source_of
from emergence_assets.checkpoints.sources.source import reference
from emergence_assets.plan.cell import Cell
from emergence_assets.plan.timeline import read_timeline
from emergence_assets.study.family import TrainedHere
from emergence_assets.study.study import Study
from resources.compute.task import Task
from resources.files.storage import Storage

CONTENT_HASHES = ("weights_sha256", "config_sha256", "tokenizer_sha256")
"""What of a checkpoint's facts says which content it has."""


def measurement_tasks(study: Study, storage: Storage, cells: Sequence[Cell]) -> list[Task]:
    """One task per checkpoint that was not measured yet; equal ones, by what their source says, are measured once."""
    tasks: dict[str, Task] = {}
    for cell in cells:
        axis = read_timeline(storage.timeline(str(cell.model)))
        ref = reference(axis, *cell.at_step) if axis else None
        if ref is None or ref.identity in tasks or storage.checkpoint_measurement(ref.identity).exists():
            continue
        arguments = {
            "source": source_arguments(study.family, storage),
            "checkpoint": asdict(ref),
            "path": str(storage.checkpoint_measurement(ref.identity)),
            "left_out_if_broken": not isinstance(study.family, TrainedHere),
        }
        tasks[ref.identity] = Task("emergence_assets.checkpoints.identity.worker:measure", arguments, str(cell))
    return list(tasks.values())


def content_tasks(study: Study, storage: Storage, cells: Sequence[Cell]) -> list[Task]:
    """One task per measured checkpoint that is on this machine: is it still what was measured?"""
    source = source_of(study.family, storage)
    tasks: dict[str, Task] = {}
    for cell in cells:
        axis = read_timeline(storage.timeline(str(cell.model)))
        ref = reference(axis, *cell.at_step) if axis else None
        if ref is None or not source.is_cached(ref) or not storage.checkpoint_measurement(ref.identity).exists():
            continue
        arguments = {
            "source": source_arguments(study.family, storage),
            "checkpoint": asdict(ref),
            "path": str(storage.checkpoint_measurement(ref.identity)),
        }
        tasks[ref.identity] = Task("emergence_assets.checkpoints.identity.worker:compare_content", arguments, str(cell))
    return list(tasks.values())
