"""Statements about size: that presence has a threshold in parameters, or grows smoothly with them."""

from collections.abc import Mapping
from typing import Any

import polars as pl

from emergence_assets.emergence.claims.claim import Claim, subject
from emergence_assets.emergence.claims.grading import ONE_RUN, Control

_SAID = {
    "threshold": "Presence of {subject} has a threshold in model size, between {lo} and {hi} parameters.",
    "smooth": "Presence of {subject} grows smoothly with model size.",
    "metric_artifact": "The jump of {subject} over model sizes is one of the count: its presence grows smoothly.",
    "absent": "No size gains presence of {subject} over its untrained network.",
    "saturated": "Presence of {subject} does not grow with model size: the smallest has it.",
    "insufficient": "Presence of {subject} depends on model size.",
}


def claims_of_scale(scale: pl.DataFrame, level: str) -> list[Claim]:
    """One statement per category, and one per level about the mean, at the last step of every size.

    The statement is what the study's own SAE design says (`shape`); that another design says the same is a control.

    Args:
        scale: `emergence_over_scale`.
        level: the primary label level; statements about other levels are about means only.
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
        said = _SAID[shape].format(subject=subject(row), lo=_size(row["n_lo"]), hi=_size(row["n_hi"]))
        claims.append(
            Claim(
                kind="size",
                statement=said,
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


def _size(value: int | None) -> str:
    return "an unknown number of" if value is None else f"{value:,}"


def _same(other: str | None, shape: str) -> bool | None:
    return None if other in (None, "insufficient") else other == shape


def _differs(other: str | None, shape: str) -> bool | None:
    """Whether permuted labels do not have the same shape; that nothing is there, both may say."""
    return None if other is None else other != shape or shape in ("absent", "insufficient")
