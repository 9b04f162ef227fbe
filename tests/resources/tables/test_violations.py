"""Violations of a table's declaration are counted by kind."""

from typing import Any

import polars as pl
import pytest

from resources.tables.table import Column, Ordered, Table
from resources.tables.violations import violations

TABLE = Table(
    "measured",
    "Rows to be counted.",
    (
        Column("name", pl.String, "which", one_of=("a", "b", "c")),
        Column("low", pl.Float32, "from", minimum=0, nullable=True),
        Column("high", pl.Float32, "to", maximum=1, nullable=True),
    ),
    ("name",),
    (Ordered(("low", "high")),),
)
GOOD: dict[str, list[Any]] = {"name": ["a", "b", "c"], "low": [0.1, None, 0.0], "high": [0.2, 0.5, None]}


def counted(rows: dict[str, list[Any]]) -> tuple[int, ...]:
    return tuple(violations(pl.DataFrame(rows, schema=TABLE.schema), TABLE).values())


def test_good_and_empty_tables_break_nothing() -> None:
    assert counted(GOOD) == (0, 0, 0)
    assert counted({name: [] for name in GOOD}) == (0, 0, 0)


@pytest.mark.parametrize(
    ("damage", "expected"),
    [
        ({"name": ["a", "a", "c"]}, (2, 0, 0)),
        ({"name": ["a", None, "c"]}, (0, 1, 0)),
        ({"name": ["a", "b", "d"]}, (0, 0, 1)),
        ({"low": [0.1, -1.0, 0.0]}, (0, 0, 1)),
        ({"high": [0.2, 2.0, 3.0]}, (0, 0, 2)),
        ({"low": [0.3, None, 0.0]}, (0, 0, 1)),
        ({"low": [float("nan"), None, 0.0], "high": [None, None, None]}, (0, 0, 1)),
    ],
    ids=str,
)
def test_each_fault_is_counted_as_its_own_kind(damage: dict[str, list[Any]], expected: tuple[int, ...]) -> None:
    assert counted(GOOD | damage) == expected
