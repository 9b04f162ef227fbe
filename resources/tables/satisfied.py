"""Rows of a frame that satisfy a check, computed for all its conditions at once."""

from collections.abc import Sequence

import polars as pl

from resources.tables.check import Check, Condition


def satisfied(frame: pl.DataFrame, checks: Sequence[Check]) -> pl.DataFrame:
    """Compute for every check the rows that satisfy it.

    Args:
        frame: frame with the columns of the checks.
        checks: checks of the rows.

    Returns:
        A frame with a boolean column per check, named by its position: true where a row satisfies all its conditions.
        Where values cannot be compared, all rows are false.
    """
    columns = []
    for position, check in enumerate(checks):
        try:
            broken = [breaks(frame, condition) for condition in check.conditions]
            columns.append(frame.select((~pl.any_horizontal(broken).fill_null(True)).alias(str(position))).to_series())
        except pl.exceptions.PolarsError:  # values that cannot be compared: great_expectations names them
            columns.append(pl.repeat(False, frame.height, eager=True).alias(str(position)))
    return pl.DataFrame(columns)


def breaks(frame: pl.DataFrame, condition: Condition) -> pl.Expr:
    """Return an expression that is true where a row breaks a condition, as great_expectations defines it."""
    columns = [
        pl.col(name).fill_nan(None) if frame.schema[name].is_float() else pl.col(name) for name in condition.columns
    ]
    missing = [column.is_null() for column in columns]
    if condition.kind == "unique":
        return pl.struct(columns).is_duplicated() & ~pl.all_horizontal(missing)
    if condition.kind == "not_null":
        return missing[0]
    first = columns[0]
    if condition.kind == "one_of":
        wrong = ~first.is_in(list(condition.values))
    elif condition.kind == "equal":
        wrong = first != columns[1]
    elif condition.kind == "ordered":
        wrong = first > columns[1]
    else:
        bounds = [(condition.minimum, first.__lt__, first.__le__), (condition.maximum, first.__gt__, first.__ge__)]
        wrong = pl.any_horizontal(
            pl.lit(False),
            *((strict if condition.strict else loose)(end) for end, loose, strict in bounds if end is not None),
        )
    absent = pl.any_horizontal(missing)
    return (wrong & ~absent) | (pl.lit(not condition.nullable) & absent)
