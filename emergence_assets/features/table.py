"""Latents against categories: statistics of every pair with support."""

import polars as pl

from emergence_assets.checkpoints.columns import (
    CATEGORY,
    CATEGORY_LEVEL,
    LATENT,
    N_CATEGORY,
    N_CATEGORY_SCORE,
    N_TEXTS,
    SAE_SEED,
)
from emergence_assets.features.columns import (
    AUROC_SCORE,
    CELL_CONTROL_ID,
    LENGTH_CORR,
    LIFT,
    N_CATEGORIES_PASSING,
    N_PASSING,
    P_HYPER,
    Q_CELL,
    REPLICATES_DENSE,
    RULE_ID,
    STRENGTH,
    TOP_EXAMPLES,
    TPR,
    WORD,
    WORD_EXCESS,
)
from emergence_assets.features.rules import RULES
from resources.tables.table import Column, Ordered, Table, with_interval

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


PRESENCE_CELLS = Table(
    "presence_cells",
    "One row per SAE seed, control, label level and category: how well the best latent of the cell tells it apart.",
    (
        CELL_CONTROL_ID,
        CATEGORY_LEVEL,
        CATEGORY,
        N_CATEGORY,
        N_TEXTS,
        N_CATEGORY_SCORE,
        Column("latent", pl.Int32, "the best latent, chosen on split select", "index", 0, nullable=True),
        Column("p_select", pl.Float32, "of the best latent on split select", "AUROC", 0, 1),
        *with_interval(Column("p_best", pl.Float32, "of the same latent on split score", "AUROC", 0, 1)),
        *with_interval(Column("p_dense", pl.Float32, "ridge probe on the raw read-out", "AUROC", 0, 1), nullable=True),
        Column("replicates", pl.List(pl.Float32), "bootstrap replicates of p_best, joint over cells", "AUROC"),
        REPLICATES_DENSE.or_null,
        SAE_SEED,
    ),
    ("sae_seed", "control_id", "category_level", "category"),
)
