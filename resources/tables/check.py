"""Named data-quality checks of a frame: conditions on its rows, and findings."""

from dataclasses import dataclass
from typing import Any, Literal

from resources.tables.table import Table


@dataclass(frozen=True)
class Condition:
    """Condition on one column, or on several columns together."""

    kind: Literal["between", "not_null", "unique", "one_of", "equal", "ordered"]
    columns: tuple[str, ...]
    minimum: float | None = None
    maximum: float | None = None
    strict: bool = False
    """Whether the bounds themselves are excluded."""
    values: tuple[Any, ...] = ()
    nullable: bool = False
    """Whether missing values and NaN are ignored; otherwise they break the condition."""


@dataclass(frozen=True)
class Check:
    """Statement about a frame; its name reads as a statement."""

    name: str
    description: str
    conditions: tuple[Condition, ...]
    blocking: bool = True
    """Whether a failure blocks the assets behind it, because their results would be meaningless."""


@dataclass(frozen=True)
class Finding:
    """Result of one check of one frame."""

    check: Check
    passed: bool
    failed_rows: tuple[int, ...]
    """Positions of rows that break the check; empty also when the frame as a whole breaks it."""
    details: tuple[str, ...]
    """Description of the failure, a line per broken condition."""


def between(
    column: str,
    minimum: float | None = None,
    maximum: float | None = None,
    strict: bool = False,
    nullable: bool = False,
) -> Condition:
    """Require values in [minimum, maximum], or in the open interval if strict."""
    return Condition("between", (column,), minimum, maximum, strict, nullable=nullable)


def equal(left: str, right: str) -> Condition:
    """Require equal values in two columns."""
    return Condition("equal", (left, right))


def table_checks(table: Table) -> tuple[Check, ...]:
    """Make the checks of the declaration of a table: unique keys, no missing values, values in their ranges."""
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
