"""Categorical latents of a study, with the columns that need the whole study."""

from collections.abc import Iterable

import polars as pl

from emergence_assets.emergence.categorical_latents.p_values import PValueTally
from emergence_assets.emergence.categorical_latents.table import CATEGORICAL_FEATURES

LEXICAL_EXCESS = 0.5
"""Smallest word_excess of a lexical latent: share of its strongest texts with a word, minus the share of all texts."""
_PLACE = ["model", "layer", "sae_seed", "category_level", "category"]


def study_p_values(cells: Iterable[tuple[pl.DataFrame, int]]) -> PValueTally:
    """Collect all p-values of a study; cells may be read one after the other.

    Args:
        cells: `latent_stats` (column p_hyper) and number of tests of each cell.
    """
    tally = PValueTally()
    for stats, n_tests in cells:
        tally.add(stats["p_hyper"].to_numpy(), n_tests)
    return tally


def categorical_features(latents: pl.DataFrame, step0: pl.DataFrame, p_values: PValueTally) -> pl.DataFrame:
    """Return one row per categorical latent of the study; see `CATEGORICAL_FEATURES`.

    `q_global`: Benjamini-Hochberg over every test of the study. `excess_vs_step0`: auroc_score minus that of the best
    latent of the untrained network for the same category, layer and SAE seed; null without step 0.

    Args:
        latents: rows of `features.accepted.categorical_latents` of all cells with key columns, sae_seed, data_version.
        step0: rows of `presence_cells` at step 0, control none, with model, layer and sae_seed.
        p_values: see `study_p_values`.
    """
    if latents.is_empty():
        return CATEGORICAL_FEATURES.schema.to_frame()
    before = step0.select(*_PLACE, auroc_step0=pl.col("p_best"))
    return (
        latents.join(before, on=_PLACE, how="left", validate="m:1")
        .with_columns(
            pl.Series("q_global", p_values.q(latents["p_hyper"].to_numpy())),
            excess_vs_step0=pl.col("auroc_score") - pl.col("auroc_step0"),
            lexical_flag=pl.col("word_excess") >= LEXICAL_EXCESS,
        )
        .select(pl.col(name).cast(dtype) for name, dtype in CATEGORICAL_FEATURES.schema.items())
        .sort("model", "step", "layer", "sae_seed", "category_level", "latent")
    )
