"""Claims of a study: those that may be repeated, and the others behind a fold."""

import html
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
    """Count the claims that may be repeated, with the meaning of the grades."""
    if claims.is_empty():
        return "No claim has been tested against its controls yet."
    counts = Counter(claims["grade"])
    listed = " and ".join(f"{counts[grade]} of grade {grade} ({_MEANING[grade]})" for grade in SUPPORTED)
    n_supported = sum(counts[grade] for grade in SUPPORTED)
    return (
        f"{claims.height} claims were fixed in advance and tested against their controls. {n_supported or 'None'} of "
        f"them may be repeated: {listed}. Repeat a claim of grade B together with the controls that failed or were not "
        "measured. A claim for which model_seed was not measured is about one training run."
    )


def supported_claims(claims: pl.DataFrame, fingerprint: str, level: str) -> str:
    """List the claims of grade A and B: those about means one by one, those about single categories by kind and model.

    Args:
        claims: see `CLAIMS`.
        fingerprint: fingerprint of the table of claims; empty when it is not known.
        level: label level of the page; claims about means over the categories of another level stand behind a fold.
    """
    supported = claims.filter(pl.col("grade").is_in(SUPPORTED))
    means = supported.filter(pl.col("category").is_null())
    singles = supported.filter(pl.col("category").is_not_null())
    tables = ""
    of_level = pl.col("category_level").is_null() | (pl.col("category_level") == level)
    own, others = means.filter(of_level), means.filter(~of_level)
    if not own.is_empty():
        caption = (
            f"Claims of grade A or B about means over {level} categories and about all latents, with 95 % intervals; "
            "`emergence claims NUMBER` adds what was found besides"
        )
        tables += _claims_table(
            caption, own.with_columns(findings=pl.lit([], pl.List(pl.String))), fingerprint, "claims"
        )
    if not others.is_empty():
        caption = "Claims of grade A or B about means over the categories of other levels, with 95 % intervals"
        table = _claims_table(caption, others, fingerprint, "claims-of-levels")
        tables += f"<details><summary>{others.height} more about other levels</summary>{table}</details>"
    if not singles.is_empty():
        rows = [
            {"kind": kind, "model": model or "all sizes", "n": part.height, "categories": ", ".join(part["category"])}
            for (kind, model), part in singles.group_by("kind", "model", maintain_order=True)
        ]
        columns: Columns = {"kind": text("kind"), "model": text("model"), "claims": integer("n")}
        columns |= {"categories": text("categories")}
        tables += html_table("Claims of grade A or B about single categories", columns, rows, "single-claims")
    return tables


def other_claims(claims: pl.DataFrame, fingerprint: str) -> str:
    """Count the claims of grade C and the rejected ones, and list them behind a fold.

    Args:
        claims: see `CLAIMS`.
        fingerprint: fingerprint of the table of claims; empty when it is not known.
    """
    others = claims.filter(~pl.col("grade").is_in(SUPPORTED))
    if others.is_empty():
        return ""
    counts = Counter(others["grade"])
    listed = "; ".join(
        f"{counts[grade]} {'rejected' if grade == 'reject' else f'of grade {grade}'} ({_MEANING[grade]})"
        for grade in GRADES
        if counts[grade]
    )
    caption = (
        "Claims about means over categories and about all latents that may not be repeated, with 95 % intervals. An "
        "entry gate under controls failed: the claim does not meet the criteria of its own table. Those of a rise ask "
        "for a distance of at least 0.05 between the last three checkpoints and step 0, those of a date for a curve "
        "that shows it"
    )
    means = others.filter(pl.col("category").is_null())
    table = "" if means.is_empty() else _claims_table(caption, means, fingerprint, "other-claims")
    tables = table + _counts(claims)
    return f'<details id="may-not"><summary>May not be repeated: {html.escape(listed)}</summary>{tables}</details>'


def _claims_table(caption: str, claims: pl.DataFrame, fingerprint: str, name: str) -> str:
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
    return html_table(caption, columns, known_rows(claims), name)


def _counts(claims: pl.DataFrame) -> str:
    """Count the claims about single categories by kind, model and grade, with the controls that fail most often."""
    singles = claims.filter(pl.col("category").is_not_null())
    rows = []
    for (kind, model), part in singles.group_by("kind", "model", maintain_order=True):
        counts = Counter(part["grade"])
        failed = Counter(part["controls_failed"].explode().drop_nulls())
        rows.append(
            {grade: counts[grade] for grade in GRADES}
            | {"kind": kind, "model": model or "all sizes", "not met": part.height - int(part["passes_gate"].sum())}
            | {"failed": ", ".join(f"{name} {number}" for name, number in failed.most_common(3)) or UNKNOWN}
        )
    if not rows:
        return ""
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
