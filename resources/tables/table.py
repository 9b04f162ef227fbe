"""Declaration of a table: its columns, their units and ranges, and the key columns of a row.

The parquet schema, the checks of data quality and `docs/tables.md` follow from this one declaration. `columns.py` has a
function for each frequent kind of column.
"""

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import polars as pl


@dataclass(frozen=True)
class Column:
    """One column of a table."""

    name: str
    dtype: Any
    """Polars data type."""
    description: str
    unit: str = "1"
    minimum: float | None = None
    maximum: float | None = None
    one_of: tuple[str, ...] = ()
    """All allowed values; empty if any value is allowed."""
    nullable: bool = False

    @property
    def or_null(self) -> "Column":
        """The same column where a row may have no value."""
        return replace(self, nullable=True)


@dataclass(frozen=True)
class Ordered:
    """Order of columns: low <= middle <= high where none of them is null."""

    columns: tuple[str, ...]


@dataclass(frozen=True)
class Table:
    """Declaration of a table: the meaning of a row, its columns and its key columns."""

    name: str
    description: str
    columns: tuple[Column, ...]
    key: tuple[str, ...]
    relations: tuple[Ordered, ...] = ()
    """Order of columns, in addition to the ends of intervals."""

    @cached_property
    def schema(self) -> pl.Schema:
        """Polars schema of the parquet file."""
        return pl.Schema({column.name: column.dtype for column in self.columns})

    def schema_without(self, *names: str) -> pl.Schema:
        """Return the schema without the named columns."""
        return pl.Schema({name: dtype for name, dtype in self.schema.items() if name not in names})

    @cached_property
    def ordered(self) -> tuple[Ordered, ...]:
        """Ordered columns: the ends of every interval, and `relations`."""
        names = {column.name for column in self.columns}
        ends = ((f"{name}_lo", f"{name}_hi") for name in self.schema)
        return (*(Ordered(pair) for pair in ends if names.issuperset(pair)), *self.relations)


def with_interval(column: Column, nullable: bool | None = None) -> tuple[Column, Column, Column]:
    """Declare a number and the ends of its 95 % interval: columns `x`, `x_lo` and `x_hi`.

    Args:
        column: column of the number.
        nullable: whether the ends may be null; by default as the number.
    """
    may_be_null = column.nullable if nullable is None else nullable
    lower, upper = (
        replace(
            column,
            name=f"{column.name}_{suffix}",
            description=f"{end} end of the 95 % interval of {column.name}",
            nullable=may_be_null,
        )
        for suffix, end in (("lo", "lower"), ("hi", "upper"))
    )
    return column, lower, upper
