"""Table of rises of presence over training steps."""

import polars as pl

from emergence_assets.checkpoints import keys
from emergence_assets.emergence import columns
from emergence_assets.features.columns import P_DENSE
from resources.tables.columns import choice, count, difference, flag, p_value, step
from resources.tables.table import Column, Ordered, Table, with_interval

EMERGENCE_OVER_TIME = Table(
    "emergence_over_time",
    "One row per model, layer, control and category (or their mean): when presence rises.",
    (
        keys.MODEL,
        keys.N_PARAMS_NONEMB,
        choice("layer_choice", "each layer, or again the best one chosen on split select", ("each", "best")),
        keys.LAYER.or_null,
        keys.N_LAYERS,
        keys.REL_DEPTH,
        *keys.SERIES,
        choice("metric", "quantity whose curve is fitted: presence or net presence", ("p_best", "net")),
        count("n_steps", "checkpoints", "checkpoints", 1).or_null,
        columns.STEP_LAST.or_null,
        *with_interval(difference("base", "value at step 0").or_null),
        *with_interval(difference("p_end", "value at the last checkpoint"), nullable=True),
        *with_interval(difference("amp", "p_end - base").or_null),
        *with_interval(difference("late", "mean of the last three checkpoints").or_null),
        *with_interval(difference("late_gain", "late minus step 0").or_null),
        choice("best_model", "curve with the smallest AICc", ("constant", "linear", "sigmoid", "two_step")).or_null,
        Column(
            "d_aicc", pl.Float32, "AICc of the constant minus that of the sigmoid; null with few checkpoints", "nats"
        ).or_null,
        Column("fit_base", pl.Float32, "value from which the fitted curve rises", "AUROC").or_null,
        *with_interval(Column("fit_amp", pl.Float32, "rise of the fitted curve", "AUROC").or_null),
        *with_interval(step("onset_step", "step at 10 % of the fitted rise", pl.Float64).or_null),
        *with_interval(step("half_step", "step at half of the fitted rise", pl.Float64).or_null),
        *with_interval(
            step("complete_step", "step at 90 % of the fitted rise; null after the last checkpoint", pl.Float64).or_null
        ),
        count("half_tokens", "training tokens at the half-rise step", "tokens", dtype=pl.Int64).or_null,
        Column("half_flops", pl.Float64, "6 N D: N parameters without embedding, D half_tokens", "FLOPs", 0).or_null,
        *with_interval(
            Column("rise_rate", pl.Float32, "steepest slope of the fitted curve", "AUROC per decade of steps").or_null
        ),
        *with_interval(
            Column("width_dec", pl.Float32, "from 10 to 90 % of the fitted rise", "decades of steps", 0).or_null
        ),
        step("grid_lo_step", "checkpoint before the half-rise step").or_null,
        step("grid_hi_step", "checkpoint after the half-rise step").or_null,
        step(
            "half_step_interp", "step at half of the rise from first to last checkpoint, by interpolation", pl.Float64
        ).or_null,
        step("changepoint_step", "first checkpoint after the best split into two means").or_null,
        choice(
            "censor",
            "left: present before training; right: rise not complete at the last checkpoint",
            ("none", "left", "right"),
        ).or_null,
        step("stabil_step", "first checkpoint from which p_best stays near its last value").or_null,
        columns.PASSES_GATE.or_null,
        flag("is_dated", "whether the rise passes and its half-rise step is known within a decade").or_null,
        columns.P_VALUE.or_null,
        p_value("q_emerged", "p_value corrected by Benjamini-Hochberg over layers and categories").or_null,
        columns.P_SHUFFLE.or_null,
        columns.P_BOW,
        P_DENSE,
        columns.N_SEEDS.or_null,
        columns.N_SEEDS_AGREE.or_null,
        Column(
            "seed_sd_dex", pl.Float32, "standard deviation of log10(half_step + 1) over seeds", "decades of steps", 0
        ).or_null,
        columns.N_BOOT.or_null,
    ),
    ("model", "layer_choice", "layer", "control_id", "aggregate", "category_level", "category", "metric"),
    (
        Ordered(("grid_lo_step", "half_step", "grid_hi_step", "step_last")),
        Ordered(("onset_step", "half_step", "complete_step", "step_last")),
        Ordered(("changepoint_step", "step_last")),
        Ordered(("stabil_step", "step_last")),
    ),
)
