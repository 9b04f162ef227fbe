"""Validation of a frame against all its checks, as expectations of great_expectations, once per frame."""

import threading
from collections.abc import Sequence

import polars as pl

from resources.tables.check import Check, Finding
from resources.tables.satisfied import satisfied
from resources.tables.suite import BrokenCondition, broken_conditions, failed_checks, library


def validate(frame: pl.DataFrame, checks: Sequence[Check]) -> list[Finding]:
    """Validate a frame once against all checks.

    Args:
        frame: frame with at least one row; an empty frame fails every check, because it proves nothing.
        checks: checks of the frame.

    Returns:
        One finding per check, in their order.
    """
    if frame.is_empty():
        return [Finding(check, False, (), ("the frame has no rows",)) for check in checks]
    used = sorted({column for check in checks for condition in check.conditions for column in condition.columns})
    absent = [column for column in used if column not in frame.columns]
    if absent:
        return [Finding(check, False, (), (f"columns {absent} are absent",)) for check in checks]
    # Most frames pass. A boolean column per check needs one expectation per check, and not one per column. The rows
    # that break a condition are searched only where a check fails.
    selected = frame.select(used)
    failed = failed_checks(satisfied(selected, checks))
    broken = broken_conditions(selected, {position: checks[position] for position in failed})
    return [
        _finding(frame, check, position in failed, [condition for condition in broken if condition.check == position])
        for position, check in enumerate(checks)
    ]


def load_in_background() -> None:
    """Import great_expectations, which takes three seconds, while the workers of a run are busy."""
    # Completely, before the thread does: queries of Dagster in this thread fail while a part is missing.
    import sqlalchemy.orm  # noqa: F401

    threading.Thread(target=library, name="great_expectations", daemon=True).start()


def _finding(frame: pl.DataFrame, check: Check, failed: bool, broken: Sequence[BrokenCondition]) -> Finding:
    rows = sorted({row for condition in broken for row in condition.rows})
    details = (*(condition.description for condition in broken), *_named(frame, rows))
    return Finding(check, not failed, tuple(rows), details)


def _named(frame: pl.DataFrame, rows: Sequence[int]) -> list[str]:
    """Return the keys of the first rows that break a check."""
    keys = [name for name in ("cell", "model", "step") if name in frame.columns]
    shown = ["/".join(str(frame[row, key]) for key in keys) for row in rows[:5]]
    more = f" and {len(rows) - 5} more" if len(rows) > 5 else ""
    return [f"in {', '.join(shown)}{more}"] if keys and rows else []
