"""What training costs, and what compression leaves."""

import polars as pl

from emergence_assets.checkpoints.columns import (
    CATEGORY_LEVEL,
    CONTROL_ID,
    LAYER,
    MODEL,
    N_PARAMS_NONEMB,
    STEP,
    TOKENS_SEEN,
)
from emergence_assets.emergence.columns import N_BOOT
from resources.tables.table import Column, Table, with_interval

COST_UTILITY = Table(
    "cost_utility",
    "One row per model, step, level and control: what training cost and what its features are worth.",
    (
        MODEL,
        N_PARAMS_NONEMB,
        STEP,
        TOKENS_SEEN,
        Column("train_flops", pl.Float64, "training compute, 6 N D", "FLOP", 0),
        CATEGORY_LEVEL,
        CONTROL_ID,
        LAYER.or_null,
        *with_interval(
            Column(
                "u_excess",
                pl.Float32,
                "mean excess over categories at the checkpoint's best layer",
                "ratio",
                maximum=1,
                nullable=True,
            )
        ),
        *with_interval(
            Column(
                "u_final_present",
                pl.Float32,
                "share of the categories present at the end that are present",
                "ratio",
                0,
                1,
                nullable=True,
            )
        ),
        Column("n_final_present", pl.Int32, "categories present at the last checkpoint", "categories", 0),
        Column("loss", pl.Float32, "next-token loss on the fixed text", "nats/token", 0, nullable=True),
        Column("u_frac_of_final", pl.Float32, "u_excess over that of the last checkpoint", "ratio", nullable=True),
        *with_interval(
            Column(
                "marginal_u_dec",
                pl.Float32,
                "u_excess gained since the checkpoint before",
                "per decade of compute",
                nullable=True,
            )
        ),
        *with_interval(
            Column(
                "trend_u_dec",
                pl.Float32,
                "slope of u_excess over the last three checkpoints",
                "per decade of steps",
                nullable=True,
            )
        ),
        *with_interval(
            Column(
                "flops_to_90",
                pl.Float64,
                "compute from which on u_excess is at 90 % of its end",
                "FLOP",
                0,
                nullable=True,
            )
        ),
        Column("pareto", pl.Boolean, "no checkpoint of any model has more u_excess for less compute", "truth"),
        Column("stop_signal", pl.Boolean, "u_excess has risen, and its trend is surely below 0.02 per decade", "truth"),
        Column(
            "regret_after_stop", pl.Float32, "u_excess that training on added after the signal", "ratio", nullable=True
        ),
        Column(
            "flops_saved_frac",
            pl.Float32,
            "share of the compute that stopping here would have saved",
            "ratio",
            0,
            1,
            nullable=True,
        ),
        N_BOOT.or_null,
    ),
    ("model", "step", "category_level", "control_id"),
)
