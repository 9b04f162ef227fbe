"""Claims about model size: presence has a threshold in parameters, or grows smoothly with them."""

from collections.abc import Mapping
from typing import Any

import polars as pl

from emergence_assets.emergence.claims.claim import Claim, subject
from emergence_assets.emergence.claims.grading import ONE_RUN, Control

_STATEMENTS = {
    "threshold": "Presence of {subject} has a threshold in model size, {range}.",
    "smooth": "Presence of {subject} grows smoothly with model size.",
    "metric_artifact": "The count for {subject} jumps between two model sizes, but presence grows smoothly.",
    "absent": "At no model size does presence of {subject} exceed that in the untrained network.",
    "saturated": "Presence of {subject} does not grow with model size: the smallest model has it already.",
    "insufficient": "Presence of {subject} depends on model size.",
}


def claims_of_scale(scale: pl.DataFrame, level: str) -> list[Claim]:
    """Make one claim per category, and one per level about the mean, at the last step of every model size.

    The claim is the shape under the study's own SAE design (`shape`). The same shape under another design is a control.

    Args:
        scale: `emergence_over_scale`.
        level: the primary label level; other levels have claims about means only.
    """
    final = scale.filter(pl.col("condition") == "final_step", pl.col("sae_design") == "fixed_width")
    rows = final.filter(
        pl.col("control_id") == "none", (pl.col("category_level") == level) | (pl.col("aggregate") == "mean")
    )
    shuffled = {_key(row): row["shape"] for row in final.iter_rows(named=True) if row["control_id"] == "label_shuffle"}
    matched = {
        (_key(row), row["condition"]): row["shape"]
        for row in scale.iter_rows(named=True)
        if row["control_id"] == "none" and row["sae_design"] == "fixed_width"
    }
    claims = []
    for row in rows.iter_rows(named=True):
        shape, key = row["shape"], _key(row)
        controls = (
            Control("sae_design", None if row["verdict"] == "insufficient" else row["verdict"] == shape),
            Control("label_shuffle", _differs(shuffled.get(key), shape)),
            *(
                Control(condition, _same(matched.get((key, condition)), shape), must=False)
                for condition in ("equal_tokens", "equal_flops")
            ),
            ONE_RUN,
        )
        statement = _STATEMENTS[shape].format(subject=subject(row), range=_size_range(row["n_lo"], row["n_hi"]))
        claims.append(
            Claim(
                kind="size",
                statement=statement,
                estimate=row["slope_dec"],
                interval=(row["slope_dec_lo"], row["slope_dec_hi"]),
                unit="AUROC per decade of parameters",
                q=None,
                passes_gate=shape != "insufficient",
                controls=controls,
                inputs=("emergence_over_scale",),
                figure="presence_over_size",
                category_level=row["category_level"],
                category=row["category"],
            )
        )
    return claims


def _key(row: Mapping[str, Any]) -> tuple[Any, ...]:
    return row["category_level"], row["aggregate"], row["category"]


def _size_range(lo: int | None, hi: int | None) -> str:
    """Describe the range of a threshold: largest size surely below it, smallest size surely above it."""
    if lo is None and hi is None:
        return "at an unknown number of parameters"
    if lo is None:
        return f"below {hi:,} parameters"
    return f"above {lo:,} parameters" if hi is None else f"between {lo:,} and {hi:,} parameters"


def _same(other: str | None, shape: str) -> bool | None:
    return None if other in (None, "insufficient") else other == shape


def _differs(other: str | None, shape: str) -> bool | None:
    """Return whether permuted labels have another shape; `absent` and `insufficient` may be shared by both."""
    return None if other is None else other != shape or shape in ("absent", "insufficient")
