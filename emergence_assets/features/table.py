"""Latents against categories: statistics of every pair with support."""

import polars as pl

from emergence_assets.checkpoints import keys
from emergence_assets.features import columns
from emergence_assets.features.rules import RULES
from resources.tables.columns import auroc, count, flag, list_of, probability, ratio, string
from resources.tables.table import Column, Ordered, Table, with_interval

LATENT_STATS = Table(
    "latent_stats",
    "One row per SAE seed, label level, latent and category with at least three active texts of the category.",
    (
        keys.CATEGORY_LEVEL,
        keys.LATENT,
        keys.CATEGORY,
        keys.N_CATEGORY,
        keys.N_TEXTS,
        count("n_category_select", "texts of the category on split select", "texts"),
        count("n_texts_select", "texts with a label on split select", "texts", 1),
        count("k_c", "active texts of the category on split select", "texts", 3),
        count("k", "active texts on split select", "texts", 3),
        columns.TPR,
        probability("fpr", "share of other texts on which the latent is active, split select"),
        probability("purity", "k_c / k"),
        columns.LIFT,
        columns.P_HYPER,
        columns.Q_CELL,
        Column("mi_bits", pl.Float32, "mutual information of activity and category", "bit", -1e-06),
        Column("mean_act_category", pl.Float32, "mean activation on the category, zeros included", "activation", 0),
        Column("mean_act_other", pl.Float32, "mean activation on other texts, zeros included", "activation", 0),
        auroc("auroc_select", "AUROC on split select").or_null,
        count("k_c_score", "active texts of the category on split score", "texts"),
        ratio("lift_score", "lift on split score", 0),
        *with_interval(columns.AUROC_SCORE.or_null),
        *(flag(rule_id, f"whether this rule accepts the pair: {rule.description}") for rule_id, rule in RULES.items()),
        string("rule_id", "rule of the study"),
        flag("passes", "whether the rule of the study accepts the pair"),
        keys.SAE_SEED,
    ),
    ("sae_seed", "category_level", "latent", "category"),
    (Ordered(("auroc_score_lo", "auroc_score", "auroc_score_hi")), Ordered(("k_c", "k"))),
)
RULE_COUNTS = Table(
    "rule_counts",
    "One row per SAE seed, rule, control, label level and category: how many latents count as categorical.",
    (
        columns.RULE_ID,
        columns.CELL_CONTROL_ID,
        keys.CATEGORY_LEVEL,
        keys.CATEGORY,
        Column("n_features", pl.Float32, "latents given this category; a mean under permuted labels", "latents", 0),
        columns.N_PASSING,
        count("n_live", "latents active on any text with a label at the level", "latents"),
        keys.SAE_SEED,
    ),
    ("sae_seed", "rule_id", "control_id", "category_level", "category"),
    (Ordered(("n_features", "n_passing")),),
)
CATEGORICAL_LATENTS = Table(
    "categorical_latents",
    "One row per SAE seed, label level and latent that the study's rule accepts, with the category given to it.",
    (
        keys.CATEGORY_LEVEL,
        keys.LATENT,
        keys.CATEGORY,
        columns.N_CATEGORIES_PASSING,
        *columns.ENRICHMENT,
        *with_interval(columns.AUROC_SCORE.or_null),
        *columns.ACTIVE_TEXTS,
        columns.TOP_EXAMPLES,
        keys.SAE_SEED,
    ),
    ("sae_seed", "category_level", "latent"),
    (Ordered(("auroc_score_lo", "auroc_score", "auroc_score_hi")),),
)
PRESENCE_CELLS = Table(
    "presence_cells",
    "One row per SAE seed, control, label level and category: how well the best latent of the cell separates it.",
    (
        columns.CELL_CONTROL_ID,
        keys.CATEGORY_LEVEL,
        keys.CATEGORY,
        keys.N_CATEGORY,
        keys.N_TEXTS,
        keys.N_CATEGORY_SCORE,
        Column("latent", pl.Int32, "the best latent, chosen on split select", "index", 0).or_null,
        columns.P_SELECT,
        *with_interval(auroc("p_best", "AUROC on split score of the latent chosen on split select")),
        *(column.or_null for column in columns.DETECTION),
        flag("is_own", "whether the latent separates no other category of the level better, split score").or_null,
        flag("passes", "whether the rule of the study accepts the latent for the category").or_null,
        *with_interval(columns.P_DENSE, nullable=True),
        list_of("replicates", "bootstrap replicates of p_best over texts, joint over cells", "AUROC"),
        columns.REPLICATES_DENSE.or_null,
        Column("sae_seed", keys.SAE_SEED.dtype, "seed of the SAE, or number of the random encoder", "seed", 0),
    ),
    ("sae_seed", "control_id", "category_level", "category"),
)
