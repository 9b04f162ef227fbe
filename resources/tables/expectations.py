"""Data quality: declarations and named checks turned into great_expectations suites, one validation per frame.

great_expectations takes seconds to import, so that it is imported by the functions.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import polars as pl

from resources.tables.table import Table

ROW = "_row"


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


def validate(frame: pl.DataFrame, checks: Sequence[Check]) -> list[Finding]:
    """Validate a frame once against all checks.

    Args:
        frame: at least one row; an empty frame fails every check, because it proves nothing.
        checks: what it must satisfy.

    Returns:
        One finding per check, in their order.
    """
    if frame.is_empty():
        return [Finding(check, False, (), ("the frame has no rows",)) for check in checks]
    used = sorted({column for check in checks for condition in check.conditions for column in condition.columns})
    absent = [column for column in used if column not in frame.columns]
    if absent:
        return [Finding(check, False, (), (f"columns {absent} are absent",)) for check in checks]
    selected, numbered = frame.select(used), list(enumerate(checks))
    failed = {_position(result) for result in _gx_results(selected, numbered, "BOOLEAN_ONLY") if not result.success}
    # Most frames are sound. Which rows break what costs two to three times as much, and is asked only where it matters.
    suspects = [(position, check) for position, check in numbered if position in failed]
    broken = [result for result in _gx_results(selected, suspects, "COMPLETE") if not result.success] if failed else []
    return [
        _finding(frame, check, position in failed, [result for result in broken if _position(result) == position])
        for position, check in numbered
    ]


def _position(result: Any) -> int:
    """Position of the check that an expectation belongs to."""
    return result.expectation_config.meta["check"]


def _finding(frame: pl.DataFrame, check: Check, failed: bool, broken: Sequence[Any]) -> Finding:
    rows = sorted({row for result in broken for row in _rows(result)})
    details = (*(_detail(result) for result in broken), *_named(frame, rows))
    return Finding(check, not failed, tuple(rows), details)


def _named(frame: pl.DataFrame, rows: Sequence[int]) -> list[str]:
    """The rows that break a check by their keys, the first few of them."""
    keys = [name for name in ("cell", "model", "step") if name in frame.columns]
    shown = ["/".join(str(frame[row, key]) for key in keys) for row in rows[:5]]
    more = f" and {len(rows) - 5} more" if len(rows) > 5 else ""
    return [f"in {', '.join(shown)}{more}"] if keys and rows else []


def _gx_results(
    frame: pl.DataFrame, checks: Sequence[tuple[int, Check]], answer: Literal["BOOLEAN_ONLY", "COMPLETE"]
) -> list[Any]:
    os.environ["GX_ANALYTICS_ENABLED"] = "false"  # it would report to its makers; read when it is imported
    import great_expectations as gx
    from great_expectations.data_context.types.base import ProgressBarsConfig

    context = gx.get_context(mode="ephemeral")
    context.variables.progress_bars = ProgressBarsConfig(globally=False)
    suite = gx.ExpectationSuite(
        name="checks",
        expectations=[
            expectation
            for position, check in checks
            for condition in check.conditions
            for expectation in _expectations(condition, position)
        ],
    )
    batch = (
        context.data_sources.add_pandas("frames")
        .add_dataframe_asset("frame")
        .add_batch_definition_whole_dataframe("all")
        .get_batch({"dataframe": frame.with_row_index(ROW).to_pandas()})
    )
    result_format: Any = {"result_format": answer}
    if answer == "COMPLETE":
        result_format["unexpected_index_column_names"] = [ROW]
    return list(batch.validate(suite, result_format=result_format).results)


def _expectations(condition: Condition, check: int) -> list[Any]:
    """The expectation itself, and that nothing is missing: great_expectations passes over missing values and NaN."""
    import great_expectations.expectations as gxe

    stated = [_expectation(condition, check)]
    if condition.nullable or condition.kind in ("not_null", "unique"):
        return stated
    return stated + [
        gxe.ExpectColumnValuesToNotBeNull(column=name, meta={"check": check}) for name in condition.columns
    ]


def _expectation(condition: Condition, check: int) -> Any:
    import great_expectations.expectations as gxe

    meta = {"check": check}
    first = condition.columns[0]
    if condition.kind == "between":
        return gxe.ExpectColumnValuesToBeBetween(
            column=first,
            min_value=condition.minimum,
            max_value=condition.maximum,
            strict_min=condition.strict,
            strict_max=condition.strict,
            meta=meta,
        )
    if condition.kind == "not_null":
        return gxe.ExpectColumnValuesToNotBeNull(column=first, meta=meta)
    if condition.kind == "one_of":
        return gxe.ExpectColumnValuesToBeInSet(column=first, value_set=list(condition.values), meta=meta)
    if condition.kind == "equal":
        return gxe.ExpectColumnPairValuesToBeEqual(column_A=first, column_B=condition.columns[1], meta=meta)
    if condition.kind == "ordered":
        return gxe.ExpectColumnPairValuesAToBeGreaterThanB(
            column_A=condition.columns[1],
            column_B=first,
            or_equal=True,
            ignore_row_if="either_value_is_missing",
            meta=meta,
        )
    if len(condition.columns) == 1:
        return gxe.ExpectColumnValuesToBeUnique(column=first, meta=meta)
    return gxe.ExpectCompoundColumnsToBeUnique(column_list=list(condition.columns), meta=meta)


def _rows(result: Any) -> list[int]:
    listed = result.result.get("unexpected_index_list") or []
    return [int(entry[ROW] if isinstance(entry, dict) else entry) for entry in listed]


def _detail(result: Any) -> str:
    settings = result.expectation_config.kwargs
    columns = (
        settings.get("column") or settings.get("column_list") or [settings.get("column_A"), settings.get("column_B")]
    )
    if "unexpected_count" not in result.result:
        return f"{columns}: cannot be checked: {_exception(result.exception_info)}"
    found = (result.result.get("partial_unexpected_list") or [])[:5]
    return f"{columns}: {result.result.get('unexpected_count')} rows break it, among them {found}"


def _exception(info: dict[str, Any]) -> str:
    """Message of an exception, which stands under the name of the metric that raised it."""
    entries = [info, *(entry for entry in info.values() if isinstance(entry, dict))]
    messages = [str(entry["exception_message"]) for entry in entries if entry.get("exception_message")]
    return messages[0].splitlines()[0] if messages else "great_expectations says no more"
