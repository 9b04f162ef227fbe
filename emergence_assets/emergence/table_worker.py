"""Worker that makes a table: reads its input tables, calls its function, writes what the function returns."""

import inspect
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any

import polars as pl

from emergence_assets.plan.table_spec import TableFiles
from resources.files.atomic import clear_disk_errors
from resources.files.records import record_of, required_from_json
from resources.tables.parquet import read_tables, write_table
from resources.tables.table import Table
from resources.tables.violations import violations


@dataclass(frozen=True)
class Made:
    """Rows of a table, with numbers that describe them."""

    frame: pl.DataFrame
    summary: Mapping[str, Any] = field(default_factory=dict)
    """Plain values that are shown with the table and checked."""
    beside: Mapping[str, pl.DataFrame] = field(default_factory=dict)
    """Rows of the tables that are written with it, by name."""


def make_table(
    function: str,
    tables: dict[str, TableFiles],
    arguments: dict[str, Any],
    outputs: list[tuple[Table, str]],
    required: str,
    report: Any,
) -> None:
    """Make one table.

    Args:
        function: `package.module:name`. It gets the input tables by name as frames, the arguments, and, if it has
            such parameters, `settings` (the recipe of the cell), `fingerprint` (of the cell) and `report`; it returns
            a frame or `Made`.
        tables: input tables by name.
        arguments: plain values by name.
        outputs: declarations and files of the tables that it returns; the last is the table itself, whose file marks
            all of them as finished.
        required: what the cell is made from.
        report: called with units done, units in all, and a note.
    """
    module, _, name = function.partition(":")
    call = getattr(import_module(module), name)
    frames = {
        table: read_tables([Path(file) for file in files], declared) for table, (declared, files) in tables.items()
    }
    want = required_from_json(required)
    offered = {"settings": want.recipe, "fingerprint": want.fingerprint, "report": report}
    wanted = {key: value for key, value in offered.items() if key in inspect.signature(call).parameters}
    result = call(**frames, **arguments, **wanted)
    made = result if isinstance(result, Made) else Made(result)
    *beside, (table, path) = outputs
    with clear_disk_errors(Path(path)):
        for other, file in beside:
            frame = made.beside[other.name]
            write_table(Path(file), frame, other, record_of(want, violations(frame, other)).to_json())
        write_table(Path(path), made.frame, table, record_of(want, {"rows": len(made.frame), **made.summary}).to_json())


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
