"""How often a table breaks its own declaration, as numbers for a summary.

For tables that may rightly have no rows (nothing was matched), which a check of rows would refuse, and for large ones.
"""

import polars as pl

from emergence_assets.table import Table


def violations(frame: pl.DataFrame, table: Table) -> dict[str, int]:
    """Counts of repeated keys, of missing values where none may be, and of values outside their declared range."""
    missing = sum(frame[column.name].null_count() for column in table.columns if not column.nullable)
    outside = 0
    for column in table.columns:
        value = pl.col(column.name)
        broken = pl.lit(False)
        if column.minimum is not None:
            broken |= value < column.minimum
        if column.maximum is not None:
            broken |= value > column.maximum
        if column.one_of:
            broken |= ~value.is_in(column.one_of)
        if frame.schema[column.name].is_float():
            broken |= value.is_nan()
        outside += int(frame.select(broken.fill_null(False).sum()).item()) if len(frame) else 0
    for group in table.ordered:
        for low, high in zip(group.columns, group.columns[1:], strict=False):
            outside += int(frame.select((pl.col(low) > pl.col(high)).fill_null(False).sum()).item())
    return {
        "repeated_keys": int(frame.select(table.key).is_duplicated().sum()),
        "missing_values": missing,
        "values_out_of_range": outside,
    }
