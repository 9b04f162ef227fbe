"""Net presence: presence in the trained dictionary minus presence in random encoders on the same rows.

Where the read-outs vary in few directions, and these follow the topic, nearly any direction separates categories
(arXiv 2602.14111). Net presence is what training of the dictionary adds; its growth over step 0 is the estimand of
emergence (`docs/method.md`).

Shape suffixes: r rows, b bootstrap replicates.
"""

import numpy as np
import polars as pl
from numpy.typing import NDArray

from emergence_assets.emergence.presence.replicates import matching_rows, replicate_array, seed_array, seed_lists
from emergence_assets.features.statistics.formulas import estimate

RANDOM = "random_encoder"
"""Value of `control_id` of presence in random encoders."""
_CATEGORY = ("model", "layer", "category_level", "category")


def net_columns(table: pl.DataFrame, replicates_rb: NDArray[np.float64]) -> dict[str, NDArray[np.float64]]:
    """Return p_random, net and net_gain with their intervals for rows with control `none`; NaN in other rows.

    Args:
        table: one row per model, step, layer, control, level and category, with p_best.
        replicates_rb: replicates of p_best. Texts are paired; SAE seeds and random encoders are drawn independently.
    """
    is_measured = (table["control_id"] == "none").to_numpy()
    beside = np.where(is_measured, matching_rows(table, (*_CATEGORY, "step"), pl.col("control_id") == RANDOM), -1)
    p_best = table["p_best"].to_numpy().astype(np.float64)
    p_random = np.where(beside >= 0, p_best[beside], np.nan)
    net, net_rb = p_best - p_random, np.where((beside >= 0)[:, None], replicates_rb - replicates_rb[beside], np.nan)
    start = matching_rows(table, _CATEGORY, (pl.col("step") == 0) & (pl.col("control_id") == "none"))
    start = np.where(is_measured, start, -1)
    net_gain = np.where(start >= 0, net - net[start], np.nan)
    net_gain_rb = np.where((start >= 0)[:, None], net_rb - net_rb[start], np.nan)
    return {"p_random": p_random, **estimate("net", net, net_rb), **estimate("net_gain", net_gain, net_gain_rb)}


def net_presence(presence: pl.DataFrame) -> pl.DataFrame:
    """Return the measured rows of `category_presence` with net presence in place of presence, for series over steps.

    `p_best` with its interval, `replicates` and `p_seeds` are replaced: each SAE seed minus the mean of the random
    encoders. Rows without random encoders are left out.

    Args:
        presence: `category_presence`.
    """
    beside = matching_rows(presence, (*_CATEGORY, "step"), pl.col("control_id") == RANDOM)
    kept = np.flatnonzero((presence["control_id"] == "none").to_numpy() & (beside >= 0))
    measured, random = presence[kept], presence[beside[kept]]
    net_rb = replicate_array(measured) - replicate_array(random)
    net_rq = seed_array(measured) - random["p_best"].to_numpy()[:, None]
    return measured.with_columns(
        p_best="net",
        p_best_lo="net_lo",
        p_best_hi="net_hi",
        replicates=pl.Series(net_rb.astype(np.float32), dtype=pl.List(pl.Float32)),
        p_seeds=seed_lists(net_rq),
    )
