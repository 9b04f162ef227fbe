"""Categorical latents: how many, and which."""

import polars as pl

from emergence_assets.checkpoints.columns import AGGREGATE, CATEGORY, CATEGORY_LEVEL, CELL, CONTROL_ID, LATENT, SAE_SEED
from emergence_assets.emergence.columns import DATA_VERSION, N_SEEDS
from emergence_assets.features.columns import (
    AUROC_SCORE,
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
from resources.tables.table import Column, Ordered, Table, with_interval

FEATURE_COUNTS = Table(
    "feature_counts",
    "One row per model, step, layer, rule, control and category (or their sum): how many latents are categorical.",
    (
        *CELL,
        RULE_ID,
        CONTROL_ID,
        AGGREGATE,
        CATEGORY_LEVEL,
        CATEGORY.or_null,
        Column("n_features", pl.Float32, "latents that are given the category, mean over SAE seeds", "latents", 0),
        N_PASSING,
        Column("n_shuffle", pl.Float32, "n_features under permuted labels", "latents", 0),
        Column("n_excess", pl.Float32, "n_features less that of step 0", "latents", nullable=True),
        Column("per_1k_live", pl.Float32, "n_features per thousand live latents", "latents per 1000", 0),
        Column("n_live", pl.Float32, "latents active on any probe text", "latents", 0),
        N_SEEDS,
        DATA_VERSION,
    ),
    ("model", "step", "layer", "rule_id", "control_id", "aggregate", "category_level", "category"),
    (Ordered(("n_features", "n_passing")),),
)
CATEGORICAL_FEATURES = Table(
    "categorical_features",
    "One row per latent that the study's rule accepts, of all cells and SAE seeds.",
    (
        *CELL,
        SAE_SEED,
        CATEGORY_LEVEL,
        LATENT,
        CATEGORY,
        N_CATEGORIES_PASSING,
        *with_interval(AUROC_SCORE, nullable=True),
        Column(
            "excess_vs_step0",
            pl.Float32,
            "auroc_score less that of the best latent of step 0 for the category, same layer and SAE seed",
            "AUROC",
            -1,
            1,
            nullable=True,
        ),
        TPR,
        LIFT,
        P_HYPER,
        Q_CELL,
        Column("q_global", pl.Float64, "Benjamini-Hochberg over all tests of the study", "probability", 0, 1),
        STRENGTH,
        LENGTH_CORR.or_null,
        WORD,
        WORD_EXCESS,
        Column("lexical_flag", pl.Boolean, "word_excess >= 0.5", "truth"),
        TOP_EXAMPLES.or_null,
        DATA_VERSION,
    ),
    ("model", "step", "layer", "sae_seed", "category_level", "latent"),
)
