"""Every kind of condition passes on good frames and fails on broken ones, naming the rows."""

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from resources.tables.check import Check, Condition, Finding, between, equal, table_checks
from resources.tables.expectations import validate
from resources.tables.table import Column, Ordered, Table

GOOD = pl.DataFrame(
    {
        "category": ["law", "food", "law"],
        "step": [0, 0, 8],
        "p": [0.25, 0.5, 1.0],
        "low": [0.25, None, 0.5],
        "copy": [0.25, 0.5, 1.0],
        "replicates": [[0.1], [0.2], [0.3]],
    }
)


def found(frame: pl.DataFrame, *conditions: Condition) -> Finding:
    [finding] = validate(frame, [Check("check", "", conditions)])
    return finding


def with_values(column: str, values: Sequence[Any]) -> pl.DataFrame:
    """Return the good frame with other values in one column."""
    return GOOD.with_columns(pl.Series(column, values, strict=False))


KINDS: dict[str, tuple[Condition, list[tuple[pl.DataFrame, tuple[int, ...]]]]] = {
    "between": (
        between("p", 0.25, 1),
        [(with_values("p", [0.2, 0.5, 1.1]), (0, 2)), (with_values("p", [float("inf"), 0.5, -1]), (0, 2))],
    ),
    "from": (between("step", 0), [(with_values("step", [0, -1, 8]), (1,))]),
    "up to": (between("step", None, 8), [(with_values("step", [0, 9, 8]), (1,))]),
    "strictly between": (between("p", 0, 1.5, strict=True), [(with_values("p", [0.0, 0.5, 1.5]), (0, 2))]),
    "present": (
        Condition("not_null", ("p",)),
        [(with_values("p", [0.5, None, 1.0]), (1,)), (with_values("p", [0.5, 0.5, float("nan")]), (2,))],
    ),
    "present text": (Condition("not_null", ("category",)), [(with_values("category", ["law", None, None]), (1, 2))]),
    "present lists": (Condition("not_null", ("replicates",)), [(with_values("replicates", [[0.1], None, []]), (1,))]),
    "unique": (Condition("unique", ("p",)), [(with_values("p", [0.5, 0.1, 0.5]), (0, 2))]),
    "unique together": (Condition("unique", ("category", "step")), [(with_values("step", [8, 0, 8]), (0, 2))]),
    "one of": (
        Condition("one_of", ("category",), values=("law", "food")),
        [(with_values("category", ["law", "Food", "law"]), (1,)), (with_values("category", ["", "food", "x"]), (0, 2))],
    ),
    "equal": (
        equal("p", "copy"),
        [(with_values("copy", [0.25, 0.5, 0.9]), (2,)), (with_values("copy", [None, 0.5, 1.0]), (0,))],
    ),
    "ordered": (Condition("ordered", ("low", "p"), nullable=True), [(with_values("low", [0.3, None, 0.5]), (0,))]),
}


def test_a_good_frame_passes() -> None:
    for finding in validate(GOOD, [Check(kind, "", (condition,)) for kind, (condition, _) in KINDS.items()]):
        assert (finding.passed, finding.failed_rows, finding.details) == (True, (), ()), finding.check.name


@pytest.mark.parametrize("kind", KINDS)
def test_a_broken_frame_fails_naming_rows_and_columns(kind: str) -> None:
    condition, broken = KINDS[kind]
    for frame, rows in broken:
        finding = found(frame, condition)
        assert not finding.passed
        assert finding.failed_rows == rows
        assert all(column in finding.details[0] for column in condition.columns)
        assert f"{len(rows)} rows break it" in finding.details[0]
        assert "np." not in finding.details[0]


def test_one_broken_row_of_many_is_found_at_any_place() -> None:
    for row in (0, 4_999, 9_999):
        values = pl.Series("p", [0.5] * 10_000)
        values[row] = 2.0
        assert found(pl.DataFrame({"p": values}), between("p", 0, 1)).failed_rows == (row,)


def test_a_finding_stands_for_its_check_alone_and_in_its_place() -> None:
    checks = [
        Check("range", "", (between("p", 0, 1),)),
        Check("set", "", (Condition("one_of", ("category",), values=("law",)),)),
        Check("same range", "", (between("p", 0, 1),), blocking=False),
        Check("two", "", (between("step", 1), Condition("unique", ("category",)))),
    ]
    findings = validate(GOOD, checks)
    assert [finding.check for finding in findings] == checks
    assert [finding.passed for finding in findings] == [True, False, True, False]
    assert [finding.failed_rows for finding in findings] == [(), (1,), (), (0, 1, 2)]
    assert len(findings[3].details) == 3
    assert findings[3].details[2] == "in 0, 0, 8", "the rows by their keys"


def test_an_empty_frame_fails_every_check() -> None:
    checks = [Check("range", "", (between("p", 0, 1),)), Check("nothing", "", ())]
    findings = validate(GOOD.clear(), checks)
    assert [(finding.passed, finding.details) for finding in findings] == [(False, ("the frame has no rows",))] * 2


def test_a_column_that_is_not_there_fails_every_check() -> None:
    [finding] = validate(GOOD.drop("p"), [Check("range", "", (between("p", 0, 1), between("step", 0)))])
    assert not finding.passed
    assert finding.details == ("columns ['p'] are absent",)


@pytest.mark.parametrize("condition", [between("category", 0, 1), Condition("ordered", ("category", "p"))])
def test_a_column_of_another_type_fails_with_the_reason(condition: Condition) -> None:
    finding = found(GOOD, condition)
    assert not finding.passed
    assert "category" in finding.details[0]
    assert "cannot be checked" in finding.details[0]


def test_a_check_without_conditions_passes() -> None:
    assert found(GOOD).passed


# Declarations

TABLE = Table(
    "presence",
    "one row per category and step",
    (
        Column("category", pl.String, "", one_of=("law", "food")),
        Column("step", pl.Int64, "", "steps", 0),
        Column("p", pl.Float64, "", "1", 0, 1),
        Column("low", pl.Float64, "", "1", 0, 1, nullable=True),
        Column("copy", pl.Float64, ""),
        Column("replicates", pl.List(pl.Float64), ""),
    ),
    key=("category", "step"),
    relations=(Ordered(("low", "p", "copy")),),
)
NAMES = ("keys_are_unique", "values_are_present", "values_are_in_range")


def failed(frame: pl.DataFrame) -> dict[str, tuple[int, ...]]:
    """Return the names of failed checks, with the rows."""
    findings = validate(frame, table_checks(TABLE))
    assert tuple(finding.check.name for finding in findings) == NAMES
    return {finding.check.name: finding.failed_rows for finding in findings if not finding.passed}


def test_a_frame_as_declared_passes_all_checks_of_its_table() -> None:
    assert failed(GOOD) == {}


@pytest.mark.parametrize(
    ("column", "values", "expected"),
    [
        ("step", [8, 0, 8], {"keys_are_unique": (0, 2)}),
        ("step", [0, 0, None], {"values_are_present": (2,)}),
        ("step", [0, -1, 8], {"values_are_in_range": (1,)}),
        ("category", ["law", "sport", "law"], {"values_are_in_range": (1,)}),
        ("p", [0.25, 0.5, 0.4], {"values_are_in_range": (2,)}),
        ("copy", [0.25, 0.4, 1.0], {"values_are_in_range": (1,)}),
        ("low", [None, None, None], {}),
        ("p", [0.3, float("nan"), 1.0], {"values_are_present": (1,), "values_are_in_range": (0,)}),
        ("replicates", [[0.1], None, [0.3]], {"values_are_present": (1,)}),
    ],
)
def test_a_broken_declaration_is_found_by_the_named_check(
    column: str, values: list[Any], expected: dict[str, tuple[int, ...]]
) -> None:
    assert failed(with_values(column, values)) == expected


def test_a_single_key_column_must_be_unique_too() -> None:
    table = Table("models", "", (Column("category", pl.String, ""),), key=("category",))
    findings = {finding.check.name: finding for finding in validate(GOOD, table_checks(table))}
    assert findings["keys_are_unique"].failed_rows == (0, 2)


def test_conditions_can_be_declared_without_importing_great_expectations() -> None:
    program = (
        "import sys, resources.tables.expectations; assert not {'great_expectations', 'pandas'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", program], check=True, cwd=Path(__file__).parents[3])


@pytest.mark.parametrize(
    "condition",
    [
        between("low", 0, 1),
        equal("low", "low"),
        Condition("ordered", ("low", "p")),
        Condition("one_of", ("low",), values=(0.1,)),
    ],
)
@pytest.mark.parametrize("missing", [None, float("nan")])
def test_a_missing_value_breaks_a_condition_that_forbids_it(condition: Condition, missing: float | None) -> None:
    finding = found(with_values("low", [0.1, missing, 0.1]), condition)
    assert not finding.passed
    assert 1 in finding.failed_rows
