"""Differences between training runs of one model: presence, gain and half-rise step of every run, and their spread.

Shape suffix: r rows, b bootstrap replicates.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from emergence_assets.emergence.presence.replicates import (
    best_layers,
    replicate_array,
    require_same_texts,
    with_category_mean,
    with_step0,
)
from emergence_assets.emergence.scale.table import MODEL_RUN, MODEL_SEEDS
from emergence_assets.features.statistics.formulas import estimate

_CATEGORY = ("control_id", "aggregate", "category_level", "category")


def model_seeds(
    category_presence: pl.DataFrame, emergence_over_time: pl.DataFrame, replicates: Mapping[str, str]
) -> pl.DataFrame:
    """Return one row per (model, control, aggregate, level, category) that compares the training runs of the model.

    Runs are read at the last step common to all runs, each at its best layer (highest mean `p_select`).

    * p_mean, gain_mean, p_sd, gain_sd: mean and standard deviation over runs of p_best and of the gain over step 0.
    * gain_text_sd: standard deviation of a run's gain over bootstrap replicates, root mean square over runs. It is the
      contribution of the choice of texts. Runs share the texts, so gain_sd does not contain it.
    * half_step_sd_dex: standard deviation of log10(half_step + 1), in log10 units (decades), over the runs with a
      half-rise step; null below two runs.
    * signs_agree: the gains of all runs have one sign; n_confirmed: runs whose gain has an interval without 0.

    Args:
        category_presence: see `CATEGORY_PRESENCE`, of all models.
        emergence_over_time: see `EMERGENCE_OVER_TIME`, of all models.
        replicates: original model by the name of each of its further training runs.
    """
    parts = [
        _runs_of(
            category_presence,
            emergence_over_time,
            original,
            [original, *(run for run, of in replicates.items() if of == original)],
        )
        for original in dict.fromkeys(replicates.values())
    ]
    return pl.concat([MODEL_SEEDS.schema.to_frame(), *parts]).sort("model", *_CATEGORY)


def run_spread(table: pl.DataFrame) -> dict[tuple[str, str], float]:
    """Return the standard deviation of p_best between runs by (category level, aggregate).

    It is pooled over categories and models.

    Args:
        table: see `MODEL_SEEDS`.
    """
    pooled = (
        table.filter(pl.col("control_id") == "none", pl.col("n_runs") > 1)
        .group_by("category_level", "aggregate", maintain_order=True)
        .agg(sd=((pl.col("p_sd") ** 2 * (pl.col("n_runs") - 1)).sum() / (pl.col("n_runs") - 1).sum()).sqrt())
    )
    return {(level, aggregate): sd for level, aggregate, sd in pooled.iter_rows()}


def _runs_of(presence: pl.DataFrame, over_time: pl.DataFrame, original: str, runs: list[str]) -> pl.DataFrame:
    own = presence.filter(pl.col("model").is_in(runs), pl.col("layer") >= 0)
    require_same_texts(own)
    if own.is_empty():
        return MODEL_SEEDS.schema.to_frame()
    step = own.group_by("model", maintain_order=True).agg(pl.col("step").max()).select(pl.col("step").min()).item()
    table = with_category_mean(own.filter(pl.col("step").is_in([0, step])))
    replicates_rb = replicate_array(table)
    p_best, p_step0, step0_rb = with_step0(table, ("model", "layer", *_CATEGORY), replicates_rb)
    gain_rb = replicates_rb - step0_rb
    gains = estimate("gain", p_best - p_step0, gain_rb) | {"text_variance": _variance(gain_rb)}
    best = over_time.filter(pl.col("layer_choice") == "best", pl.col("metric") == "p_best")
    half_steps = best.select("model", *_CATEGORY, "half_step")
    values = (
        table.with_columns(*pl.DataFrame(gains, nan_to_null=True))
        .join(best_layers(own.filter(pl.col("step") == step)), on=["model", "step", "category_level", "layer"])
        .join(half_steps, on=["model", *_CATEGORY], how="left", nulls_equal=True)
        .sort(pl.col("model").cast(pl.Enum(runs)))
    )
    run: list[Any] = [pl.col(name).cast(dtype) for name, dtype in MODEL_RUN.to_schema().items()]
    return (
        values.group_by(_CATEGORY, maintain_order=True)
        .agg(
            pl.col("n_params_nonemb").first(),
            n_runs=pl.len(),
            p_mean=pl.col("p_best").mean(),
            p_sd=pl.col("p_best").std(),
            gain_mean=pl.col("gain").mean(),
            gain_sd=pl.col("gain").std(),
            gain_text_sd=pl.col("text_variance").mean().sqrt(),
            half_step_sd_dex=(pl.col("half_step") + 1).log10().std(),
            signs_agree=pl.col("gain").sign().n_unique() == 1,
            n_confirmed=((pl.col("gain_lo") > 0) | (pl.col("gain_hi") < 0)).sum(),
            runs=pl.struct(run),
        )
        .with_columns(
            model=pl.lit(original),
            step=pl.lit(step),
            n_boot=pl.lit(replicates_rb.shape[1]),
            signs_agree=pl.when(pl.col("gain_mean").is_not_null()).then("signs_agree"),
        )
        .select(pl.col(name).cast(dtype) for name, dtype in MODEL_SEEDS.schema.items())
    )


def _variance(values_rb: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the variance of each row over its defined replicates; NaN if none is defined."""
    defined_rb = np.isfinite(values_rb)
    known_r = defined_rb.any(axis=1)
    found_r = np.full(len(values_rb), np.nan)
    found_r[known_r] = values_rb[known_r].var(axis=1, where=defined_rb[known_r])
    return found_r
