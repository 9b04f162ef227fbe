"""When presence rises."""

import polars as pl

from emergence_assets.checkpoints.columns import (
    AGGREGATE,
    CATEGORY,
    CATEGORY_LEVEL,
    CONTROL_ID,
    LAYER,
    MODEL,
    N_LAYERS,
    N_PARAMS_NONEMB,
    REL_DEPTH,
)
from emergence_assets.emergence.columns import (
    N_BOOT,
    N_SEEDS,
    N_SEEDS_AGREE,
    P_BOW,
    P_SHUFFLE,
    P_STEP0,
    P_VALUE,
    PASSES_GATE,
    STEP_LAST,
)
from emergence_assets.features.columns import P_DENSE
from resources.tables.table import Column, Ordered, Table, with_interval

EMERGENCE_OVER_TIME = Table(
    "emergence_over_time",
    "One row per model, layer, control and category (or their mean): when presence rises.",
    (
        MODEL,
        N_PARAMS_NONEMB,
        Column(
            "layer_choice",
            pl.String,
            "each layer, or again the best one chosen on split select",
            "name",
            one_of=("each", "best"),
        ),
        LAYER.or_null,
        N_LAYERS,
        REL_DEPTH,
        CONTROL_ID,
        AGGREGATE,
        CATEGORY_LEVEL,
        CATEGORY.or_null,
        Column("metric", pl.String, "what is followed", "name"),
        Column("n_steps", pl.Int32, "checkpoints", "checkpoints", 1, nullable=True),
        STEP_LAST.or_null,
        *with_interval(Column("base", pl.Float32, "value at step 0", "AUROC", 0, 1, nullable=True)),
        *with_interval(Column("p_end", pl.Float32, "value at the last checkpoint", "AUROC", 0, 1), nullable=True),
        *with_interval(Column("amp", pl.Float32, "p_end - base", "AUROC", -1, 1, nullable=True)),
        *with_interval(
            Column(
                "late_gain",
                pl.Float32,
                "mean of the last three checkpoints minus step 0",
                "AUROC",
                -1,
                1,
                nullable=True,
            )
        ),
        Column(
            "best_model",
            pl.String,
            "curve with the smallest AICc",
            "name",
            one_of=("constant", "linear", "sigmoid", "two_step"),
            nullable=True,
        ),
        Column(
            "d_aicc",
            pl.Float32,
            "AICc of the constant minus that of the sigmoid; null with too few checkpoints",
            "nats",
            nullable=True,
        ),
        Column("fit_base", pl.Float32, "value from which the fitted curve rises", "AUROC", nullable=True),
        *with_interval(Column("fit_amp", pl.Float32, "rise of the fitted curve", "AUROC", nullable=True)),
        *with_interval(Column("onset_step", pl.Float64, "step of 10 % of the fitted rise", "steps", 0, nullable=True)),
        *with_interval(Column("half_step", pl.Float64, "step of half the fitted rise", "steps", 0, nullable=True)),
        *with_interval(
            Column(
                "complete_step",
                pl.Float64,
                "step of 90 % of the fitted rise; null behind the last checkpoint",
                "steps",
                0,
                nullable=True,
            )
        ),
        Column("half_tokens", pl.Int64, "training tokens at the half step", "tokens", 0, nullable=True),
        Column(
            "half_flops", pl.Float64, "6 N D: N parameters without embedding, D half_tokens", "FLOPs", 0, nullable=True
        ),
        *with_interval(
            Column(
                "rise_rate",
                pl.Float32,
                "steepest slope of the fitted curve",
                "AUROC per decade of steps",
                nullable=True,
            )
        ),
        *with_interval(
            Column("width_dec", pl.Float32, "from 10 to 90 % of the fitted rise", "decades of steps", 0, nullable=True)
        ),
        Column("grid_lo_step", pl.Int32, "checkpoint before the half step", "steps", 0, nullable=True),
        Column("grid_hi_step", pl.Int32, "checkpoint after it", "steps", 0, nullable=True),
        Column(
            "half_step_interp",
            pl.Float64,
            "step of half the rise from first to last checkpoint, by interpolation",
            "steps",
            0,
            nullable=True,
        ),
        Column(
            "changepoint_step",
            pl.Int32,
            "first checkpoint after the best split into two means",
            "steps",
            0,
            nullable=True,
        ),
        Column(
            "censor",
            pl.String,
            "left: there before training; right: not seen to its end",
            "name",
            one_of=("none", "left", "right"),
            nullable=True,
        ),
        Column(
            "stabil_step",
            pl.Int32,
            "first checkpoint from which on p_best stays near its end",
            "steps",
            0,
            nullable=True,
        ),
        PASSES_GATE.or_null,
        P_VALUE.or_null,
        Column(
            "q_emerged", pl.Float64, "Benjamini-Hochberg over layers and categories", "probability", 0, 1, nullable=True
        ),
        P_STEP0.or_null,
        P_SHUFFLE.or_null,
        P_BOW,
        P_DENSE,
        N_SEEDS.or_null,
        N_SEEDS_AGREE.or_null,
        Column(
            "seed_sd_dex",
            pl.Float32,
            "standard deviation over SAE seeds of log10(half step + 1)",
            "decades of steps",
            0,
            nullable=True,
        ),
        N_BOOT.or_null,
    ),
    ("model", "layer_choice", "layer", "control_id", "aggregate", "category_level", "category", "metric"),
    (
        Ordered(("grid_lo_step", "half_step", "grid_hi_step", "step_last")),
        Ordered(("onset_step", "half_step", "complete_step", "step_last")),
        Ordered(("changepoint_step", "step_last")),
        Ordered(("stabil_step", "step_last")),
    ),
)
