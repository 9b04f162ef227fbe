"""Presence of categories: the primary curve, and the same of growing dictionaries."""

import polars as pl

from emergence_assets.checkpoints.columns import (
    CATEGORY,
    CATEGORY_LEVEL,
    CELL,
    CONTROL_ID,
    MODEL,
    N_CATEGORY,
    N_CATEGORY_SCORE,
    N_PARAMS_NONEMB,
    N_TEXTS,
)
from emergence_assets.emergence.columns import (
    DATA_VERSION,
    N_BOOT,
    N_CATEGORIES,
    N_LAYERS_READ,
    N_SEEDS,
    P_BOW,
    P_SHUFFLE,
    P_STEP0,
    RISE,
    STEP_LAST,
)
from emergence_assets.features.columns import P_BEST, P_DENSE, P_SELECT, REPLICATES, REPLICATES_DENSE
from resources.tables.table import Column, Ordered, Table, with_interval

CATEGORY_PRESENCE = Table(
    "category_presence",
    "One row per model, step, layer, control, level and category: the primary curve and its controls.",
    (
        *CELL,
        CONTROL_ID,
        CATEGORY_LEVEL,
        CATEGORY,
        N_CATEGORY.or_null,
        N_TEXTS.or_null,
        N_CATEGORY_SCORE.or_null,
        P_SELECT.or_null,
        *with_interval(P_BEST),
        *with_interval(P_DENSE, nullable=True),
        P_BOW,
        P_STEP0.or_null,
        *with_interval(
            Column("gain", pl.Float32, "p_best - p_step0, paired over texts", "AUROC", -1, 1, nullable=True)
        ),
        *with_interval(
            Column(
                "excess",
                pl.Float32,
                "gain / (1 - p_step0): share of the possible gain",
                "ratio",
                maximum=1,
                nullable=True,
            )
        ),
        Column("alloc_gap", pl.Float32, "p_dense - p_best: what the SAE does not show", "AUROC", -1, 1, nullable=True),
        Column("trivially_lexical", pl.Boolean, "p_step0 >= 0.98", "truth", nullable=True),
        N_SEEDS,
        N_BOOT,
        DATA_VERSION,
        Column("p_seeds", pl.List(pl.Float32), "p_best seed by seed", "AUROC", nullable=True),
        REPLICATES.or_null,
        REPLICATES_DENSE.or_null,
    ),
    ("model", "step", "layer", "control_id", "category_level", "category"),
    (Ordered(("n_category_score", "n_category", "n_texts")),),
)


HEADLINE = Table(
    "headline",
    "One row per model, level and control: means over categories and layers, first against last checkpoint.",
    (
        MODEL,
        N_PARAMS_NONEMB,
        CATEGORY_LEVEL,
        CONTROL_ID,
        N_CATEGORIES.or_null,
        N_LAYERS_READ.or_null,
        Column("step_first", pl.Int32, "first checkpoint", "steps", 0, nullable=True),
        STEP_LAST.or_null,
        *with_interval(
            Column("p_first", pl.Float32, "mean p_best at the first checkpoint", "AUROC", 0, 1), nullable=True
        ),
        *with_interval(
            Column("p_last", pl.Float32, "mean p_best at the last checkpoint", "AUROC", 0, 1), nullable=True
        ),
        *with_interval(RISE),
        Column(
            "n_strong_first",
            pl.Float32,
            "categories with p_best >= 0.75 at the first checkpoint, mean over layers",
            "categories",
            0,
            nullable=True,
        ),
        Column("n_strong_last", pl.Float32, "the same at the last checkpoint", "categories", 0, nullable=True),
        Column("p_dense_first", pl.Float32, "mean p_dense at the first checkpoint", "AUROC", 0, 1, nullable=True),
        Column("p_dense_last", pl.Float32, "mean p_dense at the last checkpoint", "AUROC", 0, 1, nullable=True),
        P_BOW.or_null,
        P_SHUFFLE,
        Column("p_shuffle_min", pl.Float32, "smallest cell mean under permuted labels", "AUROC", 0, 1, nullable=True),
        Column("p_shuffle_max", pl.Float32, "largest cell mean under permuted labels", "AUROC", 0, 1, nullable=True),
    ),
    ("model", "category_level", "control_id"),
    (Ordered(("p_shuffle_min", "p_shuffle", "p_shuffle_max")),),
)
