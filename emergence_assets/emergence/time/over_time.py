"""Emergence over training: rises in the series of presence over the steps of each model.

Shape suffixes: r series, s steps, b bootstrap replicates, q SAE seeds.
"""

from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from emergence_assets.emergence.presence.net import net_presence
from emergence_assets.emergence.presence.replicates import (
    MARGIN,
    best_layers,
    replicate_array,
    seed_array,
    with_category_mean,
)
from emergence_assets.emergence.time.rises import Series, has_risen, is_dated, read_rises
from emergence_assets.emergence.time.table import EMERGENCE_OVER_TIME
from emergence_assets.features.statistics.formulas import benjamini_hochberg, estimate

_SERIES = ["model", "layer", "control_id", "aggregate", "category_level", "category"]
_FAMILY = ["model", "category_level", "layer_choice", "control_id", "aggregate", "metric"]
_SERIES_AT_ONCE = 512
CHANCE = {"p_best": 0.5, "net": 0.0}
"""Value of a category without any feature, by metric."""
MARGINS = {"p_best": MARGIN, "net": 0.0}
"""Smallest rise that counts, by metric. Net presence has none: a margin is asked of the rise that it is a part of."""
_CRITERIA_ONLY = ("fit_amp_sigmoid", "grid_hi")
"""Columns needed for the criteria and then dropped."""


def emergence_over_time(category_presence: pl.DataFrame) -> pl.DataFrame:
    """Return one row per series of presence over the steps of a model: its rise.

    A series is one (model, layer_choice, layer, control, aggregate, level, category, metric).

    `metric` "p_best": presence, also under permuted labels and in random encoders. "net": net presence of the
    measurement; then base, p_end and the like are differences of AUROC.

    `layer_choice` "each": every layer; "best": a second row for the layer with the highest mean `p_select` at the
    model's last step. `aggregate` "mean": the series of the mean over the level's categories (category null).

    * base, p_end, amp: value at step 0, value at the last checkpoint, and their difference.
    * late, late_gain, best_model, d_aicc, fitted columns, half_step_interp, changepoint_step: see `rises.read_rises`.
    * half_tokens: training tokens at the half-rise step, by interpolation between checkpoints. half_flops: 6 N D with N
      non-embedding parameters and D half_tokens.
    * censor: "left": present before training, that is, no rise and a lower bound of base above 0.55 (0.05 for net
      presence), or half of the rise before step 1. "right": no rise yet, or an incomplete rise (slope of the last three
      checkpoints above a tenth of the rise per decade, or half of the rise after the last checkpoint but one). "none":
      complete rise.
    * stabil_step: first checkpoint from which p_best stays within 0.05 of p_end; null if only the last does.
    * p_value: of "the mean of the last three checkpoints is not above step 0". q_emerged: Benjamini-Hochberg over the
      layers and categories of the model and level. passes_gate: whether it has risen (`rises.has_risen`). is_dated:
      whether its half-rise step may be stated, too (`rises.is_dated`).

    Rows with control_id "label_shuffle" have the same numbers for permuted labels. Without step 0 all columns that
    compare with it are null, including `passes_gate` and `is_dated`. See `EMERGENCE_OVER_TIME`.
    """
    if category_presence.is_empty():
        return EMERGENCE_OVER_TIME.schema.to_frame()
    frames = []
    for metric, presence in (("p_best", category_presence), ("net", net_presence(category_presence))):
        series = _each_series(with_category_mean(presence).sort([*_SERIES, "step"]), CHANCE[metric])
        frames.append(series.with_columns(metric=pl.lit(metric)))
    each = pl.concat(frames, how="vertical_relaxed")
    shuffle = each.filter(pl.col("control_id") == "label_shuffle").select(
        *(key for key in _SERIES if key != "control_id"), p_shuffle=pl.col("p_end")
    )
    each = each.join(shuffle, on=[k for k in _SERIES if k != "control_id"], how="left", nulls_equal=True).with_columns(
        layer_choice=pl.lit("each")
    )
    last_step = category_presence.group_by("model", maintain_order=True).agg(pl.col("step").max())
    best_layer = best_layers(category_presence.join(last_step, on=["model", "step"], how="semi")).drop("step")
    best = each.join(best_layer, on=["model", "category_level", "layer"], how="semi")
    both = pl.concat([each, best.with_columns(layer_choice=pl.lit("best"))])
    tested = [_with_criteria(family) for family in both.partition_by(_FAMILY, maintain_order=True)]
    return (
        pl.concat(tested)
        .select(pl.col(name).cast(dtype) for name, dtype in EMERGENCE_OVER_TIME.schema.items())
        .sort(["model", "layer_choice", *_SERIES[1:], "metric"])
    )


def _each_series(table: pl.DataFrame, chance: float) -> pl.DataFrame:
    """Return one row per series; series with the same checkpoints are fitted together."""
    replicates_rb, seeds_rq = replicate_array(table), seed_array(table)
    value_r = table["p_best"].to_numpy().astype(np.float64)
    series = (
        table.with_row_index("row")
        .group_by(_SERIES, maintain_order=True)
        .agg(
            pl.col("row", "step", "tokens_seen"),
            pl.col("n_params_nonemb", "n_layers", "rel_depth", "p_bow", "p_dense").last(),
            pl.col("n_seeds").min(),
        )
    )
    # A series without step 0 or without later checkpoints lacks columns: they are null.
    every = EMERGENCE_OVER_TIME.schema_without("p_shuffle") | dict.fromkeys(_CRITERIA_ONLY, pl.Float64)
    parts = [pl.DataFrame(schema=every)]
    for alike in series.partition_by("step", maintain_order=True):
        for start in range(0, alike.height, _SERIES_AT_ONCE):
            some = alike.slice(start, _SERIES_AT_ONCE)
            rows_rs = np.array(some["row"].to_list())
            one = Series(
                np.array(some["step"][0].to_list()), value_r[rows_rs], replicates_rb[rows_rs], seeds_rq[rows_rs]
            )
            tokens_rs = np.array(some["tokens_seen"].to_list())
            read = _histories(one, tokens_rs, some["n_params_nonemb"].to_numpy(), chance)
            frame = pl.DataFrame(read, nan_to_null=True)
            parts.append(pl.concat([some.drop("row", "step", "tokens_seen"), frame], how="horizontal"))
    return pl.concat(parts, how="diagonal_relaxed").with_columns(n_boot=pl.lit(replicates_rb.shape[1]))


def _histories(
    series: Series, tokens_rs: NDArray[np.integer], n_params_r: NDArray[np.integer], chance: float
) -> dict[str, Any]:
    """Return the columns of series with the same checkpoints."""
    step_s, value_rs = series.step_s, series.value_rs
    n = len(value_rs)
    columns: dict[str, Any] = {
        "n_steps": np.full(n, len(step_s)),
        "step_last": np.full(n, step_s[-1]),
        **estimate("p_end", value_rs[:, -1], series.replicates_rsb[:, -1]),
        "stabil_step": _steps(step_s, _stabilisation(value_rs)),
    }
    if step_s[0] != 0:
        return columns
    columns |= estimate("base", value_rs[:, 0], series.replicates_rsb[:, 0])
    above_chance = columns["base_lo"] > chance + MARGIN
    if len(step_s) == 1:
        return columns | {"censor": _strings(np.where(above_chance, "left", "right"))}
    read = read_rises(series)
    rise_rb = series.replicates_rsb[:, -1] - series.replicates_rsb[:, 0]
    columns |= estimate("amp", value_rs[:, -1] - value_rs[:, 0], rise_rb)
    half_tokens = np.array(
        [np.interp(half, step_s, tokens) for half, tokens in zip(read["half_step"], tokens_rs, strict=True)]
    )
    columns |= {
        "half_tokens": pl.Series(half_tokens).fill_nan(None).round().cast(pl.Int64),
        "half_flops": 6.0 * n_params_r * half_tokens,
        "grid_lo_step": _steps(step_s, read["grid_lo"]),
        "grid_hi_step": _steps(step_s, read["grid_hi"]),
        "changepoint_step": _steps(step_s, read["changepoint"]),
        "censor": _strings(_censoring(series, read, above_chance)),
    }
    kept = {*EMERGENCE_OVER_TIME.schema, *_CRITERIA_ONLY}
    return columns | {
        name: _strings(value) if value.dtype.kind == "U" else value for name, value in read.items() if name in kept
    }


def _with_criteria(family: pl.DataFrame) -> pl.DataFrame:
    """Add q_emerged, passes_gate and is_dated to rows that are tested together."""
    p_value = family["p_value"].cast(pl.Float64).to_numpy()
    q = benjamini_hochberg(p_value)
    names = ("late_gain", "late_gain_lo", "n_seeds_agree", *_CRITERIA_ONLY, "half_step_lo", "half_step_hi")
    measured = {name: family[name].cast(pl.Float64).fill_null(float("nan")).to_numpy() for name in names}
    n_seeds, n_steps = (family[name].to_numpy().astype(np.int64) for name in ("n_seeds", "n_steps"))
    margin = MARGINS[family["metric"][0]]
    passes = has_risen(measured, q, n_seeds, margin)
    dated = passes & is_dated(measured, n_steps, margin)
    known = pl.when(pl.col("base").is_not_null())
    return family.with_columns(
        q_emerged=pl.Series(q).fill_nan(None),
        passes_gate=known.then(pl.Series(passes)),
        is_dated=known.then(pl.Series(dated)),
    )


def _censoring(series: Series, read: dict[str, NDArray], above_chance_r: NDArray[np.bool_]) -> NDArray[np.str_]:
    """Return the column censor; see `emergence_over_time`."""
    x_s, step_s = np.log10(series.step_s + 1.0), series.step_s
    late_x = x_s[-3:] - x_s[-3:].mean()
    slope_r = series.value_rs[:, -3:] @ late_x / (late_x @ late_x)
    rising, after = read["is_rising"], read["grid_hi"]
    with np.errstate(invalid="ignore"):
        unfinished = (slope_r > 0.1 * read["fit_amp"]) | (after == len(step_s) - 1)
    started = np.where(rising, step_s[after] <= 1, above_chance_r)
    return np.where(started, "left", np.where(rising & ~unfinished, "none", "right"))


def _stabilisation(value_rs: NDArray[np.float64]) -> NDArray[np.intp]:
    """Return the position of the first checkpoint from which a series stays near its end; -1 if only the last does."""
    near = np.abs(value_rs - value_rs[:, -1:]) <= MARGIN
    first = np.logical_and.accumulate(near[:, ::-1], axis=1)[:, ::-1].argmax(axis=1)
    return np.where(first < value_rs.shape[1] - 1, first, -1)


def _steps(step_s: NDArray[np.integer], position_r: NDArray[np.integer]) -> pl.Series:
    """Return the steps at positions; null at -1."""
    known = position_r >= 0
    return pl.Series(np.where(known, step_s[position_r], -1), dtype=pl.Int32).set(pl.Series(~known), None)


def _strings(values: NDArray[np.str_]) -> pl.Series:
    """Convert numpy strings to a String series."""
    return pl.Series(values.tolist(), dtype=pl.String)
