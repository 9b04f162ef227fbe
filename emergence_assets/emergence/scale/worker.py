"""Worker of `emergence_over_scale`: compare the model sizes of a family."""

from collections.abc import Sequence

import polars as pl

from emergence_assets.emergence.presence.replicates import on_common_texts
from emergence_assets.emergence.presence.table import CATEGORY_PRESENCE
from emergence_assets.emergence.scale.model_seeds import run_spread
from emergence_assets.emergence.scale.over_scale import (
    FIXED_EXPANSION,
    FIXED_WIDTH,
    SizeReading,
    emergence_over_scale,
)
from emergence_assets.plan.table_worker import Made

_CELL = ["model", "step", "layer"]


def compare_sizes(
    sae_metrics: pl.DataFrame,
    category_presence: pl.DataFrame,
    feature_counts: pl.DataFrame,
    sizes: Sequence[str],
    rule_id: str,
    expansion_presence: pl.DataFrame | None = None,
    model_seeds: pl.DataFrame | None = None,
) -> Made:
    """Make the rows of `emergence_over_scale`: presence over model sizes under every SAE design of the study.

    Args:
        sae_metrics: see `SAE_METRICS`; like the following tables, of all models.
        category_presence: see `CATEGORY_PRESENCE`.
        feature_counts: see `FEATURE_COUNTS`.
        sizes: models of the family without repeated training runs.
        rule_id: rule by which a latent counts as categorical.
        expansion_presence: None for a study without scaled dictionaries.
        model_seeds: None for a family in which no model was trained twice.
    """
    of_size = pl.col("model").is_in(sizes)
    is_real = (pl.col("control_id") == "none") & (pl.col("aggregate") == "none")
    named = [*_CELL, "category_level", "category", "n_passing"]
    readings = {
        FIXED_WIDTH: SizeReading(
            category_presence.filter(of_size),
            sae_metrics.filter(of_size)
            .group_by(_CELL, maintain_order=True)
            .agg(pl.col("n_latents").first(), pl.col("fvu", "l0").mean()),
            feature_counts.filter(of_size, is_real, pl.col("rule_id") == rule_id).select(named),
        )
    }
    if expansion_presence is not None:
        grown = expansion_presence.filter(of_size)
        readings[FIXED_EXPANSION] = SizeReading(
            grown.select(list(CATEGORY_PRESENCE.schema)),
            grown.group_by(_CELL, maintain_order=True).agg(pl.col("n_latents", "fvu", "l0").first()),
            grown.filter(pl.col("control_id") == "none").select(named),
        )
    measured = readings[FIXED_WIDTH].presence
    spread = None if model_seeds is None else run_spread(model_seeds)
    frame = emergence_over_scale(readings, spread)
    verdicts = frame.filter(pl.col("control_id") == "none")["verdict"].value_counts().sort("verdict")
    numbers = {
        "verdicts": ", ".join(f"{n} {verdict}" for verdict, n in verdicts.iter_rows()),
        "categories_on_unlike_texts": _n_categories(measured) - _n_categories(on_common_texts(measured)),
    }
    return Made(frame, numbers)


def _n_categories(presence: pl.DataFrame) -> int:
    return presence.select("category_level", "category").unique().height
