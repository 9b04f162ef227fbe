"""Tables of presence over model sizes, and of differences between training runs."""

import polars as pl

from emergence_assets.checkpoints import keys
from emergence_assets.emergence import columns
from emergence_assets.emergence.presence.table import CATEGORY_PRESENCE
from emergence_assets.features.columns import N_PASSING
from resources.tables.columns import auroc, choice, count, difference, flag, list_of, ratio
from resources.tables.table import Column, Ordered, Table, with_interval

SIZE_POINT = pl.Struct(
    {"model": pl.String, "n_params_nonemb": pl.Int64, "step": pl.Int32, "tokens_seen": pl.Int64, "layer": pl.Int16}
    | dict.fromkeys(("p_best", "lo", "hi", "p_step0", "p_dense", "n_count"), pl.Float32)
    | {"n_latents": pl.Int32, "fvu": pl.Float32, "l0": pl.Float32}
)
MODEL_RUN = pl.Struct(
    {"model": pl.String, "layer": pl.Int16}
    | dict.fromkeys(("p_best", "gain", "gain_lo", "gain_hi"), pl.Float32)
    | {"half_step": pl.Float64}
)
SHAPES = ("insufficient", "smooth", "threshold", "metric_artifact", "absent", "saturated")
"""Shapes of a curve over model sizes; see `size_curves.size_curve`."""
EMERGENCE_OVER_SCALE = Table(
    "emergence_over_scale",
    "One row per condition, SAE design, control and category (or their mean): how presence grows with model size.",
    (
        choice("condition", "what the compared checkpoints share", ("final_step", "equal_tokens", "equal_flops")),
        choice(
            "sae_design",
            "whether the dictionary size, or its ratio to d_model, is the same for all model sizes",
            ("fixed_width", "fixed_expansion"),
        ),
        *keys.SERIES,
        Column("mismatch_dex", pl.Float32, "largest distance of a checkpoint from the condition", "decades", 0).or_null,
        count("n_sizes", "models compared", "models", 1, pl.Int16),
        *with_interval(columns.RISE.or_null),
        *with_interval(
            Column(
                "slope_dec", pl.Float32, "slope against log10 of n_params_nonemb", "AUROC per decade of parameters"
            ).or_null
        ),
        count(
            "n_lo", "largest size with an upper bound below the middle of the rise", "parameters", 1, pl.Int64
        ).or_null,
        count("n_hi", "smallest larger size with a lower bound above that middle", "parameters", 1, pl.Int64).or_null,
        *with_interval(
            ratio("jump_share", "largest rise between neighbouring sizes as a share of the whole rise").or_null
        ),
        Column("d_aic_vs_linear", pl.Float32, "AIC of a line minus that of a logistic").or_null,
        *with_interval(
            Column("n_half", pl.Float64, "size at half of the rise of the logistic", "parameters", 1).or_null
        ),
        Column("n_width_dec", pl.Float32, "from 10 to 90 % of the logistic's rise", "decades of parameters", 0).or_null,
        ratio(
            "count_jump_share", "jump_share of the count: categorical latents, or strongly present categories", 0
        ).or_null,
        ratio("metric_sensitivity", "count_jump_share / jump_share", 0).or_null,
        flag("is_rising", "criterion: rise of 0.05 with a lower bound above 0"),
        flag("is_logistic", "criterion: d_aic_vs_linear > 4"),
        flag("is_narrow", "criterion: n_width_dec at most half of the studied range"),
        flag("count_jumps", "criterion: two thirds of the count's rise between two neighbouring sizes"),
        choice("shape", "shape of the curve under this SAE design alone", SHAPES),
        choice("verdict", "shape where both SAE designs agree, otherwise insufficient", SHAPES),
        columns.P_BOW.or_null,
        Column("run_sd", pl.Float32, "standard deviation between training runs that the fits assume", "AUROC", 0),
        columns.N_SEEDS.or_null,
        columns.N_BOOT.or_null,
        list_of("size_points", "the points behind the row, one per size", "AUROC", SIZE_POINT).or_null,
    ),
    ("condition", "sae_design", "control_id", "aggregate", "category_level", "category"),
    (Ordered(("n_lo", "n_hi")),),
)
MODEL_SEEDS = Table(
    "model_seeds",
    "One row per model with replicates, control and category (or their mean): how far training runs differ.",
    (
        keys.MODEL,
        keys.N_PARAMS_NONEMB,
        keys.STEP.or_null,
        *keys.SERIES,
        count("n_runs", "training runs of the model", "runs", 1, pl.Int16),
        auroc("p_mean", "p_best, mean over runs"),
        auroc("p_sd", "standard deviation of p_best over runs").or_null,
        difference("gain_mean", "gain, mean over runs").or_null,
        auroc("gain_sd", "standard deviation of the gain over runs").or_null,
        auroc("gain_text_sd", "standard deviation of one run's gain over replicates of the texts").or_null,
        Column(
            "half_step_sd_dex", pl.Float32, "standard deviation of log10(half_step + 1) over runs", "decades", 0
        ).or_null,
        flag("signs_agree", "whether the gains of all runs have one sign").or_null,
        count("n_confirmed", "runs whose gain has an interval without 0", "runs", dtype=pl.Int16),
        columns.N_BOOT.or_null,
        list_of("runs", "the runs behind the row", "AUROC", MODEL_RUN).or_null,
    ),
    ("model", "control_id", "aggregate", "category_level", "category"),
)
EXPANSION_PRESENCE = Table(
    "expansion_presence",
    "Presence as in category_presence, of SAEs whose dictionary grows with d_model; first and last step.",
    (*CATEGORY_PRESENCE.columns, columns.N_LATENTS, columns.FVU, columns.L0, N_PASSING.or_null),
    CATEGORY_PRESENCE.key,
)
