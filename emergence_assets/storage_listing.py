"""What `emergence storage` says and does: bytes by cell, rows let go, archived, brought back. Plain: no orchestration.

What a study will take is in `forecast.py`, what happens to one file in `activations/residency.py`.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from emergence_assets.activations.cells import ACTIVATIONS, harvest_origin
from emergence_assets.activations.layout import Residency
from emergence_assets.activations.reading import open_rows, read_attrs, read_spec, unarchive_rows
from emergence_assets.activations.tokens import read_tokens
from emergence_assets.display import Display
from emergence_assets.durable import replacing_file
from emergence_assets.errors import EmergenceError
from emergence_assets.forecast import path_bytes, stored_bytes
from emergence_assets.listeners import ListeningCompute
from emergence_assets.plan import Cell, Plan, Rule
from emergence_assets.saes.cells import AFTER_SAE, SAE
from emergence_assets.selection import Selection
from resources.compute import LocalProcesses, Task
from resources.storage import Storage, instance_home


def storage_rows(plan: Plan, by: Sequence[str]) -> list[dict[str, Any]]:
    """Bytes on disk, added up by any of stage, asset, model, step and layer, in flow order."""
    added: dict[tuple[Any, ...], dict[str, Any]] = {}
    for rule in plan.rules.values():
        for cell in plan.cells(rule):
            named = {"stage": rule.stage, "asset": rule.name, **cell._asdict()}
            key = tuple(named[name] for name in by)
            row = added.setdefault(key, {name: named[name] for name in by} | {"cells": 0, "bytes": 0})
            row["bytes"] += stored_bytes(rule, plan, cell)
            row["cells"] += 1
    return list(added.values())


def other_bytes(storage: Storage) -> dict[str, int]:
    """What lies in the data folder beside the cells of this study."""
    return {
        "token files": path_bytes(storage.tokens_folder),
        "checkpoint cache of all studies": path_bytes(storage.checkpoint_cache()),
        "measurements of all studies": path_bytes(storage.measurements_folder),
        "event log of all studies": path_bytes(instance_home(storage.data)),
    }


def residencies(plan: Plan, selection: Selection) -> dict[Cell, Residency]:
    """Where the rows of every activation file are; cells without a file are left out.

    Raises:
        EmergenceError: a file is damaged.
    """
    paths = {cell: ACTIVATIONS.path(plan.storage, cell) for cell in selection.of(plan.cells(ACTIVATIONS))}
    return {cell: read_spec(path).residency for cell, path in paths.items() if path.exists()}


def let_go(plan: Plan, selection: Selection, how: str, untrained_too: bool, console: Console) -> dict[str, Any]:
    """Evict or archive the rows of the selected files.

    Args:
        plan: Of the study.
        selection: Which cells.
        how: `evict` or `archive`.
        untrained_too: Also where no SAE has been trained on the rows.
        console: For progress.

    Returns:
        Counts of cells changed and spared, and bytes freed.
    """
    known = residencies(plan, selection)
    done_already = {"evict": ("evicted",), "archive": ("archived", "evicted")}[how]
    chosen = [cell for cell, residency in known.items() if residency not in done_already]
    spared = [cell for cell in chosen if not untrained_too and plan.state(SAE, cell).state != "done"]
    tasks = []
    for cell in chosen:
        if cell in spared:
            continue
        arguments = {
            "activation_file": str(ACTIVATIONS.path(plan.storage, cell)),
            "how": how,
            "lock": str(plan.storage.checkpoint_lock(str(cell.model), int(cell.step or 0))),
        }
        tasks.append(Task("emergence_assets.activations.harvest:let_rows_go", arguments, str(cell)))
    freed = [result for _, result in _run(tasks, console)]
    return {"changed": len(freed), "spared": len(spared), "freed_bytes": sum(freed)}


def follow_retention(plan: Plan, console: Console) -> dict[str, Any] | None:
    """Let go of what the study does not keep and is still there: a run was killed before that, or kept it by design."""
    how = AFTER_SAE.get(plan.study.activations.retention)
    return let_go(plan, Selection(), how, False, console) if how else None


def restore(plan: Plan, selection: Selection, console: Console) -> dict[str, Any]:
    """Bring rows back: archived ones from the archive, evicted ones by running their checkpoint again.

    Raises:
        EmergenceError: an evicted cell is not what the study asks for now, or what came back is not what was there.
    """
    known = {cell: residency for cell, residency in residencies(plan, selection).items() if residency != "stored"}
    by_step: dict[Cell, list[Cell]] = {}
    for cell, residency in known.items():
        if residency == "evicted":
            _require_done(plan, ACTIVATIONS, cell)
            by_step.setdefault(Cell(cell.model, cell.step), []).append(cell)
    tasks = []
    for checkpoint, cells in by_step.items():
        recipe = ACTIVATIONS.recipe(plan.study, plan.storage, cells[0]) or {}
        arguments = {
            "origin": harvest_origin(plan, checkpoint, recipe),
            "layers": {str(cell.layer): str(ACTIVATIONS.path(plan.storage, cell)) for cell in cells},
        }
        tasks.append(Task("emergence_assets.activations.harvest:restore_layers", arguments, str(checkpoint)))
    for cell, residency in known.items():
        if residency == "archived":
            arguments = {
                "activation_file": str(ACTIVATIONS.path(plan.storage, cell)),
                "lock": str(plan.storage.checkpoint_lock(str(cell.model), int(cell.step or 0))),
            }
            tasks.append(Task("emergence_assets.activations.harvest:unarchive", arguments, str(cell)))
    _run(tasks, console)
    return {"restored": len(known), "harvested": sum(map(len, by_step.values()))}


def _require_done(plan: Plan, rule: Rule, cell: Cell) -> None:
    state = plan.state(rule, cell)
    if state.state != "done":
        raise EmergenceError(
            f"The rows of {cell} were evicted, and the file is {state.state}: {state.reason}.",
            where=rule.path(plan.storage, cell),
            remedy="type `emergence run`: it is made anew",
        )


def _run(tasks: Sequence[Task], console: Console) -> list[tuple[Task, Any]]:
    with LocalProcesses() as workers, Display(console) as display:
        return list(ListeningCompute(workers, display).run(tasks, lambda *_: None))


def export(plan: Plan, selection: Selection, layout: str, context_size: int, folder: Path) -> list[dict[str, Any]]:
    """Write the rows of the selected cells for another trainer, a folder per cell, and an index.

    Args:
        plan: Of the study.
        selection: Which cells.
        layout: Key of `activations.export.LAYOUTS`.
        context_size: Rows per sequence, where the layout has sequences.
        folder: Of all of them; what is in it already is kept.

    Raises:
        EmergenceError: a cell has no rows on disk, its folder is there already, or the disk is full.
    """
    from emergence_assets.activations.export import LAYOUTS

    written = []
    for cell, residency in residencies(plan, selection).items():
        path = ACTIVATIONS.path(plan.storage, cell)
        rows = unarchive_rows(path) if residency == "archived" else open_rows(path, "resid_post", verify=True)
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
