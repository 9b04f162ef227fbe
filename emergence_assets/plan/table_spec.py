"""Specification of an asset that is one parquet table, of the study, of each model or of each layer."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import polars as pl

from emergence_assets.plan.asset_spec import TABLE_BYTES, AssetSpec, Due, Job, Jobs, Prepare
from emergence_assets.plan.cell import Cell
from emergence_assets.plan.plan import Plan
from emergence_assets.plan.table_inputs import input_cells, input_tables, shared_facts, table_path
from emergence_assets.plan.text_counts import TextCounts
from emergence_assets.study.study import Study
from resources.files.provenance import Required, canonical_json
from resources.files.records import required_to_json
from resources.files.storage import Storage
from resources.tables.check import Check, between, table_checks
from resources.tables.parquet import parquet_provenance, read_tables, verify_table
from resources.tables.relation import Relation, with_relations
from resources.tables.table import Table

WORKER = "emergence_assets.plan.table_worker:make_table"


def all_zero(name: str, description: str, *counts: str) -> Check:
    """Make a check that these numbers of the summary are 0, for a table that may have no rows or very many rows."""
    return Check(name, description, tuple(between(count, 0, 0) for count in counts))


DECLARED = (
    all_zero("keys_are_unique", "No two rows share their key.", "repeated_keys"),
    all_zero(
        "values_are_as_declared",
        "No value is missing or outside the range that its table declares, no interval is the wrong way round.",
        "missing_values",
        "values_out_of_range",
    ),
)
"""Checks of the counts that the worker makes in a table and the tables beside it, without a check of the rows."""


@dataclass(frozen=True, kw_only=True, eq=False)
class TableSpec(AssetSpec):
    """An asset that is one table, of the study, of each model or of each layer."""

    relations: tuple[Relation, ...] = ()
    """Conditions between rows, in addition to the declarations of the columns."""

    @property
    def table(self) -> Table:
        """Declaration of the table."""
        return self.tables[0]


def table_spec(
    table: Table,
    inputs: tuple[str, ...],
    make: str,
    *,
    stage: str = "emergence",
    grid: Literal["cell", "model", "study"] = "model",
    recipe: Callable[[Study, Storage, Cell], Mapping[str, Any] | None] = lambda *_: {},
    arguments: Callable[[Plan, Cell], Mapping[str, Any]] = lambda *_: {},
    relations: tuple[Relation, ...] = (),
    checks: tuple[Check, ...] | None = None,
    beside: tuple[Table, ...] = (),
    prepare: tuple[str, Jobs] | None = None,
    parts: tuple[Table, ...] = (),
    also: Callable[[Storage, Cell], tuple[Path, ...]] = lambda *_: (),
    on_accelerator: bool = False,
    wanted: Callable[[Study], bool] = lambda _study: True,
    n_bytes: Callable[[Study, Cell, TextCounts], float] = lambda *_: TABLE_BYTES,
    cells_per_run: Literal["all"] | int | None = None,
) -> TableSpec:
    """Specify a table that a function makes; see `docs/extending.md`.

    Args:
        table: declaration of the table; the asset has its name.
        inputs: names of the input assets.
        make: function that returns the rows, as `package.module:name`; see `table_worker.make_table`.
        stage: group of the asset.
        grid: one table per layer, per model, or for the study.
        recipe: settings that decide the result; the function receives them as `settings`.
        arguments: further plain values for the function, by name.
        relations: conditions between rows.
        checks: conditions on the summary, for a table that may have no rows or very many rows and is checked only by
            its summary; see also `DECLARED`.
        beside: further tables that the function makes; their files are written before the file of the table.
        prepare: function that makes a part, and the jobs that call it; the table is made from the parts.
        parts: tables of these parts.
        also: other files of the table on disk.
        on_accelerator: whether the function uses a GPU where one exists.
        wanted: whether a study has the table.
        n_bytes: predicted bytes on disk.
        cells_per_run: maximum number of partitions in one Dagster run of a backfill.
    """

    def jobs(plan: Plan, due: Due) -> list[Job]:
        spec, tables = plan.specs[table.name], (*beside, table)
        return [
            table_job(
                plan,
                spec,
                cell,
                required,
                make,
                [(one, table_path(plan.storage, one, cell)) for one in tables],
                {"study": table.name, "model": f"{table.name} {cell}", "cell": str(cell)}[grid],
                arguments(plan, cell),
            )
            for cell, required in due
        ]

    return TableSpec(
        name=table.name,
        stage=stage,
        description=table.description,
        grid=grid,
        inputs=inputs,
        make=WORKER,
        jobs=jobs,
        prepare=Prepare(WORKER, prepare[1]) if prepare else None,
        functions=(make, prepare[0]) if prepare else (make,),
        recipe=recipe,
        path=lambda storage, cell: table_path(storage, table, cell),
        also=lambda storage, cell: (*(table_path(storage, one, cell) for one in beside), *also(storage, cell)),
        stored=parquet_provenance,
        verify=verify_table,
        checks=table_checks(table) + tuple(one.check for one in relations) if checks is None else DECLARED + checks,
        frame=_rows(table, relations) if checks is None else None,
        tables=(table, *beside),
        parts=parts,
        relations=relations,
        on_accelerator=on_accelerator,
        wanted=wanted,
        n_bytes=n_bytes,
        cells_per_run=cells_per_run,
    )


def table_job(
    plan: Plan,
    spec: AssetSpec,
    cell: Cell,
    required: Required,
    function: str,
    outputs: Sequence[tuple[Table, Path]],
    label: str,
    arguments: Mapping[str, Any],
) -> Job:
    """Make the job that calls `table_worker.make_table` for one table, or for one part of it.

    Args:
        plan: plan of the study.
        spec: asset of the table.
        cell: cell of that asset.
        required: required provenance of the cell.
        function: function that makes the rows.
        outputs: declarations and files of the results; the last one is the table or part itself.
        label: name of the job in progress and errors.
        arguments: plain values for the function, by name.
    """
    layered = [name for name in spec.inputs if name in plan.specs and plan.specs[name].grid == "cell"]
    values = {
        "function": function,
        "tables": input_tables(plan, spec, cell),
        "cells": input_cells(plan, spec, cell),
        "cell_tables": [one for source in plan.specs.values() if source.name in layered for one in source.tables],
        "arguments": {"probes": canonical_json(plan.study.probe_set.model_dump()), "model": cell.model, **arguments},
        "facts": shared_facts(plan, spec, cell),
        "outputs": [(table, str(path)) for table, path in outputs],
        "required": required_to_json(required),
    }
    return Job(values, (cell,), label)


def _rows(table: Table, relations: tuple[Relation, ...]) -> Callable[[Plan, Sequence[Cell]], pl.DataFrame]:
    """Make the reader of the rows that are checked."""
    may_be_null = [
        column.name
        for column in table.columns
        if column.name in table.key and column.nullable and column.dtype == pl.String
    ]
    nested = [name for name, dtype in table.schema.items() if isinstance(dtype, pl.List)]

    def read(plan: Plan, cells: Sequence[Cell]) -> pl.DataFrame:
        spec = plan.specs[table.name]
        frame = read_tables([spec.path(plan.storage, cell) for cell in cells], table)
        # No check compares lists, which take most of the memory. Means have no category: a row with a null in its
        # key would count as unique even if its key is repeated.
        filled = [pl.col(name).fill_null("") for name in may_be_null]
        return with_relations(frame.with_columns(filled), relations).drop(nested)

    return read
