"""Specifications of the tables of this stage."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import polars as pl

from emergence_assets.checkpoints.spec import CHECKPOINT
from emergence_assets.plan.asset_spec import TABLE_BYTES, AssetSpec, Due, Job, Prepare, stored_provenance
from emergence_assets.plan.cell import Cell
from emergence_assets.plan.plan import Plan
from emergence_assets.plan.table_spec import TableSpec, input_tables
from emergence_assets.plan.text_counts import TextCounts
from emergence_assets.study.study import Study
from resources.files.provenance import Required
from resources.files.records import required_to_json
from resources.files.storage import Storage
from resources.tables.check import Check, table_checks
from resources.tables.parquet import parquet_provenance, read_tables, verify_table
from resources.tables.relation import Relation, with_relations
from resources.tables.table import Table

WORKER = "emergence_assets.emergence.table_worker:make_table"
Arguments = Callable[[Plan, Cell, Required], Mapping[str, Any]]


def table_spec(
    table: Table,
    inputs: tuple[str, ...],
    make: str,
    *,
    grid: Literal["model", "study"] = "model",
    recipe: Callable[[Study, Storage, Cell], Mapping[str, Any] | None] = lambda *_: {},
    arguments: Arguments = lambda *_: {},
    reads: tuple[str, ...] | None = None,
    relations: tuple[Relation, ...] = (),
    checks: tuple[Check, ...] | None = None,
    beside: tuple[Table, ...] = (),
    prepare: Prepare | None = None,
    parts: tuple[Table, ...] = (),
    also: Callable[[Storage, Cell], tuple[Path, ...]] = lambda *_: (),
    on_accelerator: bool = False,
    wanted: Callable[[Study], bool] = lambda _study: True,
    n_bytes: Callable[[Study, Cell, TextCounts], float] = lambda *_: TABLE_BYTES,
) -> TableSpec:
    """Specify a table that a function makes; see `docs/extending.md`.

    Args:
        table: its columns; the asset has its name.
        inputs: assets that it is made from.
        make: function that returns its rows, as `package.module:name`; see `table_worker.make_table`.
        grid: a table of each model, or one of the study.
        recipe: settings that decide the result; the function gets them as `settings`.
        arguments: further plain values for the function, by name.
        reads: input tables that the function gets as frames, by the names of their assets; all by default.
        relations: conditions between rows.
        checks: conditions on the summary, where the rows are not checked themselves.
        beside: tables that the function makes too; their files are written before that of the table.
        prepare: jobs that write parts, which the function then joins.
        parts: tables of these parts.
        also: other files of it on disk.
        on_accelerator: whether it uses a GPU where there is one.
        wanted: whether a study has the table at all.
        n_bytes: bytes that it takes on disk.
    """

    def path_of(one: Table, storage: Storage, cell: Cell) -> Path:
        return storage.study_table(one.name) if grid == "study" else storage.model_table(one.name, str(cell.model))

    def jobs(plan: Plan, due: Due) -> list[Job]:
        spec = plan.specs[table.name]
        return [
            Job(
                {
                    "function": make,
                    "tables": {
                        name: files
                        for name, files in input_tables(plan, spec, cell).items()
                        if reads is None or name in reads
                    },
                    "arguments": dict(arguments(plan, cell, required)),
                    "outputs": [(one, str(path_of(one, plan.storage, cell))) for one in (*beside, table)],
                    "required": required_to_json(required),
                },
                (cell,),
                table.name if grid == "study" else f"{table.name} {cell}",
            )
            for cell, required in due
        ]

    return TableSpec(
        name=table.name,
        stage="emergence",
        description=table.description,
        grid=grid,
        inputs=inputs,
        make=WORKER,
        jobs=jobs,
        prepare=prepare,
        functions=(make, prepare.make) if prepare else (make,),
        recipe=recipe,
        path=lambda storage, cell: path_of(table, storage, cell),
        also=lambda storage, cell: (*(path_of(one, storage, cell) for one in beside), *also(storage, cell)),
        stored=parquet_provenance,
        verify=verify_table,
        checks=table_checks(table) + tuple(one.check for one in relations) if checks is None else checks,
        frame=_rows(table, relations) if checks is None else None,
        tables=(table, *beside, *parts),
        relations=relations,
        on_accelerator=on_accelerator,
        wanted=wanted,
        n_bytes=n_bytes,
    )


def _rows(table: Table, relations: tuple[Relation, ...]) -> Callable[[Plan, Sequence[Cell]], pl.DataFrame]:
    """Reader of the rows that the checks look at."""
    may_be_null = [
        column.name
        for column in table.columns
        if column.name in table.key and column.nullable and column.dtype == pl.String
    ]
    nested = [name for name, dtype in table.schema.items() if isinstance(dtype, pl.List)]

    def read(plan: Plan, cells: Sequence[Cell]) -> pl.DataFrame:
        spec = plan.specs[table.name]
        frame = read_tables([spec.path(plan.storage, cell) for cell in cells], table)
        # No check compares lists, which take most of the memory. Means have no category: a null in a key would make
        # its row count as unique whatever it repeats.
        filled = [pl.col(name).fill_null("") for name in may_be_null]
        return with_relations(frame.with_columns(filled), relations).drop(nested)

    return read


def key_columns(plan: Plan, spec: AssetSpec, cell: Cell) -> dict[str, Any]:
    """Keys of the rows that come from one cell of an asset; sizes are read from the registered checkpoint."""
    record = stored_provenance(CHECKPOINT, CHECKPOINT.path(plan.storage, Cell(cell.model, cell.step)))
    required = plan.required(spec, cell)
    facts = record.summary if record else {}
    return {
        "model": cell.model,
        "n_params_nonemb": facts["n_params_nonemb"],
        "step": cell.step,
        "tokens_seen": facts["tokens_seen"],
        "layer": cell.layer,
        "n_layers": facts["n_layers"],
        "data_version": required.fingerprint if required else "",
    }
