"""Tables of categorical latents: their counts and their list."""

import polars as pl

from emergence_assets.checkpoints import keys
from emergence_assets.emergence import columns
from emergence_assets.features.columns import (
    ACTIVE_TEXTS,
    AUROC_SCORE,
    ENRICHMENT,
    N_CATEGORIES_PASSING,
    N_PASSING,
    RULE_ID,
    TOP_EXAMPLES,
)
from resources.tables.columns import difference, flag, p_value
from resources.tables.table import Column, Ordered, Table, with_interval

FEATURE_COUNTS = Table(
    "feature_counts",
    "One row per model, step, layer, rule, control and category (or their sum): how many latents are categorical.",
    (
        *keys.CELL,
        RULE_ID,
        *keys.SERIES,
        Column("n_features", pl.Float32, "latents given the category, mean over SAE seeds", "latents", 0),
        N_PASSING,
        Column("n_shuffle", pl.Float32, "n_features under permuted labels", "latents", 0),
        Column("n_random", pl.Float32, "n_features of random encoders of the same cell", "latents", 0).or_null,
        Column("n_excess", pl.Float32, "n_features minus that of step 0", "latents").or_null,
        Column("per_1k_live", pl.Float32, "n_features per thousand live latents", "latents per 1000", 0),
        Column("n_live", pl.Float32, "latents active on any probe text", "latents", 0),
        columns.N_SEEDS,
        columns.DATA_VERSION,
    ),
    ("model", "step", "layer", "rule_id", "control_id", "aggregate", "category_level", "category"),
    (Ordered(("n_features", "n_passing")),),
)
CATEGORICAL_FEATURES = Table(
    "categorical_features",
    "One row per latent that the study's rule accepts, of all cells and SAE seeds.",
    (
        *keys.CELL,
        keys.SAE_SEED,
        keys.CATEGORY_LEVEL,
        keys.LATENT,
        keys.CATEGORY,
        N_CATEGORIES_PASSING,
        *with_interval(AUROC_SCORE, nullable=True),
        difference(
            "excess_vs_step0", "auroc_score minus that of the category's best latent at step 0, same layer and SAE seed"
        ).or_null,
        *ENRICHMENT,
        p_value("q_global", "p_hyper corrected by Benjamini-Hochberg over all tests of the study"),
        *ACTIVE_TEXTS,
        flag("lexical_flag", "word_excess >= 0.5"),
        TOP_EXAMPLES.or_null,
        columns.DATA_VERSION,
    ),
    ("model", "step", "layer", "sae_seed", "category_level", "latent"),
)
