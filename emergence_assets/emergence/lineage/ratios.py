"""Shares of latents relative to the seed ceiling, with intervals; survival and half-lives.

Shape suffixes: r rows, b draws, t checkpoints.
"""

from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from emergence_assets.emergence.lineage.survival import decades, half_lives, survival
from emergence_assets.features.statistics.formulas import estimate

MIN_CEILING = 0.1
"""Ceiling below which no ratio is formed: the SAE design hardly finds its own latents again."""
N_DRAWS = 2000


def with_ratios(table: pl.DataFrame, seed: int) -> pl.DataFrame:
    """Add shares, ceilings, their ratio, survival and half-lives with their intervals to rows of counts.

    Args:
        table: columns axis, pairing, population, step_from, step_to, layer, layer_to, n_latents, n_matched. A row of
            axis seed is the ceiling of the rows with its cell as target.
        seed: seed of the draws.
    """
    draw = np.random.default_rng(seed)
    n, k = (table[name].to_numpy() for name in ("n_latents", "n_matched"))
    raw_rb = draw.beta(k[:, None] + 0.5, (n - k)[:, None] + 0.5, (len(n), N_DRAWS))
    ceiling_r = _ceiling_rows(table)
    # Another seed is no ceiling for SAEs that share a random start.
    has_one = (pl.col("axis") != "seed") & (pl.col("pairing") == "other_seed")
    known_r = (ceiling_r >= 0) & table.select(has_one).to_series().to_numpy()
    ceiling_rb = raw_rb[ceiling_r]
    s_ceiling = np.where(known_r, (k / n)[ceiling_r], np.nan)
    defined_r = known_r & (s_ceiling >= MIN_CEILING)
    norm_rb = np.where(defined_r[:, None], raw_rb / ceiling_rb, np.nan)
    s_norm = np.where(defined_r, k / n / np.where(defined_r, s_ceiling, 1), np.nan)
    columns = estimate("s_raw", k / n, raw_rb) | estimate("s_norm", s_norm, norm_rb)
    columns |= estimate("s_ceiling", s_ceiling, np.where(known_r[:, None], ceiling_rb, np.nan))
    columns |= _lasting(table, s_norm, norm_rb)
    return table.with_columns(*pl.DataFrame(columns, nan_to_null=True), n_boot=pl.lit(N_DRAWS))


def _ceiling_rows(table: pl.DataFrame) -> NDArray[np.int64]:
    """Return for every row the number of the row with the seed ceiling of its target's cell; -1 if it is missing."""
    seeds = table.with_row_index("row").filter(pl.col("axis") == "seed")
    seeds = seeds.select("population", pl.col("step_from").alias("step_to"), pl.col("layer").alias("layer_to"), "row")
    keys = ["population", "step_to", "layer_to"]
    joined = table.join(seeds, on=keys, how="left", maintain_order="left", nulls_equal=True)
    return joined["row"].cast(pl.Int64).fill_null(-1).to_numpy()


def _lasting(table: pl.DataFrame, s_norm: NDArray[np.float64], norm_rb: NDArray[np.float64]) -> dict[str, Any]:
    """Return survival since the first checkpoint with a ratio, and half-life from each checkpoint; axis step only."""
    n, names = len(table), ("survival", "survival_lo", "survival_hi", "half_life", "half_life_lo", "half_life_hi")
    columns = {name: np.full(n, np.nan) for name in names}
    series = table.with_row_index("row").filter(pl.col("axis") == "step").sort("step_from")
    for part in series.partition_by("pairing", "population", "layer"):
        row = part["row"].to_numpy()
        x_t = decades(np.append(part["step_from"].to_numpy(), part["step_to"].to_numpy()[-1]))
        together_tb = np.column_stack([s_norm[row], norm_rb[row]])
        for name, found_tb in (("survival", survival(together_tb)), ("half_life", half_lives(together_tb, x_t))):
            # A half-life beyond the last checkpoint is right-censored: null.
            columns[name][row] = np.where(np.isinf(found_tb[:, 0]), np.nan, found_tb[:, 0])
            defined = np.isfinite(s_norm[row]) & ~np.isnan(found_tb).any(axis=1)
            if defined.any():
                lo, hi = np.quantile(found_tb[defined, 1:], (0.025, 0.975), axis=1, method="nearest")
                columns[f"{name}_lo"][row[defined]] = np.where(np.isinf(lo), np.nan, lo)
                columns[f"{name}_hi"][row[defined]] = np.where(np.isinf(hi), np.nan, hi)
    return columns
