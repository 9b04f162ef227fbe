"""Claims of a study with their grades: the first section after the finding."""

from collections import Counter

import polars as pl

from emergence_assets.emergence.claims.claim import format_number, speaks_against
from emergence_assets.emergence.claims.grading import GRADES, SUPPORTED
from emergence_assets.plan.lineage_id import row_id
from emergence_assets.report.page.html_tables import (
    Cell,
    Columns,
    Row,
    html_table,
    integer,
    order,
    probability,
    text,
    text_cell,
)
from emergence_assets.report.page.sentences import UNKNOWN, known_rows

_MEANING = {
    "A": "every control passed",
    "B": "every required control passed",
    "C": "a required control was not measured",
    "reject": "the criteria of its own table are not met, or a required control failed",
}


def claims_sentence(claims: pl.DataFrame) -> str:
    """Count the claims by grade, with the meaning of every grade."""
    if claims.is_empty():
        return "No claim has been tested against its controls yet."
    counts = Counter(claims["grade"])
    listed = ", ".join(f"{counts[grade]} {grade} ({_MEANING[grade]})" for grade in GRADES)
    n_supported = sum(counts[grade] for grade in SUPPORTED)
    return (
        f"Number of claims that were fixed in advance and tested against their controls: {claims.height}. Grades: "
        f"{listed}. Only claims of grade {' or '.join(SUPPORTED)} may be repeated: {n_supported}; those of grade B "
        "together with the controls that failed or were not measured. A claim for which model_seed was not measured is "
        "about one training run."
    )


def claims_table(claims: pl.DataFrame, fingerprint: str) -> str:
    """List the claims about means over categories and about all latents, with failed controls and lineage ids.

    Args:
        claims: see `CLAIMS`.
        fingerprint: fingerprint of the table of claims; empty when it is not known.
    """
    columns: Columns = {
        "claim": lambda row: (f"claims/{row['claim_id']}", f"{row['claim_id']:06d}"),
        "grade": text("grade"),
        "statement": _statement,
        "estimate": _estimate,
        "q": probability("q"),
        "controls failed": lambda row: text_cell(", ".join(speaks_against(row)) or UNKNOWN),
        "controls not measured": lambda row: text_cell(", ".join(row["controls_missing"]) or UNKNOWN),
        "lineage id": lambda row: text_cell(claim_lineage_id(row["claim_id"], fingerprint) or UNKNOWN),
    }
    return html_table(
        "Claims about means over categories and about all latents, with 95 % intervals. An entry gate under controls "
        "failed: the claim does not meet the criteria of its own table. Those of a rise ask for a distance of at "
        "least 0.05 between the last three checkpoints and step 0, those of a date for a curve that shows it",
        columns,
        known_rows(claims.filter(pl.col("category").is_null())),
        "claims",
    )


def single_claims_table(claims: pl.DataFrame) -> str:
    """Count the claims about single categories by kind, model and grade, with the controls that fail most often."""
    singles = claims.filter(pl.col("category").is_not_null())
    if singles.is_empty():
        return ""
    rows = []
    for (kind, model), part in singles.group_by("kind", "model", maintain_order=True):
        counts = Counter(part["grade"])
        failed = Counter(part["controls_failed"].explode().drop_nulls())
        rows.append(
            {grade: counts[grade] for grade in GRADES}
            | {"kind": kind, "model": model or "all sizes", "not met": part.height - int(part["passes_gate"].sum())}
            | {"failed": ", ".join(f"{name} {number}" for name, number in failed.most_common(3)) or UNKNOWN}
        )
    columns: Columns = {
        "kind": text("kind"),
        "model": text("model"),
        **{grade: integer(grade) for grade in GRADES},
        "criteria not met": integer("not met"),
        "controls that fail most often": text("failed"),
    }
    return html_table("Number of claims about single categories, by grade", columns, rows)


def claim_lineage_id(claim_id: int, fingerprint: str) -> str:
    """Make the lineage id of a claim for `emergence audit`; empty when the table's fingerprint is not known."""
    return row_id(fingerprint, {"claim_id": claim_id}) if fingerprint else ""


def _statement(row: Row) -> Cell:
    """Show the statement, and below it what was found besides."""
    findings = "; ".join(row["findings"])
    return text_cell(f"{row['statement']} Findings: {findings}." if findings else row["statement"])


def _estimate(row: Row) -> Cell:
    estimate, lo, hi = (row[name] for name in ("estimate", "lo", "hi"))
    shown = UNKNOWN if estimate is None else f"{format_number(estimate)} {row['unit']}"
    interval = "" if lo is None or hi is None else f" ({format_number(lo)} to {format_number(hi)})"
    return shown + interval, order(estimate)
