"""Looking at checkpoints: tasks that measure what nobody looked at yet, and compare again what was measured.

Belongs here: what a worker does with one checkpoint before it is judged. Does not belong here: what is measured
(`measurement.py`), what becomes of it (`listing.py`), the cells of the pipeline (`cells.py`).
"""

from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from emergence_assets.checkpoints.listing import reference
from emergence_assets.checkpoints.sources.choice import source_arguments, source_of
from emergence_assets.checkpoints.sources.source import CheckpointRef
from emergence_assets.durable import clear_disk_errors
from emergence_assets.errors import BrokenCheckpoint
from emergence_assets.family import TrainedHere
from emergence_assets.plan import Cell
from emergence_assets.study import Study
from emergence_assets.time_axis import read_time_axis
from resources.compute import Task
from resources.storage import Storage

CONTENT_HASHES = ("weights_sha256", "config_sha256", "tokenizer_sha256")
"""What of a checkpoint's facts says which content it has."""


def measurement_tasks(study: Study, storage: Storage, cells: Sequence[Cell]) -> list[Task]:
    """One task per checkpoint that was not measured yet; equal ones, by what their source says, are measured once."""
    tasks: dict[str, Task] = {}
    for cell in cells:
        axis = read_time_axis(storage.time_axis(str(cell.model)))
        ref = reference(axis, str(cell.model), int(cell.step or 0)) if axis else None
        if ref is None or ref.identity in tasks or storage.checkpoint_measurement(ref.identity).exists():
            continue
        arguments = {
            "source": source_arguments(study.family, storage),
            "checkpoint": asdict(ref),
            "path": str(storage.checkpoint_measurement(ref.identity)),
            "left_out_if_broken": not isinstance(study.family, TrainedHere),
        }
        tasks[ref.identity] = Task("emergence_assets.checkpoints.inspection:measure", arguments, str(cell))
    return list(tasks.values())


def measure(
    source: dict[str, Any], checkpoint: dict[str, Any], path: str, left_out_if_broken: bool, report: Any
) -> None:
    """Worker: fetch one checkpoint, look at every weight once, and note what it is.

    What is wrong with a checkpoint from outside is noted too, so that it is left out; one that was trained here can be
    made again, so that it is an error.
    """
    import torch

    from emergence_assets.checkpoints.fixed_text import fixed_text_loss
    from emergence_assets.checkpoints.loading import is_causal
    from emergence_assets.checkpoints.measurement import Refusal, measure_checkpoint, write_measurement
    from emergence_assets.checkpoints.sources.choice import source_from
    from resources.accelerator import choose_accelerator

    accelerator, origin, ref = choose_accelerator(), source_from(source), CheckpointRef(**checkpoint)
    try:
        with origin.fetch(ref, report) as folder:
            report(0, 2, "reading the weights")
            measured = measure_checkpoint(folder)
            report(1, 2, "loss on the fixed text")
            model = origin.load(folder, accelerator.device, torch.float32)
            if is_causal(model):
                measured = replace(measured, loss=fixed_text_loss(model, folder / "tokenizer.json"))
            report(2, 2, "")
    except BrokenCheckpoint as error:
        # What the disk or the network behind it did not give now it may give next time.
        if not left_out_if_broken or getattr(error.__cause__, "errno", None) is not None:
            raise
        measured = Refusal(error.reason)
    with clear_disk_errors(Path(path)):
        write_measurement(Path(path), measured)


def content_tasks(study: Study, storage: Storage, cells: Sequence[Cell]) -> list[Task]:
    """One task per measured checkpoint that is on this machine: is it still what was measured?"""
    source = source_of(study.family, storage)
    tasks: dict[str, Task] = {}
    for cell in cells:
        axis = read_time_axis(storage.time_axis(str(cell.model)))
        ref = reference(axis, str(cell.model), int(cell.step or 0)) if axis else None
        if ref is None or not source.is_cached(ref) or not storage.checkpoint_measurement(ref.identity).exists():
            continue
        arguments = {
            "source": source_arguments(study.family, storage),
            "checkpoint": asdict(ref),
            "path": str(storage.checkpoint_measurement(ref.identity)),
        }
        tasks[ref.identity] = Task("emergence_assets.checkpoints.inspection:compare_content", arguments, str(cell))
    return list(tasks.values())


def compare_content(source: dict[str, Any], checkpoint: dict[str, Any], path: str, report: Any) -> str:
    """Worker: hash a checkpoint again; what differs from its measurement, in words."""
    from emergence_assets.checkpoints.folder import read_facts
    from emergence_assets.checkpoints.measurement import Measurement, read_measurement
    from emergence_assets.checkpoints.sources.choice import source_from

    measured = read_measurement(Path(path), sample=False)
    if not isinstance(measured, Measurement):
        return ""
    try:
        with source_from(source).fetch(CheckpointRef(**checkpoint), report) as folder:
            facts = read_facts(folder, check_finite=False)
    except BrokenCheckpoint as error:
        return f"{error.what} ({error.where})"
    altered = [name for name in CONTENT_HASHES if getattr(facts, name) != getattr(measured.facts, name)]
    return f"{', '.join(altered)} differ from what was measured: the files were altered" if altered else ""
