"""Checks as suites of great_expectations. Functions import it, because the import takes seconds."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl

from resources.tables.check import Check, Condition

_ROW = "_row"


@dataclass(frozen=True)
class BrokenCondition:
    """Broken condition of a check, as great_expectations reports it."""

    check: int
    """Position of the check."""
    rows: tuple[int, ...]
    """Positions of the rows that break it."""
    description: str


def library() -> Any:
    """Import great_expectations."""
    os.environ["GX_ANALYTICS_ENABLED"] = "false"  # no reports to its makers; read at import
    import great_expectations as gx
    import great_expectations.expectations

    return gx


def failed_checks(truths: pl.DataFrame) -> set[int]:
    """Validate the columns of `satisfied`, and return the positions of checks that a row breaks."""
    gxe = library().expectations
    stated = [
        gxe.ExpectColumnValuesToBeInSet(column=position, value_set=[True], meta={"check": int(position)})
        for position in truths.columns
    ]
    return {_position(result) for result in _failures(truths, stated)}


def broken_conditions(frame: pl.DataFrame, checks: Mapping[int, Check]) -> list[BrokenCondition]:
    """Validate every condition of the checks separately, and return the broken conditions.

    Args:
        frame: frame with the columns of the checks.
        checks: position to check.
    """
    stated = [
        expectation
        for position, check in checks.items()
        for condition in check.conditions
        for expectation in _expectations(condition, position)
    ]
    return [
        BrokenCondition(_position(result), tuple(_rows(result)), _detail(result)) for result in _failures(frame, stated)
    ]


def _position(result: Any) -> int:
    return result.expectation_config.meta["check"]


def _failures(frame: pl.DataFrame, expectations: Sequence[Any]) -> list[Any]:
    if not expectations:
        return []
    gx = library()
    from great_expectations.data_context.types.base import ProgressBarsConfig

    context = gx.get_context(mode="ephemeral")
    context.variables.progress_bars = ProgressBarsConfig(globally=False)
    suite = gx.ExpectationSuite(name="checks", expectations=list(expectations))
    batch = (
        context.data_sources.add_pandas("frames")
        .add_dataframe_asset("frame")
        .add_batch_definition_whole_dataframe("all")
        .get_batch({"dataframe": frame.with_row_index(_ROW).to_pandas()})
    )
    result_format: Any = {"result_format": "COMPLETE", "unexpected_index_column_names": [_ROW]}
    results = batch.validate(suite, result_format=result_format).results
    return [result for result in results if not result.success]


def _expectations(condition: Condition, check: int) -> list[Any]:
    """Return the expectations of a condition, one of them against nulls and NaN, which great_expectations ignores."""
    gxe, meta = library().expectations, {"check": check}
    first, last = condition.columns[0], condition.columns[-1]
    bounds = {"min_value": condition.minimum, "max_value": condition.maximum}
    strict = {"strict_min": condition.strict, "strict_max": condition.strict}
    greater = {"column_A": last, "column_B": first, "or_equal": True, "ignore_row_if": "either_value_is_missing"}
    kind, settings = {
        "between": (gxe.ExpectColumnValuesToBeBetween, {"column": first, **bounds, **strict}),
        "not_null": (gxe.ExpectColumnValuesToNotBeNull, {"column": first}),
        "one_of": (gxe.ExpectColumnValuesToBeInSet, {"column": first, "value_set": list(condition.values)}),
        "equal": (gxe.ExpectColumnPairValuesToBeEqual, {"column_A": first, "column_B": last}),
        "ordered": (gxe.ExpectColumnPairValuesAToBeGreaterThanB, greater),
        "unique": (gxe.ExpectCompoundColumnsToBeUnique, {"column_list": list(condition.columns)}),
    }[condition.kind]
    if condition.kind == "unique" and len(condition.columns) == 1:
        kind, settings = gxe.ExpectColumnValuesToBeUnique, {"column": first}
    stated = [kind(**settings, meta=meta)]
    if not condition.nullable and condition.kind not in ("not_null", "unique"):
        stated += [gxe.ExpectColumnValuesToNotBeNull(column=name, meta=meta) for name in condition.columns]
    return stated


def _rows(result: Any) -> list[int]:
    listed = result.result.get("unexpected_index_list") or []
    return [int(entry[_ROW] if isinstance(entry, dict) else entry) for entry in listed]


def _plain(value: Any) -> Any:
    """Return a value, or the values of a pair, without numpy types, whose names would stand in the message."""
    if isinstance(value, tuple | list):
        return tuple(_plain(one) for one in value)
    return value.item() if hasattr(value, "item") else value


def _detail(result: Any) -> str:
    settings = result.expectation_config.kwargs
    columns = (
        settings.get("column") or settings.get("column_list") or [settings.get("column_A"), settings.get("column_B")]
    )
    if "unexpected_count" not in result.result:
        return f"{columns}: cannot be checked: {_exception(result.exception_info)}"
    examples = [_plain(value) for value in (result.result.get("partial_unexpected_list") or [])[:5]]
    return f"{columns}: {result.result.get('unexpected_count')} rows break it, among them {examples}"


def _exception(info: dict[str, Any]) -> str:
    """Return the message of an exception, which is stored under the name of the metric that raised it."""
    entries = [info, *(entry for entry in info.values() if isinstance(entry, dict))]
    messages = [str(entry["exception_message"]) for entry in entries if entry.get("exception_message")]
    return messages[0].splitlines()[0] if messages else "great_expectations gives no reason"
