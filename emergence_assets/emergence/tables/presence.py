"""Presence of categories: the primary curve, and the same of growing dictionaries."""

import polars as pl

from emergence_assets.columns import CATEGORY, CATEGORY_LEVEL, CELL, CONTROL_ID, N_CATEGORY, N_CATEGORY_SCORE, N_TEXTS
from emergence_assets.emergence.tables.columns import DATA_VERSION, FVU, L0, N_BOOT, N_LATENTS, N_SEEDS, P_BOW, P_STEP0
from emergence_assets.features.tables.columns import N_PASSING, P_BEST, P_DENSE, P_SELECT, REPLICATES, REPLICATES_DENSE
from emergence_assets.table import Column, Ordered, Table, with_interval

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

EXPANSION_PRESENCE = Table(
    "expansion_presence",
    "Presence as in category_presence, of SAEs whose dictionary grows with d_model; first and last step.",
    (*CATEGORY_PRESENCE.columns, N_LATENTS, FVU, L0, N_PASSING.or_null),
    CATEGORY_PRESENCE.key,
)
