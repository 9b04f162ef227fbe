"""Presence of categories against model size (non-embedding parameters), under two SAE designs.

Shape suffixes: m models (sizes), b bootstrap replicates.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import polars as pl
import polars.selectors as cs

from emergence_assets.emergence.presence.headline import STRONG
from emergence_assets.emergence.presence.replicates import (
    best_layers,
    on_common_texts,
    replicate_array,
    require_same_texts,
    with_category_mean,
    with_step0,
)
from emergence_assets.emergence.scale.size_conditions import chosen_steps
from emergence_assets.emergence.scale.size_curves import RUN_SD, size_curve
from emergence_assets.emergence.scale.table import EMERGENCE_OVER_SCALE, SIZE_POINT

FIXED_WIDTH, FIXED_EXPANSION = "fixed_width", "fixed_expansion"
_SERIES = ["control_id", "aggregate", "category_level", "category"]
_KEY = ["condition", "sae_design", *_SERIES]
_CELL = ["model", "step", "layer"]
_PLACE: dict[str, Any] = {"model": pl.String, "step": pl.Int32, "layer": pl.Int16}
_DICTIONARIES = _PLACE | {"n_latents": pl.Int32, "fvu": pl.Float32, "l0": pl.Float32}
_COUNTS = _PLACE | {"category_level": pl.String, "category": pl.String, "n_passing": pl.Float32}


@dataclass(frozen=True)
class SizeReading:
    """Presence of all model sizes under one SAE design, with FVU, L0 and counts of its dictionaries."""

    presence: pl.DataFrame
    """See `CATEGORY_PRESENCE`; step 0 and the compared steps."""
    dictionaries: pl.DataFrame = field(default_factory=lambda: pl.DataFrame(schema=_DICTIONARIES))
    """Columns model, step, layer, n_latents, fvu, l0: means over SAE seeds."""
    counts: pl.DataFrame = field(default_factory=lambda: pl.DataFrame(schema=_COUNTS))
    """Columns model, step, layer, category_level, category, n_passing: categorical latents, mean over SAE seeds."""


def emergence_over_scale(
    readings: Mapping[str, SizeReading], run_sd: Mapping[tuple[str, str], float] | None = None
) -> pl.DataFrame:
    """Return one row per (condition, SAE design, control, aggregate, level, category) over the model sizes.

    Each model is read at the checkpoint chosen by the condition, at its best layer there (highest mean `p_select` of
    the level). Numbers and criteria are those of `size_curves.size_curve`. The score is p_best. The count is the number
    of categorical latents of a category; for a mean it is the number of categories with p_best >= 0.75; controls have
    no count. `shape` is the shape under this design alone. `verdict` equals `shape` if the other design has the same
    checkpoints and the same shape, and is "insufficient" otherwise.

    Args:
        readings: readings by SAE design; `fixed_width` decides the checkpoints. A design that lacks a checkpoint of a
            condition has no row for this condition.
        run_sd: standard deviation between training runs by (category level, aggregate), see `model_seeds.run_spread`;
            `size_curves.RUN_SD` for missing entries.

    Raises:
        EmergenceError: cells of a size were measured on different texts.
    """
    first = readings[FIXED_WIDTH].presence.filter(pl.col("layer") >= 0)
    if first.is_empty():
        return EMERGENCE_OVER_SCALE.schema.to_frame()
    chosen = chosen_steps(first)
    frames = []
    for design, reading in readings.items():
        known: dict[tuple[Any, ...], pl.DataFrame] = {}
        for condition in chosen.partition_by("condition", maintain_order=True):
            steps = tuple(condition.select("model", "step").rows())
            if steps not in known:
                known[steps] = _of_design(reading, condition, run_sd or {})
            frames.append(
                known[steps].with_columns(
                    condition=pl.lit(condition["condition"][0]),
                    sae_design=pl.lit(design),
                    mismatch_dex=pl.lit(condition["mismatch_dex"].max()),
                )
            )
    table = pl.concat(frame for frame in frames if not frame.is_empty())
    agrees = (pl.len().over(*_KEY[:1], *_SERIES) > 1) & (pl.col("shape").n_unique().over(*_KEY[:1], *_SERIES) == 1)
    return (
        table.with_columns(verdict=pl.when(agrees).then("shape").otherwise(pl.lit("insufficient")))
        .select(pl.col(name).cast(dtype) for name, dtype in EMERGENCE_OVER_SCALE.schema.items())
        .with_columns(cs.float().fill_nan(None))
        .sort(_KEY)
    )


def _of_design(reading: SizeReading, chosen: pl.DataFrame, run_sd: Mapping[tuple[str, str], float]) -> pl.DataFrame:
    """Return the rows of one design at one checkpoint per model; empty if a checkpoint is missing."""
    blocks = on_common_texts(reading.presence.filter(pl.col("layer") >= 0))
    at = blocks.join(chosen, on=["model", "step"], how="semi")
    if at["model"].n_unique() < chosen.height:
        return pl.DataFrame()
    # Step 0 is kept for the gain at the chosen layer.
    table = with_category_mean(
        pl.concat([at, blocks.filter(pl.col("step") == 0).join(at, on=["model", "step"], how="anti")])
    )
    require_same_texts(at)
    replicates_rb = replicate_array(table)
    p_best, p_step0, step0_rb = with_step0(table, ("model", "layer", *_SERIES), replicates_rb)
    read = (
        table.with_row_index("row")
        .with_columns(p_step0=pl.Series(p_step0).fill_nan(None))
        .join(best_layers(at), on=["model", "step", "category_level", "layer"], how="semi")
        .join(_counted(at, reading.counts), on=[*_CELL, *_SERIES], how="left", nulls_equal=True)
        .join(reading.dictionaries, on=_CELL, how="left")
        .sort([*_SERIES, "n_params_nonemb", "model"])
    )
    points: list[Any] = [
        pl.col({"lo": "p_best_lo", "hi": "p_best_hi"}.get(name, name)).cast(dtype).alias(name)
        for name, dtype in SIZE_POINT.to_schema().items()
    ]
    rows: list[dict[str, Any]] = []
    for part in read.partition_by(_SERIES, maintain_order=True):
        own = part["row"].to_numpy()
        one = part.row(0, named=True)
        sd = run_sd.get((one["category_level"], one["aggregate"]), RUN_SD[one["aggregate"]])
        counts = part["n_count"]
        curve = size_curve(
            part["n_params_nonemb"].to_numpy(),
            p_best[own],
            replicates_rb[own],
            p_best[own] - p_step0[own],
            replicates_rb[own] - step0_rb[own],
            None if counts.null_count() else counts.to_numpy().astype(np.float64),
            sd,
        )
        rows.append(
            {
                **{key: one[key] for key in _SERIES},
                **curve,
                "p_bow": one["p_bow"],
                "run_sd": sd,
                "n_seeds": part["n_seeds"].min(),
                "n_boot": replicates_rb.shape[1],
                "size_points": part.select(points).to_dicts(),
            }
        )
    elsewhere = ("condition", "sae_design", "mismatch_dex", "verdict")
    return pl.DataFrame(
        rows, schema={name: dtype for name, dtype in EMERGENCE_OVER_SCALE.schema.items() if name not in elsewhere}
    )


def _counted(at: pl.DataFrame, counts: pl.DataFrame) -> pl.DataFrame:
    """Return n_count by cell and series: categorical latents of a category, strongly present categories of a mean."""
    group = [*_CELL, "category_level"]
    single = counts.select(
        *_CELL,
        "category_level",
        "category",
        control_id=pl.lit("none"),
        aggregate=pl.lit("none"),
        n_count=pl.col("n_passing").cast(pl.Float64),
    )
    mean = (
        at.filter(pl.col("control_id") == "none")
        .group_by(group, maintain_order=True)
        .agg(n_count=(pl.col("p_best") >= STRONG).sum().cast(pl.Float64))
        .with_columns(category=pl.lit(None, dtype=pl.String), control_id=pl.lit("none"), aggregate=pl.lit("mean"))
    )
    return pl.concat([single, mean.select(single.columns)])
