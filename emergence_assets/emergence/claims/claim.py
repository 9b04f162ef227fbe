"""One statement of a study with its evidence: a row of the table `claims`, before it is numbered."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl

from emergence_assets.emergence.claims.grading import GRADES, POLICY, Control, grade
from emergence_assets.emergence.claims.table import CLAIMS, KINDS

ALPHA = 0.05
"""Upper bound of the false discovery rate of a statement that is tested among many."""
SEEDS_NEEDED = 2 / 3
"""Share of the SAE seeds whose effect must have the stated sign (design, 2.6)."""


@dataclass(frozen=True)
class Claim:
    """One statement, true or false. The grade decides whether it may be repeated."""

    kind: str
    """One of `table.KINDS`."""
    statement: str
    """A sentence that is true if the claim holds."""
    estimate: float | None
    interval: tuple[float | None, float | None]
    """Bounds of the 95 % interval of the estimate."""
    unit: str
    q: float | None
    """False discovery rate over the statements of this kind; None where only one statement is tested."""
    passes_gate: bool | None
    """Whether the source table's own criteria are met; None if they cannot be computed."""
    controls: tuple[Control, ...]
    inputs: tuple[str, ...]
    """Assets and cells that the statement is computed from."""
    figure: str
    """Figure of the report that shows the evidence; empty if there is none."""
    model: str | None = None
    category_level: str | None = None
    category: str | None = None
    """None in a statement about the mean over the categories of a level."""
    step: int | None = None
    layer: int | None = None
    findings: tuple[str, ...] = ()
    """Measured properties of the category that speak neither for nor against the statement."""


def claims_table(claims: Sequence[Claim]) -> pl.DataFrame:
    """Return all statements numbered from 1, supported statements first within their kind; see `CLAIMS`.

    The order depends only on the statements, so that equal evidence gives equal numbers.
    """
    rows = [_row(claim) for claim in claims]
    frame = pl.DataFrame(rows, schema=CLAIMS.schema_without("claim_id")).sort(
        pl.col("kind").cast(pl.Enum(KINDS)),
        pl.col("category").is_not_null(),
        pl.col("grade").cast(pl.Enum(GRADES)),
        pl.col("estimate").abs(),
        "statement",
        descending=[False, False, False, True, False],
        nulls_last=True,
    )
    return frame.with_row_index("claim_id", offset=1).cast({"claim_id": CLAIMS.schema["claim_id"]})


def subject(row: Mapping[str, Any]) -> str:
    """Name the category of a row, or its level where the row is a mean over categories."""
    if row["category"] is not None:
        return str(row["category"])
    level = row["category_level"]
    return f"{with_article(level)} (mean over {all_of_level(level)})"


def with_article(level: str) -> str:
    """Name any category of a level: `a domain`, `an area`."""
    return f"{'an' if level[0] in 'aeiou' else 'a'} {level}"


def all_of_level(level: str) -> str:
    """Name the categories of a level together: `all domains`, `all categories`."""
    if level.endswith("y") and level[-2:-1] not in "aeiou":
        return f"all {level[:-1]}ies"
    return f"all {level}{'es' if level.endswith(('s', 'x', 'ch', 'sh')) else 's'}"


def seeds_agree(n_agree: int | None, n_seeds: int | None) -> bool | None:
    """Return whether enough SAE seeds have the stated sign; None below two seeds."""
    if n_agree is None or n_seeds is None or n_seeds < 2:
        return None
    return n_agree >= SEEDS_NEEDED * n_seeds


def above(value: float | None, bound: float = 0.0) -> bool | None:
    """Return whether a number lies above a bound; None if the number is missing or NaN."""
    return None if value is None or math.isnan(value) else bool(value > bound)


def below(value: float | None, bound: float = ALPHA) -> bool | None:
    """Return whether a number lies below a bound; None if the number is missing or NaN."""
    return None if value is None or math.isnan(value) else bool(value < bound)


def _row(claim: Claim) -> dict[str, Any]:
    lo, hi = claim.interval
    column_of = {True: "controls_passed", False: "controls_failed", None: "controls_missing"}
    controls: dict[str, list[str]] = {column: [] for column in column_of.values()}
    for control in claim.controls:
        controls[column_of[control.passed]].append(control.name)
    return {
        **vars(claim),
        **controls,
        "estimate": _finite(claim.estimate),
        "lo": _finite(lo),
        "hi": _finite(hi),
        "q": _finite(claim.q),
        "passes_gate": bool(claim.passes_gate),
        "grade": grade(claim.passes_gate, claim.controls),
        "policy": POLICY,
    }


def _finite(value: float | None) -> float | None:
    return None if value is None or not math.isfinite(value) else float(value)


def speaks_against(row: Mapping[str, Any]) -> list[str]:
    """List the reasons against a row of `claims`: `gate` if the criteria of its table fail, then failed controls."""
    return [*([] if row["passes_gate"] else ["gate"]), *row["controls_failed"]]


def format_number(value: float) -> str:
    """Format an estimate: three significant digits, and whole numbers from 1,000 on."""
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"
