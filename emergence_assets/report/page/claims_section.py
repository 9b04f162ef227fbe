"""What a study allows to say: the statements with their grades, before anything else on the page."""

from collections import Counter
from typing import Any

import polars as pl

from emergence_assets.emergence.claims.claim import format_number, speaks_against
from emergence_assets.emergence.claims.grading import GRADES, SUPPORTED
from emergence_assets.plan.lineage_id import row_id
from emergence_assets.report.page.html_tables import Cell, html_table
from emergence_assets.report.page.sentences import UNKNOWN, known

_MEANING = {
    "A": "every control passed",
    "B": "every control that must pass did",
    "C": "a control that must pass was not measured",
    "reject": "its own numbers or a control that must pass speak against it",
}


def claims_sentence(claims: pl.DataFrame) -> str:
    """How many statements have which grade, and what the grades mean."""
    if claims.is_empty():
        return "No statement has been put to its controls yet."
    counts = Counter(claims["grade"])
    listed = ", ".join(f"{counts[grade]} {grade} ({_MEANING[grade]})" for grade in GRADES)
    allowed = sum(counts[grade] for grade in SUPPORTED)
    return (
        f"{claims.height} statements were set out beforehand and put to their controls: {listed}. Only the {allowed} "
        f"of grade {' or '.join(SUPPORTED)} may be repeated without a reservation."
    )


def claims_table(claims: pl.DataFrame, fingerprint: str) -> str:
    """The statements that are not about single categories, each with what it failed and its lineage id.

    Args:
        claims: the table.
        fingerprint: of that table; empty when it is not known.
    """
    rows = claims.filter(pl.col("category").is_null())
    cells = [
        [_name(row), _text(row["grade"]), _text(row["statement"]), *_evidence(row), _lineage(row, fingerprint)]
        for row in _rows(rows)
    ]
    columns = ("claim", "grade", "statement", "estimate", "q", "controls failed", "not measured", "lineage id")
    return html_table(
        "Statements about means over categories and about all latents; intervals are 95 %. Gate: what the numbers of "
        "its own table have to show, for a rise that half of it lies before the last checkpoint but one",
        columns,
        cells,
        "claims",
    )


def single_claims_table(claims: pl.DataFrame) -> str:
    """Statements about single categories, counted by grade, with the control that rejects most of them."""
    singles = claims.filter(pl.col("category").is_not_null())
    if singles.is_empty():
        return ""
    cells = []
    for (kind, model), part in singles.group_by("kind", "model", maintain_order=True):
        counts = Counter(part["grade"])
        failed = Counter(part["controls_failed"].explode().drop_nulls())
        no_gate = part.height - int(part["passes_gate"].sum())
        reasons = [f"{name} {number}" for name, number in failed.most_common(3)]
        cells.append(
            [
                _text(str(kind)),
                _text(str(model or "all sizes")),
                *((str(counts[grade]), float(counts[grade])) for grade in GRADES),
                (str(no_gate), float(no_gate)),
                _text(", ".join(reasons) or UNKNOWN),
            ]
        )
    columns = ("about", "model", *GRADES, "not shown by their own numbers", "most failed controls")
    return html_table("Statements about single categories, counted by grade", columns, cells)


def _evidence(row: dict[str, Any]) -> list[Cell]:
    estimate, lo, hi = (row[name] for name in ("estimate", "lo", "hi"))
    shown = UNKNOWN if estimate is None else f"{format_number(estimate)} {row['unit']}"
    interval = "" if lo is None or hi is None else f" ({format_number(lo)} to {format_number(hi)})"
    q = row["q"]
    return [
        (shown + interval, float("inf") if estimate is None else float(estimate)),
        (UNKNOWN if q is None else "<0.001" if q < 0.001 else f"{q:.3f}", float("inf") if q is None else float(q)),
        _text(", ".join(speaks_against(row)) or UNKNOWN),
        _text(", ".join(row["controls_missing"]) or UNKNOWN),
    ]


def claim_lineage_id(claim_id: int, fingerprint: str) -> str:
    """What `emergence audit` takes for a statement; empty when the table's fingerprint is not known."""
    return row_id(fingerprint, {"claim_id": claim_id}) if fingerprint else ""


def _lineage(row: dict[str, Any], fingerprint: str) -> Cell:
    return _text(claim_lineage_id(row["claim_id"], fingerprint) or UNKNOWN)


def _name(row: dict[str, Any]) -> Cell:
    return f"claims/{row['claim_id']}", f"{row['claim_id']:06d}"


def _text(value: str) -> Cell:
    return value, value


def _rows(frame: pl.DataFrame) -> list[dict[str, Any]]:
    return [{key: known(value) for key, value in row.items()} for row in frame.iter_rows(named=True)]
