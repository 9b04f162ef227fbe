"""Columns and types of this stage's tables. What they mean stands in `tables.py`."""

from typing import Any

import polars as pl

LATENT_STATS_SCHEMA: dict[str, Any] = {
    "category_level": pl.String,
    "latent": pl.Int32,
    "category": pl.String,
    "n_category": pl.Int32,
    "n_texts": pl.Int32,
    "n_category_select": pl.Int32,
    "n_texts_select": pl.Int32,
    "k_c": pl.Int32,
    "k": pl.Int32,
    "tpr": pl.Float32,
    "fpr": pl.Float32,
    "purity": pl.Float32,
    "lift": pl.Float32,
    "p_hyper": pl.Float64,
    "q_cell": pl.Float64,
    "mi_bits": pl.Float32,
    "mean_act_category": pl.Float32,
    "mean_act_other": pl.Float32,
    "auroc_select": pl.Float32,
    "k_c_score": pl.Int32,
    "lift_score": pl.Float32,
    "auroc_score": pl.Float32,
    "auroc_score_lo": pl.Float32,
    "auroc_score_hi": pl.Float32,
    "lift_fdr_v1": pl.Boolean,
    "purity_v1": pl.Boolean,
    "auroc_v1": pl.Boolean,
    "rule_id": pl.String,
    "passes": pl.Boolean,
}

PRESENCE_CELL_SCHEMA: dict[str, Any] = {
    "control_id": pl.String,
    "category_level": pl.String,
    "category": pl.String,
    "n_category": pl.Int32,
    "n_texts": pl.Int32,
    "n_category_score": pl.Int32,
    "latent": pl.Int32,
    "p_select": pl.Float32,
    "p_best": pl.Float32,
    "p_best_lo": pl.Float32,
    "p_best_hi": pl.Float32,
    "p_dense": pl.Float32,
    "p_dense_lo": pl.Float32,
    "p_dense_hi": pl.Float32,
    "replicates": pl.List(pl.Float32),
    "replicates_dense": pl.List(pl.Float32),
}

TOP_EXAMPLE = pl.Struct({"text_id": pl.String, "activation": pl.Float32})

CATEGORICAL_LATENTS_SCHEMA: dict[str, Any] = {
    "category_level": pl.String,
    "latent": pl.Int32,
    "category": pl.String,
    "n_categories_passing": pl.Int16,
    "tpr": pl.Float32,
    "lift": pl.Float32,
    "p_hyper": pl.Float64,
    "q_cell": pl.Float64,
    "auroc_score": pl.Float32,
    "auroc_score_lo": pl.Float32,
    "auroc_score_hi": pl.Float32,
    "strength": pl.Float32,
    "length_corr": pl.Float32,
    "word": pl.String,
    "word_excess": pl.Float32,
    "top_examples": pl.List(TOP_EXAMPLE),
}

RULE_COUNTS_SCHEMA: dict[str, Any] = {
    "rule_id": pl.String,
    "control_id": pl.String,
    "category_level": pl.String,
    "category": pl.String,
    "n_features": pl.Float32,
    "n_passing": pl.Float32,
    "n_live": pl.Int32,
}

CONTROL_ROWS_SCHEMA: dict[str, Any] = {
    "category_level": pl.String,
    "category": pl.String,
    "p_select": pl.Float32,
    "p_best": pl.Float32,
    "p_dense": pl.Float32,
    "replicates": pl.List(pl.Float32),
}

SAE_SEED = {"sae_seed": pl.Int16}
"""Added where the cells of several SAE seeds become one table."""
