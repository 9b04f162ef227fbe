"""Worker that makes a table: it reads the inputs, calls the function of the table and writes the result."""

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any

import polars as pl

from emergence_assets.plan.table_inputs import TableFiles
from resources.files.atomic import clear_disk_errors
from resources.files.records import record_of, required_from_json
from resources.tables.parquet import read_table, read_tables, write_table
from resources.tables.table import Table
from resources.tables.violations import violations


@dataclass(frozen=True)
class Made:
    """Rows of a table, with a summary."""

    frame: pl.DataFrame
    summary: Mapping[str, Any] = field(default_factory=dict)
    """Plain values that are shown with the table and checked."""
    beside: Mapping[str, pl.DataFrame] = field(default_factory=dict)
    """Name to rows, for further tables that are written with it."""


def make_table(
    function: str,
    tables: Mapping[str, TableFiles],
    cells: Sequence[Mapping[str, Any]],
    cell_tables: Sequence[Table],
    arguments: Mapping[str, Any],
    facts: Mapping[str, Any],
    outputs: Sequence[tuple[Table, str]],
    required: str,
    report: Any,
) -> None:
    """Make one table.

    Args:
        function: `package.module:name`; returns a frame or `Made`. It receives the following values if it has a
            parameter of their name: the input tables, `files` (their paths by name), `cells`, `settings` (of the cell,
            `AssetSpec.recipe`), every setting, argument and fact, `fingerprint` (of the cell) and `report`.
        tables: input tables of models and of the study, by name.
        cells: input layers of the table, see `input_cells`.
        cell_tables: input tables of these layers; the function receives the rows of all layers, with key columns.
        arguments: plain values by name.
        facts: see `shared_facts`; they become part of the summary.
        outputs: declarations and files of the returned tables; the last one is the table itself, whose file marks all
            of them as finished.
        required: required provenance of the cell, as JSON.
        report: called with units done, units in all, and a note.
    """
    module, _, name = function.partition(":")
    call = getattr(import_module(module), name)
    parameters = inspect.signature(call).parameters.values()
    takes_all = any(one.kind is inspect.Parameter.VAR_KEYWORD for one in parameters)
    names = {one.name for one in parameters} | (set(tables) if takes_all else set())
    want = required_from_json(required)
    offered: dict[str, Any] = {"cells": cells, "files": {table: files for table, (_, files) in tables.items()}}
    offered |= {"settings": want.recipe, "fingerprint": want.fingerprint, "report": report}
    offered |= {**want.recipe, **facts, **arguments}
    frames = {
        table: read_tables([Path(file) for file in files], declared)
        for table, (declared, files) in tables.items()
        if table in names
    }
    frames |= {table.name: read_cells(cells, table) for table in cell_tables if table.name in names}
    result = call(**frames, **{key: value for key, value in offered.items() if key in names})
    made = result if isinstance(result, Made) else Made(result)
    *beside, (table, path) = outputs
    written = [(made.beside[other.name], other, file) for other, file in beside] + [(made.frame, table, path)]
    broken = [violations(frame, declared) for frame, declared, _ in written]
    counted = {name: sum(one[name] for one in broken) for name in broken[0]}
    record = record_of(want, {"rows": len(made.frame), **facts, **counted, **made.summary}).to_json()
    with clear_disk_errors(Path(path)):
        for frame, declared, file in written:
            write_table(Path(file), frame, declared, record)


def read_cells(cells: Sequence[Mapping[str, Any]], table: Table) -> pl.DataFrame:
    """Read the rows of one table of several layers, and add key columns.

    Args:
        cells: see `input_cells`.
        table: declaration of the table.
    """
    return pl.concat(
        read_table(Path(cell["files"][table.name]), table).with_columns(key_columns(cell)) for cell in cells
    )


def key_columns(cell: Mapping[str, Any]) -> list[pl.Expr]:
    """Return the key columns of one layer as expressions."""
    return [
        pl.lit(cell["model"]).alias("model"),
        pl.lit(cell["n_params_nonemb"], pl.Int64).alias("n_params_nonemb"),
        pl.lit(cell["step"], pl.Int32).alias("step"),
        pl.lit(cell["tokens_seen"], pl.Int64).alias("tokens_seen"),
        pl.lit(cell["layer"], pl.Int16).alias("layer"),
        pl.lit(cell["n_layers"], pl.Int16).alias("n_layers"),
        pl.lit((cell["layer"] + 1) / cell["n_layers"], pl.Float32).alias("rel_depth"),
        pl.lit(cell["data_version"]).alias("data_version"),
    ]
