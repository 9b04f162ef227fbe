"""Violations of the declaration of a table, counted for its summary.

Meant for large tables, and for tables that may have no rows (without a match), which a check of rows would refuse.
"""

import polars as pl
from polars import selectors as cs

from resources.tables.check import table_checks
from resources.tables.satisfied import breaks
from resources.tables.table import Table


def violations(frame: pl.DataFrame, table: Table) -> dict[str, int]:
    """Count repeated keys, missing values in columns without nulls, and values outside their declared range.

    A value that is not a number counts as outside the range.
    """
    _, filled, in_range = table_checks(table)
    missing = [pl.col(condition.columns[0]).null_count() for condition in filled.conditions]
    outside = [breaks(frame, condition).sum() for condition in in_range.conditions]
    # In one pass, because a cell has four tables of up to 30 columns.
    counted = frame.select(
        missing_values=pl.sum_horizontal(pl.lit(0), *missing),
        values_out_of_range=pl.sum_horizontal(pl.lit(0), cs.float().is_nan().sum(), *outside),
    )
    return {"repeated_keys": int(frame.select(table.key).is_duplicated().sum()), **counted.row(0, named=True)}
