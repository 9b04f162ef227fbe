"""How presence grows with model size, and how far training runs differ."""

import polars as pl

from emergence_assets.checkpoints.columns import (
    AGGREGATE,
    CATEGORY,
    CATEGORY_LEVEL,
    CONTROL_ID,
    MODEL,
    N_PARAMS_NONEMB,
    STEP,
)
from emergence_assets.emergence.columns import FVU, L0, N_BOOT, N_LATENTS, N_SEEDS, P_BOW, RISE
from emergence_assets.emergence.presence.table import CATEGORY_PRESENCE
from emergence_assets.features.columns import N_PASSING
from resources.tables.table import Column, Ordered, Table, with_interval

SIZE_POINT = pl.Struct(
    {
        "model": pl.String,
        "n_params_nonemb": pl.Int64,
        "step": pl.Int32,
        "tokens_seen": pl.Int64,
        "layer": pl.Int16,
        "p_best": pl.Float32,
        "lo": pl.Float32,
        "hi": pl.Float32,
        "p_step0": pl.Float32,
        "p_dense": pl.Float32,
        "n_count": pl.Float32,
        "n_latents": pl.Int32,
        "fvu": pl.Float32,
        "l0": pl.Float32,
    }
)
MODEL_RUN = pl.Struct(
    {
        "model": pl.String,
        "layer": pl.Int16,
        "p_best": pl.Float32,
        "gain": pl.Float32,
        "gain_lo": pl.Float32,
        "gain_hi": pl.Float32,
        "half_step": pl.Float64,
    }
)
EMERGENCE_OVER_SCALE = Table(
    "emergence_over_scale",
    "One row per condition, SAE design, control and category (or their mean): how presence grows with model size.",
    (
        Column(
            "condition",
            pl.String,
            "what the compared checkpoints have in common",
            "name",
            one_of=("final_step", "equal_tokens", "equal_flops"),
        ),
        Column(
            "sae_design",
            pl.String,
            "dictionary size equal for all sizes, or its ratio to d_model",
            "name",
            one_of=("fixed_width", "fixed_expansion"),
        ),
        CONTROL_ID,
        AGGREGATE,
        CATEGORY_LEVEL,
        CATEGORY.or_null,
        Column(
            "mismatch_dex",
            pl.Float32,
            "largest distance of a checkpoint from the condition",
            "decades",
            0,
            nullable=True,
        ),
        Column("n_sizes", pl.Int16, "models compared", "models", 1),
        *with_interval(RISE.or_null),
        *with_interval(
            Column(
                "slope_dec",
                pl.Float32,
                "slope against log10 of n_params_nonemb",
                "AUROC per decade of parameters",
                nullable=True,
            )
        ),
        Column("n_lo", pl.Int64, "largest size clearly below the middle of the rise", "parameters", 1, nullable=True),
        Column("n_hi", pl.Int64, "smallest size clearly above it", "parameters", 1, nullable=True),
        *with_interval(
            Column("jump_share", pl.Float32, "largest single step as a share of the rise", "ratio", nullable=True)
        ),
        Column("d_aic_vs_linear", pl.Float32, "AIC of a line minus that of a logistic", nullable=True),
        *with_interval(
            Column("n_half", pl.Float64, "size of half the rise, by the logistic", "parameters", 1, nullable=True)
        ),
        Column(
            "n_width_dec", pl.Float32, "10 to 90 % of the logistic's rise", "decades of parameters", 0, nullable=True
        ),
        Column("count_jump_share", pl.Float32, "jump_share of what is counted", "ratio", 0, nullable=True),
        Column("metric_sensitivity", pl.Float32, "count_jump_share / jump_share", "ratio", 0, nullable=True),
        Column("is_rising", pl.Boolean, "gate: rise of 0.05 with a lower bound above 0", "truth"),
        Column("is_logistic", pl.Boolean, "gate: d_aic_vs_linear > 4", "truth"),
        Column("is_narrow", pl.Boolean, "gate: n_width_dec at most half of the studied range", "truth"),
        Column("count_jumps", pl.Boolean, "gate: two thirds of the count's rise between two sizes", "truth"),
        Column(
            "shape",
            pl.String,
            "what this SAE design alone says",
            "name",
            one_of=("insufficient", "smooth", "threshold", "metric_artifact", "absent", "saturated"),
        ),
        Column(
            "verdict",
            pl.String,
            "what both SAE designs say of a threshold in size",
            "name",
            one_of=("insufficient", "smooth", "threshold", "metric_artifact", "absent", "saturated"),
        ),
        P_BOW.or_null,
        Column("run_sd", pl.Float32, "standard deviation between training runs that the fits assume", "AUROC", 0),
        N_SEEDS.or_null,
        N_BOOT.or_null,
        Column("size_points", pl.List(SIZE_POINT), "the points behind the row, a size each", "AUROC", nullable=True),
    ),
    ("condition", "sae_design", "control_id", "aggregate", "category_level", "category"),
    (Ordered(("n_lo", "n_hi")),),
)
MODEL_SEEDS = Table(
    "model_seeds",
    "One row per model with replicates, control and category (or their mean): how far training runs differ.",
    (
        MODEL,
        N_PARAMS_NONEMB,
        STEP.or_null,
        CONTROL_ID,
        AGGREGATE,
        CATEGORY_LEVEL,
        CATEGORY.or_null,
        Column("n_runs", pl.Int16, "training runs of the model", "runs", 1),
        Column("p_mean", pl.Float32, "p_best, mean over runs", "AUROC", 0, 1),
        Column("p_sd", pl.Float32, "standard deviation of p_best over runs", "AUROC", 0, 1, nullable=True),
        Column("gain_mean", pl.Float32, "gain, mean over runs", "AUROC", -1, 1, nullable=True),
        Column("gain_sd", pl.Float32, "standard deviation of the gain over runs", "AUROC", 0, 1, nullable=True),
        Column(
            "gain_text_sd",
            pl.Float32,
            "standard deviation of one run's gain over replicates of the texts",
            "AUROC",
            0,
            1,
            nullable=True,
        ),
        Column(
            "half_step_sd_dex",
            pl.Float32,
            "standard deviation of log10(half_step + 1) over runs",
            "decades",
            0,
            nullable=True,
        ),
        Column("signs_agree", pl.Boolean, "whether the gains of all runs have one sign", "truth", nullable=True),
        Column("n_confirmed", pl.Int16, "runs whose gain has an interval without 0", "runs", 0),
        N_BOOT.or_null,
        Column("runs", pl.List(MODEL_RUN), "the runs behind the row", "AUROC", nullable=True),
    ),
    ("model", "control_id", "aggregate", "category_level", "category"),
)


EXPANSION_PRESENCE = Table(
    "expansion_presence",
    "Presence as in category_presence, of SAEs whose dictionary grows with d_model; first and last step.",
    (*CATEGORY_PRESENCE.columns, N_LATENTS, FVU, L0, N_PASSING.or_null),
    CATEGORY_PRESENCE.key,
)
