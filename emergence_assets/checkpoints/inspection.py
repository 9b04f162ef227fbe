"""Tasks that measure new checkpoints, and tasks that hash the files of measured checkpoints again."""

from collections.abc import Sequence
from dataclasses import asdict

from emergence_assets.checkpoints.sources.ahead import fetch_of
from emergence_assets.checkpoints.sources.of_family import source_arguments, source_of
from emergence_assets.checkpoints.sources.source import reference
from emergence_assets.plan.cell import Cell
from emergence_assets.plan.timeline import entry_of
from emergence_assets.study.study import Study
from resources.compute.task import Task
from resources.files.storage import Storage

CONTENT_HASHES = ("weights_sha256", "config_sha256", "tokenizer_sha256")
"""Facts of a checkpoint that identify its content."""


def measurement_tasks(study: Study, storage: Storage, cells: Sequence[Cell]) -> list[Task]:
    """List one task per checkpoint that is not measured yet; checkpoints with equal identities are measured once."""
    more = {"left_out_if_broken": not study.family.trained_here}
    return [task for task, measured, _ in _tasks("measure", study, storage, cells, more) if not measured]


def forget_refusals(study: Study, storage: Storage, cells: Sequence[Cell]) -> None:
    """Delete the measurements of checkpoints that could not be used, so that they are measured again."""
    from emergence_assets.checkpoints.identity.measurement import InvalidCheckpoint, read_measurement

    for cell in cells:
        ref = reference(str(cell.model), entry_of(storage, cell))
        path = storage.checkpoint_measurement(ref.identity) if ref else None
        if path and path.exists() and isinstance(read_measurement(path, sample=False), InvalidCheckpoint):
            path.unlink(missing_ok=True)


def content_tasks(study: Study, storage: Storage, cells: Sequence[Cell]) -> list[Task]:
    """List one task per measured checkpoint on this machine; the task hashes its files again."""
    tasks = _tasks("compare_content", study, storage, cells, {})
    return [task for task, measured, is_cached in tasks if measured and is_cached]


def _tasks(
    worker: str, study: Study, storage: Storage, cells: Sequence[Cell], more: dict[str, bool]
) -> list[tuple[Task, bool, bool]]:
    """List a task per checkpoint identity, with two flags: it is measured; it is on this machine."""
    source, plain = source_of(study.family, storage), source_arguments(study.family, storage)
    tasks = {}
    for cell in cells:
        ref = reference(str(cell.model), entry_of(storage, cell))
        if ref is None or ref.identity in tasks:
            continue
        path = storage.checkpoint_measurement(ref.identity)
        arguments = {"source": plain, "checkpoint": asdict(ref), "path": str(path), **more}
        function = f"emergence_assets.checkpoints.identity.worker:{worker}"
        task = Task(function, arguments, str(cell), fetch=fetch_of(study.family, storage, ref))
        tasks[ref.identity] = task, path.exists(), source.is_cached(ref)
    return list(tasks.values())
