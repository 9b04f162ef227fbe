"""Violations of the declaration of a table, counted for its summary.

Meant for large tables, and for tables that may have no rows (without a match), which a check of rows would refuse.
"""

import polars as pl

from resources.tables.table import Table


def violations(frame: pl.DataFrame, table: Table) -> dict[str, int]:
    """Count repeated keys, missing values in columns without nulls, and values outside their declared range."""
    # In one pass, because a cell has four tables of up to 30 columns.
    missing = [pl.col(column.name).null_count() for column in table.columns if not column.nullable]
    counted = frame.select(
        missing_values=pl.sum_horizontal(missing) if missing else pl.lit(0),
        values_out_of_range=pl.sum_horizontal(_breaks(table)),
    )
    counts = {name: int(value or 0) for name, value in counted.to_dicts()[0].items()} if len(frame) else {}
    return {
        "repeated_keys": int(frame.select(table.key).is_duplicated().sum()),
        "missing_values": counts.get("missing_values", 0),
        "values_out_of_range": counts.get("values_out_of_range", 0),
    }


def _breaks(table: Table) -> list[pl.Expr]:
    """Return expressions that count the values outside each range and each order; nulls are ignored."""
    broken = [pl.lit(False)]
    for column in table.columns:
        value = pl.col(column.name)
        faults = [value < column.minimum] if column.minimum is not None else []
        faults += [value > column.maximum] if column.maximum is not None else []
        faults += [~value.is_in(column.one_of)] if column.one_of else []
        faults += [value.is_nan()] if column.dtype in (pl.Float32, pl.Float64) else []
        broken += [pl.any_horizontal(faults)] if faults else []
    for group in table.ordered:
        broken += [pl.col(low) > pl.col(high) for low, high in zip(group.columns, group.columns[1:], strict=False)]
    return [expression.fill_null(False).sum() for expression in broken]
