"""A row satisfies a check exactly when great_expectations finds no fault in it."""

from typing import Any

import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from resources.tables.check import Check, Condition, between, equal
from resources.tables.satisfied import satisfied
from resources.tables.suite import broken_conditions

NUMBERS = st.one_of(st.none(), st.just(float("nan")), st.sampled_from([0.0, 0.5, 1.0, 2.0, float("inf"), -1.0]))
FRAMES = st.lists(st.tuples(NUMBERS, NUMBERS, st.sampled_from(["law", "food", "", None])), min_size=1, max_size=6)
CONDITIONS: list[Condition] = [
    between("p", 0, 1),
    between("p", 0, 1, strict=True, nullable=True),
    between("p", None, 0.5, nullable=True),
    between("p", 0.5),
    equal("p", "q"),
    Condition("not_null", ("p",)),
    Condition("unique", ("p",)),
    Condition("unique", ("p", "category")),
    Condition("one_of", ("category",), values=("law", "food")),
    Condition("one_of", ("category",), values=("law",), nullable=True),
    Condition("ordered", ("p", "q"), nullable=True),
]


@settings(max_examples=25, deadline=None)
@given(FRAMES)
def test_both_ways_to_look_find_the_same_rows(rows: list[tuple[Any, ...]]) -> None:
    schema = {"p": pl.Float64, "q": pl.Float64, "category": pl.String}
    frame = pl.DataFrame(rows, schema=schema, orient="row")
    checks = [Check(str(position), "", (condition,)) for position, condition in enumerate(CONDITIONS)]
    quick = satisfied(frame, checks)
    detailed = broken_conditions(frame, dict(enumerate(checks)))
    for position, condition in enumerate(CONDITIONS):
        found = [row for row, holds in enumerate(quick[str(position)]) if not holds]
        named = {row for broken in detailed if broken.check == position for row in broken.rows}
        assert found == sorted(named), condition
