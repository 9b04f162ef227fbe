"""How often a table breaks its own declaration, as numbers for a summary.

For tables that may rightly have no rows (nothing was matched), which a check of rows would refuse, and for large ones.
"""

import polars as pl

from resources.tables.table import Table


def violations(frame: pl.DataFrame, table: Table) -> dict[str, int]:
    """Counts of repeated keys, of missing values where none may be, and of values outside their declared range."""
    # In one pass: a cell has four tables of up to 30 columns.
    missing = [pl.col(column.name).null_count() for column in table.columns if not column.nullable]
    counted = frame.select(
        missing_values=pl.sum_horizontal(missing) if missing else pl.lit(0),
        values_out_of_range=pl.sum_horizontal(_breaks(table)),
    )
    found = {name: int(value or 0) for name, value in counted.to_dicts()[0].items()} if len(frame) else {}
    return {
        "repeated_keys": int(frame.select(table.key).is_duplicated().sum()),
        "missing_values": found.get("missing_values", 0),
        "values_out_of_range": found.get("values_out_of_range", 0),
    }


def _breaks(table: Table) -> list[pl.Expr]:
    """How many values break each range and each order; what is null breaks none."""
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
