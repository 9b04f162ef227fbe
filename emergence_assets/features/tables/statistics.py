"""Latents against categories: statistics of every pair with support."""

import polars as pl

from emergence_assets.columns import CATEGORY, CATEGORY_LEVEL, LATENT, N_CATEGORY, N_TEXTS, SAE_SEED
from emergence_assets.features.rules import RULES
from emergence_assets.features.tables.columns import AUROC_SCORE, P_HYPER, Q_CELL
from emergence_assets.table import Column, Ordered, Table, with_interval

LATENT_STATS = Table(
    "latent_stats",
    "One row per SAE seed, label level, latent and category with at least three active texts of the category.",
    (
        CATEGORY_LEVEL,
        LATENT,
        CATEGORY,
        N_CATEGORY,
        N_TEXTS,
        Column("n_category_select", pl.Int32, "of these on split select", "texts", 0),
        Column("n_texts_select", pl.Int32, "texts with a label on split select", "texts", 1),
        Column("k_c", pl.Int32, "active texts of the category on split select", "texts", 3),
        Column("k", pl.Int32, "active texts on split select", "texts", 3),
        Column("tpr", pl.Float32, "share of the category's texts on which the latent is active", "probability", 0, 1),
        Column("fpr", pl.Float32, "share of other texts on which it is active", "probability", 0, 1),
        Column("purity", pl.Float32, "k_c / k", "probability", 0, 1),
        Column("lift", pl.Float32, "tpr / max(fpr, 1 / n)", "ratio", 0),
        P_HYPER,
        Q_CELL,
        Column("mi_bits", pl.Float32, "mutual information of active and category", "bit", -1e-06),
        Column("mean_act_category", pl.Float32, "mean activation on the category, zeros included", "activation", 0),
        Column("mean_act_other", pl.Float32, "mean activation on other texts", "activation", 0),
        Column("auroc_select", pl.Float32, "on split select", "AUROC", 0, 1, nullable=True),
        Column("k_c_score", pl.Int32, "active texts of the category on split score", "texts", 0),
        Column("lift_score", pl.Float32, "lift on split score", "ratio", 0),
        *with_interval(AUROC_SCORE.or_null),
        *(
            Column(rule_id, pl.Boolean, f"whether this rule accepts the pair: {rule.description}", "truth")
            for rule_id, rule in RULES.items()
        ),
        Column("rule_id", pl.String, "rule of the study", "name"),
        Column("passes", pl.Boolean, "whether that rule accepts the pair", "truth"),
        SAE_SEED,
    ),
    ("sae_seed", "category_level", "latent", "category"),
    (
        Ordered(("auroc_score_lo", "auroc_score", "auroc_score_hi")),
        Ordered(("k_c", "k")),
    ),
)
