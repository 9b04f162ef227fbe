"""Checkpoint at which each model size is compared: the last one, or at equal tokens or equal compute."""

import numpy as np
import polars as pl

from emergence_assets.emergence.cost.utility import FLOPS_PER_PARAMETER_AND_TOKEN


def chosen_steps(checkpoints: pl.DataFrame) -> pl.DataFrame:
    """Choose one checkpoint per model size and condition.

    * final_step: the last checkpoint of each size.
    * equal_tokens, equal_flops: the checkpoint after step 0 nearest, in log10, to the smallest final value of all sizes
      (tokens seen, or training FLOPs).

    The matched conditions are left out if a size has no checkpoint after step 0.

    Args:
        checkpoints: columns model, n_params_nonemb, step, tokens_seen, of the models to compare.

    Returns:
        Columns condition, model, step, tokens_seen, mismatch_dex. mismatch_dex is the distance from the condition in
        log10 units (decades); 0 for final_step.
    """
    known = checkpoints.select("model", "n_params_nonemb", "step", "tokens_seen").unique().sort("model", "step")
    last = known.group_by("model", maintain_order=True).last()
    final = last.with_columns(condition=pl.lit("final_step"), mismatch_dex=pl.lit(0.0))
    parts = [final]
    trained = known.filter(pl.col("tokens_seen") > 0)
    if trained["model"].n_unique() == known["model"].n_unique():
        tokens = pl.col("tokens_seen").cast(pl.Float64)
        flops = FLOPS_PER_PARAMETER_AND_TOKEN * tokens * pl.col("n_params_nonemb")
        for condition, spent in (("equal_tokens", tokens), ("equal_flops", flops)):
            target = np.log10(
                trained.group_by("model", maintain_order=True).agg(spent.max().alias("most"))["most"].to_numpy().min()
            )
            parts.append(
                trained.with_columns(condition=pl.lit(condition), mismatch_dex=(spent.log10() - target).abs())
                .sort("model", "mismatch_dex", "step", descending=[False, False, True])
                .unique("model", keep="first", maintain_order=True)
            )
    return pl.concat([part.select("condition", "model", "step", "tokens_seen", "mismatch_dex") for part in parts])
