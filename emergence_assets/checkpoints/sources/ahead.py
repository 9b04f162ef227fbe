"""Fetch checkpoints ahead of the tasks that compute with them."""

from collections.abc import Sequence
from dataclasses import asdict
from functools import partial
from typing import Any

from emergence_assets.checkpoints.sources.of_family import source_arguments, source_from
from emergence_assets.checkpoints.sources.source import CheckpointRef, reference
from emergence_assets.plan.cell import Cell
from emergence_assets.plan.plan import Plan
from emergence_assets.plan.timeline import entry_of
from emergence_assets.study.family import Family
from resources.compute.fetching import fetch_in_background
from resources.compute.task import Fetch
from resources.files.storage import Storage
from resources.progress import Report


def fetch_of(family: Family, storage: Storage, ref: CheckpointRef) -> Fetch | None:
    """Return the call that brings a checkpoint to this machine; None for a family that lies on it."""
    if family.source != "hub":
        return None
    arguments = {"source": source_arguments(family, storage), "checkpoint": asdict(ref)}
    return Fetch("emergence_assets.checkpoints.sources.ahead:fetch_ahead", arguments)


def fetch_meanwhile(plan: Plan, cells: Sequence[Cell]) -> None:
    """Bring checkpoints to this machine one by one in a thread of this process, and return at once."""
    family, storage = plan.study.family, plan.storage
    for cell in cells:
        ref = reference(str(cell.model), entry_of(storage, cell))
        if ref and (fetch := fetch_of(family, storage, ref)):
            fetch_in_background(partial(fetch_ahead, **fetch.arguments, report=lambda *_: None))


def fetch_ahead(source: dict[str, Any], checkpoint: dict[str, Any], report: Report) -> None:
    """Bring a checkpoint to this machine; called in a worker."""
    source_from(source).fetch_ahead(CheckpointRef(**checkpoint), report)
