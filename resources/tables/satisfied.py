"""Which rows of a frame satisfy a check, computed at once for all its conditions."""

from collections.abc import Sequence

import polars as pl

from resources.tables.check import Check, Condition


def satisfied(frame: pl.DataFrame, checks: Sequence[Check]) -> pl.DataFrame:
    """Tell for every check which rows satisfy it.

    Args:
        frame: rows of the columns that the checks use.
        checks: what the rows must satisfy.

    Returns:
        A frame with a boolean column per check, named by its position: true where a row satisfies all its conditions.
        Where values cannot be compared, no row does.
    """
    columns = []
    for position, check in enumerate(checks):
        try:
            broken = [_broken(frame, condition) for condition in check.conditions]
            columns.append(frame.select((~pl.any_horizontal(broken).fill_null(True)).alias(str(position))).to_series())
        except pl.exceptions.PolarsError:  # values that cannot be compared: great_expectations names them
            columns.append(pl.repeat(False, frame.height, eager=True).alias(str(position)))
    return pl.DataFrame(columns)


def _broken(frame: pl.DataFrame, condition: Condition) -> pl.Expr:
    """True where a row breaks a condition, by the meaning that great_expectations gives it."""
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
