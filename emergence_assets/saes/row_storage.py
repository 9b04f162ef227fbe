"""Evict, restore and export the training rows of many cells, for `emergence storage`."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from emergence_assets.activations.files.layout import StorageState
from emergence_assets.activations.files.reading import open_rows, read_attrs, read_spec
from emergence_assets.activations.spec import ACTIVATIONS, capture_arguments, checkpoint_fetch
from emergence_assets.plan.cell import Cell
from emergence_assets.plan.listeners import ListeningCompute, TaskListener
from emergence_assets.plan.plan import Plan
from emergence_assets.plan.selection import Selection
from emergence_assets.saes.spec import SAE
from emergence_assets.texts.tokens import read_tokens
from resources.compute.choice import chosen_compute
from resources.compute.task import Task
from resources.errors import EmergenceError
from resources.files.atomic import replacing_file


def storage_states(plan: Plan, selection: Selection) -> dict[Cell, StorageState]:
    """Read the storage state of every activation file; cells without a file are left out.

    Raises:
        EmergenceError: a file is damaged.
    """
    paths = {cell: ACTIVATIONS.path(plan.storage, cell) for cell in selection.of(plan.cells(ACTIVATIONS))}
    return {cell: read_spec(path).storage_state for cell, path in paths.items() if path.exists()}


def evict(plan: Plan, selection: Selection, untrained_too: bool, progress: TaskListener) -> dict[str, Any]:
    """Evict the rows of the selected files.

    Args:
        plan: plan of the study.
        selection: cells whose rows are evicted.
        untrained_too: also evict rows on which no SAE has been trained.
        progress: called with finished tasks.

    Returns:
        Numbers of evicted and of spared cells, and bytes freed.
    """
    stored = [cell for cell, state in storage_states(plan, selection).items() if state == "stored"]
    spared = {cell for cell in stored if not untrained_too and plan.state(SAE, cell).state != "done"}
    tasks = []
    for cell in stored:
        if cell not in spared:
            path, lock = ACTIVATIONS.path(plan.storage, cell), plan.storage.checkpoint_lock(*cell.at_step)
            arguments = {"activation_file": str(path), "lock": str(lock)}
            tasks.append(Task("emergence_assets.activations.forward.worker:evict_file", arguments, str(cell)))
    freed = [result for _, result in _run(plan.storage.data, tasks, progress)]
    return {"changed": len(freed), "spared": len(spared), "freed_bytes": sum(freed)}


def follow_retention(plan: Plan, progress: TaskListener) -> dict[str, Any] | None:
    """Evict rows that the study does not keep, left by an earlier run that was killed or had another retention."""
    if plan.study.activations.retention != "drop-after-sae":
        return None
    return evict(plan, Selection(), untrained_too=False, progress=progress)


def restore(plan: Plan, selection: Selection, progress: TaskListener) -> dict[str, Any]:
    """Restore evicted rows by running their checkpoints again.

    Raises:
        EmergenceError: an evicted cell is stale, or the rows captured now differ from the evicted rows.
    """
    evicted = [cell for cell, state in storage_states(plan, selection).items() if state == "evicted"]
    by_step: dict[Cell, list[Cell]] = {}
    for cell in evicted:
        state = plan.state(ACTIVATIONS, cell)
        if state.state != "done":
            raise EmergenceError(
                f"The rows of {cell} were evicted, and the file is {state.state}: {state.reason}.",
                where=ACTIVATIONS.path(plan.storage, cell),
                remedy="type `emergence run`: it is made again",
            )
        by_step.setdefault(Cell(cell.model, cell.step), []).append(cell)
    tasks = []
    for checkpoint, cells in by_step.items():
        arguments = {
            "origin": capture_arguments(plan, checkpoint),
            "layers": {str(cell.layer): str(ACTIVATIONS.path(plan.storage, cell)) for cell in cells},
        }
        function, fetch = (
            "emergence_assets.activations.forward.worker:restore_layers",
            checkpoint_fetch(plan, checkpoint),
        )
        tasks.append(Task(function, arguments, str(checkpoint), fetch=fetch))
    _run(plan.storage.data, tasks, progress)
    return {"restored": len(evicted)}


def _run(data: Path, tasks: Sequence[Task], progress: TaskListener) -> list[tuple[Task, Any]]:
    with chosen_compute(data) as workers:
        return list(ListeningCompute(workers, progress).run(tasks, lambda *_: None))


def export(plan: Plan, selection: Selection, layout: str, context_size: int, folder: Path) -> list[dict[str, Any]]:
    """Write the rows of the selected cells for another trainer: one folder per cell, and an index.

    Args:
        plan: plan of the study.
        selection: cells to export.
        layout: key of `activations.files.export.LAYOUTS`.
        context_size: rows per sequence, in layouts with sequences.
        folder: parent of all cell folders; existing content is kept.

    Raises:
        EmergenceError: a cell has no rows on disk, its folder exists already, or the disk is full.
    """
    from emergence_assets.activations.files.export import LAYOUTS

    written = []
    for cell in storage_states(plan, selection):
        path = ACTIVATIONS.path(plan.storage, cell)
        rows = open_rows(path, "resid_post", verify=True)
        attrs = read_attrs(path)
        tokens = read_tokens(plan.storage.tokens_file(str(attrs["tokens_file"]).removesuffix(".h5")))
        hook_name = f"blocks.{cell.layer}.hook_resid_post"
        name = str(cell).replace("/", "-")
        parts = LAYOUTS[layout](rows, tokens, hook_name, context_size, folder / name)
        entry = {"model": cell.model, "step": cell.step, "layer": cell.layer, "folder": name, "hook_name": hook_name}
        entry |= {"n_rows": len(rows), "d_model": rows.array.shape[1], "parts": parts, "stored_as": rows.dtype}
        entry |= {"checkpoint_sha256": attrs["checkpoint_sha256"], "content_xxh3_128": attrs["content_xxh3_128"]}
        written.append(entry)
    with replacing_file(folder / "index.json") as temporary:
        temporary.write_text(json.dumps({"layout": layout, "cells": written}, indent=2) + "\n", encoding="utf-8")
    return written
