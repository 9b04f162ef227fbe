"""Named data-quality checks of a frame: what its rows must satisfy, and what was found."""

from dataclasses import dataclass
from typing import Any, Literal

from resources.tables.table import Table


@dataclass(frozen=True)
class Condition:
    """What one column, or several together, must satisfy."""

    kind: Literal["between", "not_null", "unique", "one_of", "equal", "ordered"]
    columns: tuple[str, ...]
    minimum: float | None = None
    maximum: float | None = None
    strict: bool = False
    """The bounds themselves are excluded."""
    values: tuple[Any, ...] = ()
    nullable: bool = False
    """Missing values and NaN are passed over; otherwise they break it."""


@dataclass(frozen=True)
class Check:
    """A claim about a frame; its name reads as one."""

    name: str
    description: str
    conditions: tuple[Condition, ...]
    blocking: bool = True
    """Going on would produce nonsense."""


@dataclass(frozen=True)
class Finding:
    """Outcome of one check on one frame."""

    check: Check
    passed: bool
    failed_rows: tuple[int, ...]
    """Positions of rows that break it; empty also when the frame as a whole does."""
    details: tuple[str, ...]
    """What was found, a line per broken condition."""


def between(
    column: str,
    minimum: float | None = None,
    maximum: float | None = None,
    strict: bool = False,
    nullable: bool = False,
) -> Condition:
    """Values lie in [minimum, maximum], or in the open interval if strict."""
    return Condition("between", (column,), minimum, maximum, strict, nullable=nullable)


def equal(left: str, right: str) -> Condition:
    """Two columns hold the same values."""
    return Condition("equal", (left, right))


def table_checks(table: Table) -> tuple[Check, ...]:
    """The checks that follow from a table's declaration: unique keys, no gaps, values in their ranges."""
    filled = tuple(Condition("not_null", (column.name,)) for column in table.columns if not column.nullable)
    ranges = tuple(
        between(column.name, column.minimum, column.maximum, nullable=True)
        for column in table.columns
        if column.minimum is not None or column.maximum is not None
    )
    sets = tuple(
        Condition("one_of", (column.name,), values=column.one_of, nullable=True)
        for column in table.columns
        if column.one_of
    )
    ordered = tuple(
        Condition("ordered", pair, nullable=True)
        for group in table.ordered
        for pair in zip(group.columns, group.columns[1:], strict=False)
    )
    return (
        Check("keys_are_unique", f"No two rows share {', '.join(table.key)}.", (Condition("unique", table.key),)),
        Check("values_are_present", "Columns that may not be empty are not.", filled),
        Check("values_are_in_range", "Values lie in the ranges that the table declares.", ranges + sets + ordered),
    )
