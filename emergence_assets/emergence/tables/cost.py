"""What training costs, and what compression leaves."""

import polars as pl

from emergence_assets.columns import (
    CATEGORY_LEVEL,
    CELL,
    CONTROL_ID,
    LAYER,
    MODEL,
    N_PARAMS_NONEMB,
    N_TEXTS,
    STEP,
    TOKENS_SEEN,
)
from emergence_assets.emergence.tables.columns import DATA_VERSION, N_BOOT, N_CATEGORIES, N_SEEDS
from emergence_assets.table import Column, Table, with_interval

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

COMPRESSION_RETENTION = Table(
    "compression_retention",
    "One row per layer and changed version of a model's last checkpoint: what is left of its categories.",
    (
        *CELL,
        CATEGORY_LEVEL,
        Column(
            "variant",
            pl.String,
            "none is the model itself; int8, int4, prune50, or skip_l: block l is bypassed",
            "name",
        ),
        CONTROL_ID,
        Column(
            "changed_layer",
            pl.Int16,
            "the block that is bypassed; null where all are changed",
            "index",
            0,
            nullable=True,
        ),
        Column("bits", pl.Int16, "bits of a weight, where that was changed", "bits", 1, nullable=True),
        Column("density", pl.Float32, "share of the blocks' weights that are not zero", "ratio", 0, 1, nullable=True),
        Column(
            "relative_norm",
            pl.Float32,
            "norm of the change of the blocks' matrices over their norm",
            "ratio",
            0,
            nullable=True,
        ),
        N_CATEGORIES,
        N_TEXTS.or_null,
        Column(
            "p_model",
            pl.Float32,
            "mean over categories of the AUROC of the latents chosen on split select",
            "AUROC",
            0,
            1,
        ),
        Column("p_variant", pl.Float32, "the same of the same latents in the changed model", "AUROC", 0, 1),
        *with_interval(
            Column("mean_drop", pl.Float32, "p_model - p_variant, paired over texts", "AUROC", -1, 1), nullable=True
        ),
        Column(
            "retention", pl.Float32, "share of categories whose AUROC is not lower by .02 beyond doubt", "ratio", 0, 1
        ),
        Column("fvu_model", pl.Float32, "fvu of the read-outs, mean over SAE seeds", "ratio", 0, nullable=True),
        Column(
            "fvu_variant", pl.Float32, "the same of the changed model with the same SAEs", "ratio", 0, nullable=True
        ),
        Column("fvu_ratio", pl.Float32, "fvu_variant / fvu_model", "ratio", 0, nullable=True),
        Column("loss_model", pl.Float32, "next-token loss on the fixed text", "nats per token", 0, nullable=True),
        Column("loss_delta", pl.Float32, "loss of the changed model minus loss_model", "nats per token", nullable=True),
        N_SEEDS,
        N_BOOT,
        DATA_VERSION,
    ),
    ("model", "step", "layer", "category_level", "variant", "control_id"),
)
