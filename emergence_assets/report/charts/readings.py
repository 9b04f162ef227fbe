"""Tables of a report, and selections from them that charts and page share: models by size, means, best layers."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import polars as pl

from emergence_assets.emergence.presence.replicates import group_means, replicate_array
from emergence_assets.emergence.scale.table import MODEL_SEEDS
from emergence_assets.features.statistics.formulas import interval


@dataclass(frozen=True)
class ReportTables:
    """All tables that a report shows, under their names in the pipeline."""

    level: str
    """Label level that the report shows."""
    domains: Mapping[str, str]
    """Category to the larger group that contains it; may be empty."""
    headline: pl.DataFrame
    sae_metrics: pl.DataFrame
    category_presence: pl.DataFrame
    emergence_over_time: pl.DataFrame
    """`supported_histories`: a category has emerged if the claims support it."""
    emergence_hazard: pl.DataFrame
    emergence_over_space: pl.DataFrame
    emergence_over_scale: pl.DataFrame
    reactivation: pl.DataFrame
    reactivation_mechanism: pl.DataFrame
    category_controls: pl.DataFrame
    feature_use: pl.DataFrame
    cost_utility: pl.DataFrame
    claims: pl.DataFrame
    lineage_stability: pl.DataFrame
    checkpoint_registry: pl.DataFrame
    model_seeds: pl.DataFrame = field(default_factory=lambda: MODEL_SEEDS.schema.to_frame())
    """Empty for a family without replicates."""


def models_by_size(presence: pl.DataFrame) -> list[str]:
    """List model names, smallest first."""
    sizes = presence.group_by("model", maintain_order=True).agg(pl.col("n_params_nonemb").max())
    return sizes.sort("n_params_nonemb", "model")["model"].to_list()


def measured(presence: pl.DataFrame, level: str, control: str = "none") -> pl.DataFrame:
    """Select rows of one level and control, without the embedding, which is the same vector for every text."""
    return presence.filter(pl.col("layer") >= 0, category_level=level, control_id=control)


def complete_steps(rows: pl.DataFrame) -> pl.DataFrame:
    """Select the rows of the checkpoints that have all layers of their model.

    In an unfinished study, means over different layers at two steps would look like a change.
    """
    layers = rows.group_by("model", maintain_order=True).agg(n_all=pl.col("layer").n_unique())
    per_step = rows.group_by("model", "step", maintain_order=True).agg(n=pl.col("layer").n_unique())
    whole = per_step.join(layers, on="model").filter(pl.col("n") == pl.col("n_all"))
    return rows.join(whole, on=["model", "step"], how="semi")


def means_by_step(presence: pl.DataFrame, level: str) -> pl.DataFrame:
    """Average over categories and layers per model and step: p_best with lo and hi, p_random, p_dense, p_bow; sorted.

    The 95 % interval is that of the mean: replicate b of every category and layer weights the same texts.
    """
    rows = complete_steps(measured(presence, level)).sort("model", "step", "layer", "category")
    means = rows.group_by("model", "step", maintain_order=True).agg(
        pl.col("p_best", "p_random", "p_dense", "p_bow").cast(pl.Float64).mean(), n=pl.len()
    )
    if means.is_empty():
        return means.drop("n").with_columns(lo=pl.lit(None, pl.Float64), hi=pl.lit(None, pl.Float64))
    lo, hi = interval(group_means(replicate_array(rows), means["n"].to_numpy().astype(np.int64)))
    return means.drop("n").with_columns(pl.Series("lo", lo), pl.Series("hi", hi))


def shuffled_by_step(presence: pl.DataFrame, level: str) -> pl.DataFrame:
    """Average AUROC under shuffled labels per step, with the smallest and largest mean of one model and layer."""
    cells = measured(presence, level, "label_shuffle").group_by("model", "step", "layer", maintain_order=True)
    per_cell = cells.agg(pl.col("p_best").cast(pl.Float64).mean())
    return (
        per_cell.group_by("step", maintain_order=True)
        .agg(mean=pl.col("p_best").mean(), lo=pl.col("p_best").min(), hi=pl.col("p_best").max())
        .sort("step")
    )


def gains_by_layer(presence: pl.DataFrame, level: str) -> pl.DataFrame:
    """Average gain and net gain over all categories, per model, layer and step, the embedding included."""
    return (
        presence.filter(category_level=level, control_id="none")
        .group_by("model", "layer", "step", maintain_order=True)
        .agg(pl.col("gain", "net_gain").cast(pl.Float64).mean(), n_categories=pl.len())
        .drop_nulls("gain")
        .sort("model", "layer", "step")
    )


def gains_at_best_layer(presence: pl.DataFrame, level: str, model: str) -> pl.DataFrame:
    """Select gain and net gain per category and step at the category's own best layer, with their intervals.

    The best layer has the highest `p_select` at the last step. It is chosen on the other half of the texts, so that the
    choice does not bias the gain.
    """
    rows = measured(presence, level).filter(model=model)
    last = rows.filter(pl.col("step") == pl.col("step").max())
    best = last.sort(["p_select", "layer"], descending=[True, False]).unique("category", keep="first")
    return (
        rows.join(best.select("category", "layer"), on=["category", "layer"], how="semi")
        .select(
            *("category", "layer", "step", "p_best"),
            *(f"{name}{end}" for name in ("gain", "net_gain") for end in ("", "_lo", "_hi")),
        )
        .drop_nulls("gain")
        .sort("category", "step")
    )


def category_histories(time: pl.DataFrame, level: str, model: str) -> pl.DataFrame:
    """Select the single categories of `emergence_over_time` at the model's best layer, largest gain first."""
    rows = time.filter(model=model, category_level=level, layer_choice="best", control_id="none", aggregate="none")
    return rows.sort(["amp", "category"], descending=[True, False], nulls_last=True)


def size_row(scale: pl.DataFrame, level: str, control: str = "none") -> pl.DataFrame:
    """Select the mean over categories at equal tokens with dictionaries of equal size; no row or one row."""
    return mean_row(scale, level, control).filter(condition="equal_tokens", sae_design="fixed_width")


def size_points(scale: pl.DataFrame, level: str, control: str = "none") -> pl.DataFrame:
    """Select one row per model at equal tokens: the mean over categories at its best layer, with its controls."""
    row = size_row(scale, level, control)
    return row.select("p_bow", "size_points").explode("size_points").unnest("size_points")


def mean_row(table: pl.DataFrame, level: str, control: str = "none") -> pl.DataFrame:
    """Select the rows of the mean over the level's categories."""
    return table.filter(category_level=level, control_id=control, aggregate="mean")


def of_sizes(frame: pl.DataFrame, sizes: Sequence[str]) -> pl.DataFrame:
    """Select rows of the models that are sizes, and rows without a model; replicates have a table of their own.

    Args:
        frame: a table; returned unchanged if it has no column model.
        sizes: names of the models that are sizes.
    """
    return frame.filter(frame["model"].is_in(list(sizes)).fill_null(True)) if "model" in frame.columns else frame
