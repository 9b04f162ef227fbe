"""When a category emerges: onset, half-rise and stabilisation over the training steps of one model.

Here: simple estimators on the series of `p_best` over checkpoints, each with its margin, its bracketing checkpoints
and a censoring flag. Not here: model selection by AICc, hazards (a later module).

Steps are placed at x = log10(step + 1). Shape suffixes: s steps, b bootstrap replicates.
"""

from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from emergence_assets.emergence.replicates import (
    MARGIN,
    best_layers,
    interval,
    p_not_above_zero,
    replicate_array,
    with_category_mean,
)
from emergence_assets.emergence.schema import TIME_SCHEMA
from emergence_assets.features.statistics import benjamini_hochberg

_SERIES = ["model", "layer", "control_id", "aggregate", "category_level", "category"]
_FAMILY = ["model", "category_level", "layer_choice", "control_id", "aggregate"]


def emergence_over_time(presence: pl.DataFrame) -> pl.DataFrame:
    """One row per (model, layer_choice, layer, control, aggregate, level, category) with its history over steps.

    `layer_choice` "each": every layer; "best": again the row of the layer with the highest mean `p_select` at the
    model's last step. `aggregate` "mean": the series of the mean over the level's categories (category null).

    * base, p_end, amp: p_best at step 0, at the last checkpoint, and the difference.
    * onset_step: first checkpoint from which on gain >= 0.05 and its lower bound > 0 at this and every later one;
      n_confirming counts the later ones; the change lies in (grid_lo_step, grid_hi_step = onset_step].
    * half_step: where the series last rises through base + amp / 2, interpolated in x; its interval is at least the
      gap between the two checkpoints around it. rise_rate: slope there, AUROC per decade. Null without onset.
    * censor: "left" = the onset is at step 0 or 1 or before (base above 0.55 with its lower bound, or onset at step 1);
      "right" = no onset yet, or one that is still rising (slope of the last three checkpoints > 10 % of amp per decade,
      or no checkpoint after it); "none" = seen whole.
    * stabil_step: first checkpoint from which on p_best stays within 0.05 of p_end; null if only the last does.
    * p_value: of "no gain at the last checkpoint", q_emerged: Benjamini-Hochberg over the layers and categories of the
      model and level. emerged: an onset that at least one later checkpoint confirms, and q_emerged < 0.05.

    Rows with control_id "label_shuffle" hold the same numbers for permuted labels. Without step 0 everything that
    compares with it is null, `emerged` too. See `TIME_SCHEMA`.
    """
    if presence.is_empty():
        return pl.DataFrame(schema=TIME_SCHEMA)
    table = with_category_mean(presence).sort([*_SERIES, "step"])
    replicates_rb = replicate_array(table)
    rows: list[dict[str, Any]] = []
    for part in table.with_row_index("row").partition_by(_SERIES, maintain_order=True):
        first, last = part["row"][0], part["row"][-1]
        end = part.row(-1, named=True)
        rows.append(
            {
                **{key: end[key] for key in (*_SERIES, "n_params_nonemb", "n_layers", "rel_depth")},
                **_history(part["step"].to_numpy(), part["p_best"].to_numpy(), replicates_rb[first : last + 1], part),
                **{key: end[key] for key in ("p_bow", "p_dense")},
                "n_seeds": part["n_seeds"].min(),
            }
        )
    each = pl.DataFrame(rows, schema_overrides={k: v for k, v in TIME_SCHEMA.items() if k in rows[0]})
    shuffle = each.filter(pl.col("control_id") == "label_shuffle").select(
        *(key for key in _SERIES if key != "control_id"), p_shuffle=pl.col("p_end")
    )
    each = each.join(shuffle, on=[k for k in _SERIES if k != "control_id"], how="left", nulls_equal=True).with_columns(
        layer_choice=pl.lit("each"), metric=pl.lit("p_best"), n_boot=pl.lit(replicates_rb.shape[1])
    )
    last_step = presence.group_by("model").agg(pl.col("step").max())
    best_layer = best_layers(presence.join(last_step, on=["model", "step"], how="semi")).drop("step")
    best = each.join(best_layer, on=["model", "category_level", "layer"], how="semi")
    both = pl.concat([each, best.with_columns(layer_choice=pl.lit("best"))])
    tested = [
        family.with_columns(q_emerged=_q_values(family["p_value"]))
        for family in both.partition_by(_FAMILY, maintain_order=True)
    ]
    return (
        pl.concat(tested)
        .with_columns(
            emerged=pl.when(pl.col("base").is_not_null()).then(
                (pl.col("n_confirming").fill_null(0) > 0) & (pl.col("q_emerged").fill_null(1.0) < 0.05)
            )
        )
        .select(pl.col(name).cast(dtype) for name, dtype in TIME_SCHEMA.items())
        .sort(["model", "layer_choice", *_SERIES[1:]])
    )


def _history(
    step_s: NDArray[np.integer], p_s: NDArray[np.floating], replicates_sb: NDArray[np.float64], part: pl.DataFrame
) -> dict[str, Any]:
    p_s = p_s.astype(np.float64)
    x_s = np.log10(step_s + 1.0)
    end_lo, end_hi = interval(replicates_sb[-1])
    row: dict[str, Any] = {
        "n_steps": len(step_s),
        "step_last": step_s[-1],
        "p_end": p_s[-1],
        "p_end_lo": _or_none(end_lo),
        "p_end_hi": _or_none(end_hi),
        "stabil_step": _stabilisation(step_s, p_s),
    }
    unknown = ("base", "amp", "rise_rate", "half_step")
    row |= {f"{name}{side}": None for name in unknown for side in ("", "_lo", "_hi")}
    row |= dict.fromkeys(("onset_step", "onset_tokens", "n_confirming", "grid_lo_step", "grid_hi_step"))
    row |= dict.fromkeys(("censor", "p_value", "p_step0"))
    if step_s[0] != 0:
        return row

    gain_s, gain_sb = p_s - p_s[0], replicates_sb - replicates_sb[0]
    gain_lo_s, gain_hi_s = interval(gain_sb)
    base_lo, base_hi = interval(replicates_sb[0])
    row |= {"base": p_s[0], "base_lo": _or_none(base_lo), "base_hi": _or_none(base_hi), "p_step0": p_s[0]}
    if len(step_s) > 1:
        row |= {"amp": gain_s[-1], "amp_lo": _or_none(gain_lo_s[-1]), "amp_hi": _or_none(gain_hi_s[-1])}
        row["p_value"] = _or_none(p_not_above_zero(gain_s[-1], gain_sb[-1]))
    holds = (gain_s >= MARGIN) & (gain_lo_s > 0)
    lasting = np.flatnonzero(np.logical_and.accumulate(holds[::-1])[::-1])
    if not len(lasting):
        row["censor"] = "left" if base_lo > 0.5 + MARGIN else "right"
        return row
    onset = int(lasting[0])
    row |= {
        "onset_step": step_s[onset],
        "onset_tokens": part["tokens_seen"][onset],
        "n_confirming": len(step_s) - 1 - onset,
        "grid_lo_step": step_s[onset - 1],
        "grid_hi_step": step_s[onset],
        "censor": _censoring(step_s, x_s, p_s, onset),
    }
    return row | _half_rise(step_s, x_s, p_s, replicates_sb)


def _half_rise(
    step_s: NDArray[np.integer], x_s: NDArray[np.float64], p_s: NDArray[np.float64], replicates_sb: NDArray[np.float64]
) -> dict[str, Any]:
    """Where the series last rises through half of its amplitude, and how steeply."""
    x, before = _last_crossing(x_s, p_s[:, None])
    x_b, _ = _last_crossing(x_s, replicates_sb)
    i = int(before[0])
    lo, hi = interval(10**x_b - 1)
    width = x_s[i + 1] - x_s[i]
    rate_lo, rate_hi = interval((replicates_sb[i + 1] - replicates_sb[i]) / width)
    return {
        "half_step": 10 ** x[0] - 1,
        # fmin, fmax ignore NaN: when the replicates say nothing the checkpoints around it are the interval
        "half_step_lo": np.fmin(lo, step_s[i]),
        "half_step_hi": np.fmax(hi, step_s[i + 1]),
        "rise_rate": (p_s[i + 1] - p_s[i]) / width,
        "rise_rate_lo": _or_none(rate_lo),
        "rise_rate_hi": _or_none(rate_hi),
    }


def _last_crossing(x_s: NDArray[np.float64], p_sb: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.intp]]:
    """X of the last rise through the middle of first and last value, and the checkpoint before it; NaN if no rise."""
    middle_b = (p_sb[0] + p_sb[-1]) / 2
    rises_b = p_sb[-1] > p_sb[0]
    # With a rise the first value is below the middle and the last is not, so there is a last one below.
    below_sb = p_sb[:-1] < middle_b
    before_b = len(below_sb) - 1 - below_sb[::-1].argmax(axis=0)
    columns = np.arange(p_sb.shape[1])
    lower, upper = p_sb[before_b, columns], p_sb[before_b + 1, columns]
    step = np.where(rises_b, upper - lower, 1.0)
    x = x_s[before_b] + (middle_b - lower) / step * (x_s[before_b + 1] - x_s[before_b])
    return np.where(rises_b, x, np.nan), before_b


def _censoring(step_s: NDArray[np.integer], x_s: NDArray[np.float64], p_s: NDArray[np.float64], onset: int) -> str:
    if step_s[onset] <= 1:
        return "left"
    if onset == len(step_s) - 1:
        return "right"
    slope = np.polyfit(x_s[-3:], p_s[-3:], 1)[0]
    return "right" if slope > 0.1 * (p_s[-1] - p_s[0]) else "none"


def _stabilisation(step_s: NDArray[np.integer], p_s: NDArray[np.float64]) -> int | None:
    near = np.abs(p_s - p_s[-1]) <= MARGIN
    first = int(np.flatnonzero(np.logical_and.accumulate(near[::-1])[::-1])[0])
    return int(step_s[first]) if first < len(step_s) - 1 else None


def _q_values(p_value: pl.Series) -> pl.Series:
    tested = p_value.is_not_null().to_numpy()
    q = np.full(len(p_value), np.nan)
    q[tested] = benjamini_hochberg(p_value.drop_nulls().to_numpy())
    return pl.Series("q_emerged", q).fill_nan(None)


def _or_none(value: float | NDArray[np.float64]) -> float | None:
    return float(value) if np.isfinite(value) else None
