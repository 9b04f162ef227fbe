"""From what model size on a category is present: presence against non-embedding parameters at one step.

Here: slope, bracket and a cautious verdict over the sizes of a family. Not here: fitted curves (a later module);
with few sizes the bracket is the honest object.

Shape suffixes: m models (sizes), b bootstrap replicates.
"""

from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from emergence_assets.emergence.replicates import (
    MARGIN,
    best_layers,
    interval,
    replicate_array,
    require_same_texts,
    step0_rows,
    with_category_mean,
)
from emergence_assets.emergence.schema import SCALE_SCHEMA
from emergence_assets.errors import EmergenceError

MIN_SIZES = 5
"""With fewer sizes no shape of the curve is claimed."""


_SERIES = ["control_id", "aggregate", "category_level", "category"]


def emergence_over_scale(presence: pl.DataFrame) -> pl.DataFrame:
    """One row per (control, aggregate, level, category) over the sizes, at the last step that all sizes have.

    Each size is read at its best layer (highest mean `p_select` of the level). All intervals are 95 %, from replicates
    that share the texts over sizes.

    * rise: p_best of the largest size minus that of the smallest; slope_dec: least-squares slope per decade of
      parameters. Null for one size.
    * n_lo, n_hi: largest size whose upper bound is below the middle of the lowest and highest p_best, smallest larger
      size whose lower bound is above it; null unless the rise is at least 0.05 with a lower bound above 0.
    * jump_share: the largest rise between neighbouring sizes, as a share of the whole; null under the same condition.
    * verdict: "absent": no size gains 0.05 over its step 0 with a lower bound above 0; "saturated": present in
      the smallest size and no rise shown; "threshold": n_lo and n_hi are neighbours and the jump between them is
      two thirds of the rise, with a lower bound above the share that a straight line in log parameters gives it;
      "smooth": a rise, but no threshold; "insufficient": fewer than 5 sizes, no step 0, or none of these.

    Raises:
        EmergenceError: the sizes have no step in common, or were measured on different texts.
    """
    if presence.is_empty():
        return pl.DataFrame(schema=SCALE_SCHEMA)
    require_same_texts(presence)
    step = _last_common_step(presence)
    # step 0 stays in: the gain at the layer that is read needs it
    table = with_category_mean(presence.filter(pl.col("step").is_in([0, step])))
    row0 = step0_rows(table, ("model", "layer", "control_id", "aggregate", "category_level", "category"))
    replicates_rb = replicate_array(table)
    p_best = table["p_best"].to_numpy().astype(np.float64)
    table = table.with_row_index("row").with_columns(
        row0=pl.Series(row0), p_step0=pl.Series(np.where(row0 >= 0, p_best[row0], np.nan)).fill_nan(None)
    )
    read = table.join(
        best_layers(presence.filter(pl.col("step") == step)),
        on=["model", "step", "category_level", "layer"],
        how="semi",
    ).sort([*_SERIES, "n_params_nonemb", "model"])
    rows: list[dict[str, Any]] = []
    for part in read.partition_by(_SERIES, maintain_order=True):
        own, first = part["row"].to_numpy(), part["row0"].to_numpy()
        gain_mb = np.where((first >= 0)[:, None], replicates_rb[own] - replicates_rb[first], np.nan)
        gain_m = np.where(first >= 0, p_best[own] - p_best[first], np.nan)
        one = part.row(0, named=True)
        rows.append(
            {
                "step": step,
                **{key: one[key] for key in _SERIES},
                **_curve(part, p_best[own], replicates_rb[own], gain_m, interval(gain_mb)[0]),
                "p_bow": one["p_bow"],
                "n_seeds": part["n_seeds"].min(),
                "n_boot": replicates_rb.shape[1],
                "size_points": part.select(
                    "model",
                    "n_params_nonemb",
                    "layer",
                    "p_best",
                    lo="p_best_lo",
                    hi="p_best_hi",
                    p_step0="p_step0",
                    p_dense="p_dense",
                ).to_dicts(),
            }
        )
    floats = [name for name, dtype in SCALE_SCHEMA.items() if dtype == pl.Float32]
    return pl.DataFrame(rows, schema=SCALE_SCHEMA).with_columns(pl.col(floats).fill_nan(None)).sort(_SERIES)


def _last_common_step(presence: pl.DataFrame) -> int:
    n_models = presence["model"].n_unique()
    common = presence.group_by("step").agg(pl.col("model").n_unique()).filter(pl.col("model") == n_models)
    if common.is_empty():
        raise EmergenceError(
            "the model sizes have no training step in common",
            where=", ".join(sorted(presence["model"].unique())),
            remedy="Materialise the presence of at least one step for every size.",
        )
    return int(common.select(pl.col("step").max()).item())


def _curve(
    part: pl.DataFrame,
    p_m: NDArray[np.float64],
    replicates_mb: NDArray[np.float64],
    gain_m: NDArray[np.float64],
    gain_lo_m: NDArray[np.float64],
) -> dict[str, Any]:
    n_m = part["n_params_nonemb"].to_numpy()
    x_m = np.log10(n_m.astype(np.float64))
    n_sizes = len(np.unique(n_m))
    row: dict[str, Any] = {"n_sizes": n_sizes, "verdict": "insufficient"}
    names = ("rise", "slope_dec", "jump_share")
    row |= {f"{name}{side}": float("nan") for name in names for side in ("", "_lo", "_hi")}
    row |= {"n_lo": None, "n_hi": None}
    if n_sizes < 2:
        return row
    rise, (rise_lo, rise_hi) = p_m[-1] - p_m[0], interval(replicates_mb[-1] - replicates_mb[0])
    centred = x_m - x_m.mean()
    slope_m = centred / (centred @ centred)
    slope_lo, slope_hi = interval(slope_m @ replicates_mb)
    row |= {"rise": rise, "rise_lo": rise_lo, "rise_hi": rise_hi}
    row |= {"slope_dec": slope_m @ p_m, "slope_dec_lo": slope_lo, "slope_dec_hi": slope_hi}
    rises = rise >= MARGIN and rise_lo > 0
    is_threshold = False
    if rises:
        below, above = _bracket(part, (p_m.min() + p_m.max()) / 2)
        row |= {"n_lo": n_m[below] if below is not None else None, "n_hi": n_m[above] if above is not None else None}
        jump = int(np.diff(p_m).argmax())
        rise_b = replicates_mb[-1] - replicates_mb[0]
        share_b = np.divide(
            replicates_mb[jump + 1] - replicates_mb[jump], rise_b, out=np.full_like(rise_b, np.nan), where=rise_b > 0
        )
        share, (share_lo, share_hi) = (p_m[jump + 1] - p_m[jump]) / rise, interval(share_b)
        row |= {"jump_share": share, "jump_share_lo": share_lo, "jump_share_hi": share_hi}
        linear_share = (x_m[jump + 1] - x_m[jump]) / (x_m[-1] - x_m[0])
        is_threshold = bool(below == jump and above == jump + 1 and share >= 2 / 3 and share_lo > linear_share)
    if n_sizes < MIN_SIZES or not np.isfinite(gain_m).all():
        return row
    present_m = (gain_m >= MARGIN) & (gain_lo_m > 0)
    if not present_m.any():
        row["verdict"] = "absent"
    elif rises:
        row["verdict"] = "threshold" if is_threshold else "smooth"
    elif present_m[0]:
        row["verdict"] = "saturated"
    return row


def _bracket(part: pl.DataFrame, middle: float) -> tuple[int | None, int | None]:
    """Positions of the sizes that bracket the middle: the largest surely below it, the smallest larger one above."""
    lo, hi = part["p_best_lo"].to_numpy(), part["p_best_hi"].to_numpy()
    below = np.flatnonzero(hi < middle)
    last_below = int(below[-1]) if len(below) else -1
    above = np.flatnonzero((lo > middle) & (np.arange(len(lo)) > last_below))
    return (last_below if last_below >= 0 else None), (int(above[0]) if len(above) else None)
