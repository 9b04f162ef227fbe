"""Counts of categorical latents over training and layers, compared with permuted labels and with step 0.

Counts depend on dictionary size, sparsity, dead latents and the number of texts. They are therefore secondary to
presence.
"""

import polars as pl

from emergence_assets.emergence.categorical_latents.table import FEATURE_COUNTS
from emergence_assets.emergence.presence.net import RANDOM
from emergence_assets.emergence.presence.replicates import CELL_KEYS

_GROUP = ("rule_id", "control_id", "aggregate", "category_level", "category")
_COUNTS = ("n_features", "n_passing")


def feature_counts(rule_counts: pl.DataFrame) -> pl.DataFrame:
    """Return one row per (model, step, layer, rule, control, level, category), and sums over each level.

    Sums have `aggregate` "sum"; a latent counts once in a sum.

    * n_features: latents assigned to the category, mean over SAE seeds. n_shuffle: n_features under permuted labels.
      n_random: n_features of random encoders, mean over as many draws.
    * n_excess: n_features minus that of step 0 of the same model, layer, rule and control; null without step 0.
    * per_1k_live: 1000 n_features / n_live.

    Args:
        rule_counts: rows of `features.rule_counts.rule_counts` with the key columns, sae_seed and data_version.
    """
    if rule_counts.is_empty():
        return FEATURE_COUNTS.schema.to_frame()
    one = [*CELL_KEYS, *(key for key in _GROUP if key != "aggregate")]
    each = (
        rule_counts.group_by(one, maintain_order=True)
        .agg(pl.col(*_COUNTS, "n_live").mean(), pl.col("data_version").first(), n_seeds=pl.len())
        .with_columns(aggregate=pl.lit("none"))
    )
    summed = (
        each.group_by([key for key in one if key != "category"], maintain_order=True)
        .agg(pl.col(*_COUNTS).sum(), pl.col("n_live", "data_version", "n_seeds").first())
        .with_columns(aggregate=pl.lit("sum"), category=pl.lit(None, dtype=pl.String))
    )
    table = pl.concat([each, summed.select(each.columns)])
    at = ["model", "layer", *_GROUP]
    step0 = table.filter(pl.col("step") == 0).select(*at, n_step0=pl.col("n_features"))
    table = table.join(step0, on=at, how="left", nulls_equal=True, validate="m:1")
    here = [key for key in [*at, "step"] if key != "control_id"]
    for name, control_id in (("n_shuffle", "label_shuffle"), ("n_random", RANDOM)):
        control = table.filter(pl.col("control_id") == control_id).select(*here, pl.col("n_features").alias(name))
        table = table.join(control, on=here, how="left", nulls_equal=True, validate="m:1")
    return (
        table.with_columns(
            n_excess=pl.col("n_features") - pl.col("n_step0"),
            per_1k_live=1000 * pl.col("n_features") / pl.col("n_live").clip(lower_bound=1),
        )
        .select(pl.col(name).cast(dtype) for name, dtype in FEATURE_COUNTS.schema.items())
        .sort("model", "step", "layer", *_GROUP)
    )
