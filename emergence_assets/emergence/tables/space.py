"""In which layers presence stands."""

import polars as pl

from emergence_assets.columns import (
    AGGREGATE,
    CATEGORY,
    CATEGORY_LEVEL,
    CONTROL_ID,
    MODEL,
    N_LAYERS,
    N_PARAMS_NONEMB,
    STEP,
    TOKENS_SEEN,
)
from emergence_assets.emergence.tables.columns import N_BOOT, N_SEEDS
from emergence_assets.table import Column, Table, with_interval

EMERGENCE_OVER_SPACE = Table(
    "emergence_over_space",
    "One row per model, step, control and category (or their mean): in which layers presence stands.",
    (
        MODEL,
        N_PARAMS_NONEMB,
        STEP,
        TOKENS_SEEN,
        N_LAYERS,
        CONTROL_ID,
        AGGREGATE,
        CATEGORY_LEVEL,
        CATEGORY.or_null,
        Column("peak_layer", pl.Int16, "layer with the highest p_best", "index", -1, nullable=True),
        *with_interval(Column("peak_depth", pl.Float32, "its relative depth", "ratio", 0, 1, nullable=True)),
        *with_interval(
            Column(
                "onset_depth",
                pl.Float32,
                "relative depth of the first layer with half of the largest gain, its lower bound above 0",
                "ratio",
                0,
                1,
                nullable=True,
            )
        ),
        *with_interval(
            Column("com_depth", pl.Float32, "centre of mass of the positive gains", "ratio", 0, 1, nullable=True)
        ),
        *with_interval(
            Column("width", pl.Float32, "share of layers above half the largest gain", "ratio", 0, 1, nullable=True)
        ),
        Column(
            "n_modes",
            pl.Int8,
            "humps of the gain that are apart by more than 0.05 and the noise",
            "humps",
            0,
            nullable=True,
        ),
        Column("dip_p", pl.Float32, "of no more than one hump", "probability", 0, 1, nullable=True),
        *with_interval(Column("max_gain", pl.Float32, "largest gain over layers", "AUROC", -1, 1, nullable=True)),
        Column("best_layer", pl.Int16, "layer chosen on split select", "index", -1),
        *with_interval(Column("best_gain", pl.Float32, "gain of that layer", "AUROC", -1, 1, nullable=True)),
        Column("embed_presence", pl.Float32, "p_best of the embedding", "AUROC", 0, 1, nullable=True),
        Column("layers", pl.List(pl.Int16), "layers of the profiles", "index", nullable=True),
        Column("profile", pl.List(pl.Float32), "p_best by layer", "AUROC", nullable=True),
        Column("profile_step0", pl.List(pl.Float32), "p_step0 by layer", "AUROC", nullable=True),
        Column("profile_dense", pl.List(pl.Float32), "p_dense by layer", "AUROC", nullable=True),
        N_SEEDS.or_null,
        N_BOOT,
    ),
    ("model", "step", "control_id", "aggregate", "category_level", "category"),
)
