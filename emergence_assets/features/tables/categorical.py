"""Latents that count as categorical, and how many there are."""

import polars as pl

from emergence_assets.columns import CATEGORY, CATEGORY_LEVEL, LATENT, SAE_SEED
from emergence_assets.features.tables.columns import (
    AUROC_SCORE,
    CELL_CONTROL_ID,
    LENGTH_CORR,
    LIFT,
    N_CATEGORIES_PASSING,
    N_PASSING,
    P_HYPER,
    Q_CELL,
    RULE_ID,
    STRENGTH,
    TOP_EXAMPLES,
    TPR,
    WORD,
    WORD_EXCESS,
)
from emergence_assets.table import Column, Ordered, Table, with_interval

RULE_COUNTS = Table(
    "rule_counts",
    "One row per SAE seed, rule, control, label level and category: how many latents count as categorical.",
    (
        RULE_ID,
        CELL_CONTROL_ID,
        CATEGORY_LEVEL,
        CATEGORY,
        Column("n_features", pl.Float32, "latents whose category this is; a mean under permuted labels", "latents", 0),
        N_PASSING,
        Column("n_live", pl.Int32, "latents active on any text with a label at the level", "latents", 0),
        SAE_SEED,
    ),
    ("sae_seed", "rule_id", "control_id", "category_level", "category"),
    (Ordered(("n_features", "n_passing")),),
)

CATEGORICAL_LATENTS = Table(
    "categorical_latents",
    "One row per SAE seed, label level and latent that the study's rule accepts, with the category it is given.",
    (
        CATEGORY_LEVEL,
        LATENT,
        CATEGORY,
        N_CATEGORIES_PASSING,
        TPR,
        LIFT,
        P_HYPER,
        Q_CELL,
        *with_interval(AUROC_SCORE.or_null),
        STRENGTH,
        LENGTH_CORR.or_null,
        WORD,
        WORD_EXCESS,
        TOP_EXAMPLES,
        SAE_SEED,
    ),
    ("sae_seed", "category_level", "latent"),
    (Ordered(("auroc_score_lo", "auroc_score", "auroc_score_hi")),),
)
