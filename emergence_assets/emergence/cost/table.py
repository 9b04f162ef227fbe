"""Table of training compute and utility of checkpoints."""

import polars as pl

from emergence_assets.checkpoints import keys
from emergence_assets.emergence import columns
from resources.tables.columns import count, flag, ratio, share
from resources.tables.table import Column, Table, with_interval

COST_UTILITY = Table(
    "cost_utility",
    "One row per model, step, level and control: what training cost and what its features are worth.",
    (
        *keys.CHECKPOINT,
        Column("train_flops", pl.Float64, "training compute, 6 N D", "FLOP", 0),
        keys.CATEGORY_LEVEL,
        keys.CONTROL_ID,
        keys.LAYER.or_null,
        *with_interval(
            ratio("u_excess", "mean excess over categories at the checkpoint's best layer", maximum=1).or_null
        ),
        *with_interval(
            share("u_final_present", "share of the categories present at the last checkpoint that are present").or_null
        ),
        count("n_final_present", "categories present at the last checkpoint", "categories"),
        Column("loss", pl.Float32, "next-token loss on the fixed text", "nats/token", 0).or_null,
        ratio("u_frac_of_final", "u_excess over that of the last checkpoint").or_null,
        *with_interval(
            Column(
                "marginal_u_dec", pl.Float32, "u_excess gained since the checkpoint before", "per decade of compute"
            ).or_null
        ),
        *with_interval(
            Column(
                "trend_u_dec", pl.Float32, "slope of u_excess over the last three checkpoints", "per decade of steps"
            ).or_null
        ),
        *with_interval(
            Column(
                "flops_to_90", pl.Float64, "compute from which u_excess is at least 90 % of its last value", "FLOP", 0
            ).or_null
        ),
        flag("pareto", "no checkpoint of any model has more u_excess for less compute"),
        flag("stop_signal", "u_excess has risen, and the upper end of its trend is below 0.02 per decade"),
        ratio("regret_after_stop", "u_excess that training past the stop signal added").or_null,
        share("flops_saved_frac", "share of the compute that stopping here would have saved").or_null,
        columns.N_BOOT.or_null,
    ),
    ("model", "step", "category_level", "control_id"),
)
