"""Inputs of a table as plain values for its worker."""

from pathlib import Path
from typing import Any

from emergence_assets.plan.asset_spec import AssetSpec, stored_provenance
from emergence_assets.plan.cell import Cell
from emergence_assets.plan.plan import Plan
from resources.files.storage import Storage
from resources.tables.table import Table

FACTS = ("n_params_nonemb", "tokens_seen", "n_layers", "tokens_file")
"""Fields of a checkpoint that every result repeats in its summary: numbers, and the name of the token file."""
TableFiles = tuple[Table, list[str]]
"""Declaration of a table and the files that hold its rows."""


def table_path(storage: Storage, table: Table, cell: Cell) -> Path:
    """Return the file of a table of the study, of a model or of a layer."""
    if cell.model is None:
        return storage.study_table(table.name)
    if cell.layer is None:
        return storage.model_table(table.name, cell.model)
    return storage.cell_table(table.name, cell.model, int(cell.step or 0), cell.layer)


def input_tables(plan: Plan, spec: AssetSpec, cell: Cell) -> dict[str, TableFiles]:
    """Return the input tables of a cell by name, without tables of layers; for the study, of all models."""
    tables: dict[str, TableFiles] = {}
    for source, one in plan.input_cells(spec, cell):
        for table in source.tables if source.grid != "cell" and source.own_table else ():
            tables.setdefault(table.name, (table, []))[1].append(str(table_path(plan.storage, table, one)))
    return tables


def input_cells(plan: Plan, spec: AssetSpec, cell: Cell) -> list[dict[str, Any]]:
    """Return the input layers of a table, ordered by model, step and layer.

    Returns:
        Per layer: model, step and layer; `files`, the path of every input asset and of its tables by name; the facts
        of its checkpoint (see `FACTS`), `tokens_file` as a path; `data_version`, the fingerprint of its last input.
    """
    layers: dict[Cell, dict[str, Any]] = {}
    for source, one in plan.input_cells(spec, cell):
        if source.grid != "cell":
            continue
        layer = layers.setdefault(one, {"model": one.model, "step": one.step, "layer": one.layer, "files": {}})
        path = source.path(plan.storage, one)
        layer["files"][source.name] = str(path)
        layer["files"] |= {table.name: str(table_path(plan.storage, table, one)) for table in source.tables}
        if stored := stored_provenance(source, path):
            layer |= _facts(stored.summary) | {"data_version": stored.fingerprint}
    for layer in layers.values():
        if "tokens_file" in layer:
            layer["tokens_file"] = str(plan.storage.tokens_file(Path(layer["tokens_file"]).stem))
    return list(layers.values())


def shared_facts(plan: Plan, spec: AssetSpec, cell: Cell) -> dict[str, Any]:
    """Return the fields of checkpoints (see `FACTS`) that are equal in all inputs of a cell."""
    values: dict[str, set[Any]] = {}
    for source, one in plan.input_cells(spec, cell):
        if stored := stored_provenance(source, source.path(plan.storage, one)):
            for name, value in _facts(stored.summary).items():
                values.setdefault(name, set()).add(value)
    return {name: next(iter(found)) for name, found in values.items() if len(found) == 1}


def _facts(summary: Any) -> dict[str, Any]:
    return {name: summary[name] for name in FACTS if name in summary}
