"""A table of this stage as a cell: its rule, the key columns of its rows, and how it is written."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal

from emergence_assets.checkpoints.spec import CHECKPOINT
from emergence_assets.plan.asset_spec import Rule, stored_provenance
from emergence_assets.plan.cell import Cell
from emergence_assets.plan.plan import Plan
from emergence_assets.plan.text_counts import TextCounts
from emergence_assets.study.study import Study
from resources.files.atomic import clear_disk_errors
from resources.files.records import record_of, required_from_json
from resources.files.storage import Storage
from resources.tables.parquet import parquet_provenance, verify_table, write_table
from resources.tables.table import Table


def no_settings(_study: Study, _storage: Storage, _cell: Cell) -> Mapping[str, Any]:
    """The recipe of a table that depends on its inputs alone."""
    return {}


def table_rule(
    name: str,
    inputs: tuple[str, ...],
    code: tuple[str, ...],
    n_bytes: Callable[[Study, Cell, TextCounts], float],
    *,
    grid: Literal["model", "study"] = "model",
    recipe: Callable[[Study, Storage, Cell], Mapping[str, Any] | None] = no_settings,
    also: Callable[[Storage, Cell], tuple[Path, ...]] = lambda _storage, _cell: (),
) -> Rule:
    """The rule of a parquet table.

    Args:
        name: of the asset, and of its file.
        inputs: assets that it is made from.
        code: functions that make it, as `module:name` of this package.
        n_bytes: what it takes on disk.
        grid: a table of each model, or one of the study.
        recipe: settings that it depends on besides its inputs.
        also: what else lies on disk of it.
    """

    def path(storage: Storage, cell: Cell) -> Path:
        return storage.study_table(name) if grid == "study" else storage.model_table(name, str(cell.model))

    return Rule(
        name=name,
        stage="emergence",
        grid=grid,
        inputs=inputs,
        recipe=recipe,
        code=tuple(f"emergence_assets.emergence.{function}" for function in code),
        path=path,
        stored=parquet_provenance,
        verify=verify_table,
        also=also,
        n_bytes=n_bytes,
    )


def key_columns(plan: Plan, rule: Rule, cell: Cell) -> dict[str, Any]:
    """Keys of the rows that come from one cell of an asset; sizes are read from the registered checkpoint."""
    record = stored_provenance(CHECKPOINT, CHECKPOINT.path(plan.storage, Cell(cell.model, cell.step)))
    required = plan.required(rule, cell)
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


def key_literals(source: Mapping[str, Any]) -> list[Any]:
    """The key columns of one cell as expressions."""
    import polars as pl

    return [
        pl.lit(source["model"]).alias("model"),
        pl.lit(source["n_params_nonemb"], pl.Int64).alias("n_params_nonemb"),
        pl.lit(source["step"], pl.Int32).alias("step"),
        pl.lit(source["tokens_seen"], pl.Int64).alias("tokens_seen"),
        pl.lit(source["layer"], pl.Int16).alias("layer"),
        pl.lit(source["n_layers"], pl.Int16).alias("n_layers"),
        pl.lit((source["layer"] + 1) / source["n_layers"], pl.Float32).alias("rel_depth"),
        pl.lit(source["data_version"]).alias("data_version"),
    ]


def write_cell(path: Path, frame: Any, table: Table, required: str, summary: dict[str, Any]) -> None:
    """Write a table with its provenance and what is told of it."""
    record = record_of(required_from_json(required), summary)
    with clear_disk_errors(path):
        write_table(path, frame, table, record.to_json())
