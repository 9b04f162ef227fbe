"""A statement of a study with its evidence, before it has a number: one row of the table `claims`."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl

from emergence_assets.emergence.claims.grading import GRADES, POLICY, Control, grade
from emergence_assets.emergence.claims.table import CLAIMS, KINDS

ALPHA = 0.05
"""A statement that is one of many needs a smaller false discovery rate."""
SEEDS_NEEDED = 2 / 3
"""Share of the SAE seeds that have to show the sign (design, 2.6)."""


@dataclass(frozen=True)
class Claim:
    """One statement, true or not; the grade decides whether it may be made."""

    kind: str
    """One of `tables.claims.KINDS`."""
    statement: str
    """A sentence that is right if the claim holds."""
    estimate: float | None
    interval: tuple[float | None, float | None]
    """95 %."""
    unit: str
    q: float | None
    """False discovery rate over the statements of its kind; None where there is one only."""
    passes_gate: bool | None
    """Whether the table behind it allows the statement by its own numbers."""
    controls: tuple[Control, ...]
    inputs: tuple[str, ...]
    """Assets and cells that the statement was made from."""
    figure: str
    """Name of the figure of the report that shows it; empty when none does."""
    model: str | None = None
    category_level: str | None = None
    category: str | None = None
    """None in statements about the mean over the categories of a level."""
    step: int | None = None
    layer: int | None = None


def claims_table(claims: Sequence[Claim]) -> pl.DataFrame:
    """All statements, granted ones first within their kind, numbered from 1; see `CLAIMS`.

    The order depends on nothing but the statements, so that equal evidence gives equal numbers.
    """
    rows = [_row(claim) for claim in claims]
    frame = pl.DataFrame(rows, schema={name: dtype for name, dtype in CLAIMS.schema.items() if name != "claim_id"})
    order = frame.with_columns(
        kind_order=pl.col("kind").replace_strict(list(KINDS), range(len(KINDS)), return_dtype=pl.Int8),
        grade_order=pl.col("grade").replace_strict(list(GRADES), range(len(GRADES)), return_dtype=pl.Int8),
        is_single=pl.col("category").is_not_null(),
        size=pl.col("estimate").abs(),
    ).sort(
        ["kind_order", "is_single", "grade_order", "size", "statement"],
        descending=[False, False, False, True, False],
        nulls_last=True,
    )
    return order.with_row_index("claim_id", offset=1).select(
        pl.col(name).cast(dtype) for name, dtype in CLAIMS.schema.items()
    )


def subject(row: Mapping[str, Any]) -> str:
    """Name the category of a row, or its level where the row is a mean over categories."""
    if row["category"] is not None:
        return str(row["category"])
    return f"{one_of_level(row['category_level'])} (mean over all categories)"


def one_of_level(level: str) -> str:
    """Name any category of a level: `a domain`, `an area`."""
    return f"{'an' if level[0] in 'aeiou' else 'a'} {level}"


def seeds_agree(n_agree: int | None, n_seeds: int | None) -> bool | None:
    """Whether enough SAE seeds show the sign; None with one seed, which nothing can agree with."""
    if n_agree is None or n_seeds is None or n_seeds < 2:
        return None
    return n_agree >= SEEDS_NEEDED * n_seeds


def above(value: float | None, bound: float = 0.0) -> bool | None:
    """Whether a number lies above a bound; None when there is no number."""
    return None if value is None or math.isnan(value) else bool(value > bound)


def below(value: float | None, bound: float = ALPHA) -> bool | None:
    """Whether a number lies below a bound; None when there is no number."""
    return None if value is None or math.isnan(value) else bool(value < bound)


def _row(claim: Claim) -> dict[str, Any]:
    lo, hi = claim.interval
    said = {True: "controls_passed", False: "controls_failed", None: "controls_missing"}
    named: dict[str, list[str]] = {column: [] for column in said.values()}
    for control in claim.controls:
        named[said[control.passed]].append(control.name)
    return {
        "kind": claim.kind,
        "statement": claim.statement,
        "model": claim.model,
        "category_level": claim.category_level,
        "category": claim.category,
        "step": claim.step,
        "layer": claim.layer,
        "estimate": _finite(claim.estimate),
        "lo": _finite(lo),
        "hi": _finite(hi),
        "unit": claim.unit,
        "q": _finite(claim.q),
        "passes_gate": bool(claim.passes_gate),
        **named,
        "grade": grade(claim.passes_gate, claim.controls),
        "policy": POLICY,
        "inputs": list(claim.inputs),
        "figure": claim.figure,
    }


def _finite(value: float | None) -> float | None:
    return None if value is None or not math.isfinite(value) else float(value)


def speaks_against(row: Mapping[str, Any]) -> list[str]:
    """What speaks against a row of `claims`: `gate` where its own table does not show it, and controls."""
    return [*([] if row["passes_gate"] else ["gate"]), *row["controls_failed"]]


def format_number(value: float) -> str:
    """An estimate as it is read: three digits, and whole numbers from a thousand on."""
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"
