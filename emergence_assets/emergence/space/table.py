"""In which layers presence stands."""

import polars as pl

from emergence_assets.checkpoints.columns import (
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
from emergence_assets.emergence.columns import N_BOOT, N_LAYERS_READ, N_SEEDS, N_SEEDS_AGREE, P_VALUE, PASSES_GATE, Q
from resources.tables.table import Column, Table, with_interval

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


REACTIVATION = Table(
    "reactivation",
    "One row per model, step, control and category (or their mean): whether it falls in the middle layers and returns.",
    (
        MODEL,
        N_PARAMS_NONEMB,
        STEP,
        TOKENS_SEEN,
        N_LAYERS,
        N_LAYERS_READ,
        Column("level", pl.String, "what a row is about: a category, all its latents together", "name"),
        CONTROL_ID,
        AGGREGATE,
        CATEGORY_LEVEL,
        CATEGORY.or_null,
        *with_interval(
            Column("early", pl.Float32, "mean gain over the first third of the depth", "AUROC", -1, 1, nullable=True)
        ),
        *with_interval(Column("mid", pl.Float32, "mean gain over the second third", "AUROC", -1, 1, nullable=True)),
        *with_interval(Column("late", pl.Float32, "mean gain over the last third", "AUROC", -1, 1, nullable=True)),
        *with_interval(Column("drop", pl.Float32, "min(early, late) - mid", "AUROC", -2, 2, nullable=True)),
        *with_interval(
            Column(
                "ri",
                pl.Float32,
                "reactivation index: drop / min(early, late); null where that is below 0.05",
                "ratio",
                nullable=True,
            )
        ),
        *with_interval(
            Column(
                "drop_quarters",
                pl.Float32,
                "drop with the middle from a quarter to a half of the depth",
                "AUROC",
                -2,
                2,
                nullable=True,
            )
        ),
        *with_interval(
            Column("drop_presence", pl.Float32, "drop of p_best, without step 0", "AUROC", -1, 1, nullable=True)
        ),
        *with_interval(
            Column("dense_drop", pl.Float32, "drop of p_dense, without step 0", "AUROC", -1, 1, nullable=True)
        ),
        Column(
            "valley_depth",
            pl.Float32,
            "relative depth of the deepest valley of the smoothed gain",
            "ratio",
            0,
            1,
            nullable=True,
        ),
        Column(
            "perm_p", pl.Float32, "of so deep a valley among layers in any order", "probability", 0, 1, nullable=True
        ),
        P_VALUE.or_null,
        Q.or_null,
        N_SEEDS,
        N_SEEDS_AGREE,
        Column("gate_layers", pl.Boolean, "at least 6 layers were read", "truth"),
        Column("gate_drop", pl.Boolean, "drop >= 0.05", "truth"),
        Column("gate_interval", pl.Boolean, "drop_lo > 0", "truth"),
        Column("gate_fdr", pl.Boolean, "q < 0.05", "truth"),
        Column("gate_seeds", pl.Boolean, "two or more SAE seeds, two thirds of which agree", "truth"),
        Column("gate_presence", pl.Boolean, "drop_presence >= 0.05 and drop_presence_lo > 0", "truth"),
        PASSES_GATE,
        Column(
            "verdict",
            pl.String,
            "what may be said of a fall and return over depth",
            "name",
            one_of=("representational", "allocation", "none", "undefined", "insufficient"),
        ),
        N_BOOT,
    ),
    ("model", "step", "level", "control_id", "aggregate", "category_level", "category"),
)
