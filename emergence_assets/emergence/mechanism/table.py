"""Where a late latent comes from, and whether it needs an early one."""

import polars as pl

from emergence_assets.checkpoints.columns import (
    CATEGORY,
    CATEGORY_LEVEL,
    MODEL,
    N_LAYERS,
    N_PARAMS_NONEMB,
    N_TEXTS,
    STEP,
    TOKENS_SEEN,
)
from emergence_assets.emergence.columns import DATA_VERSION, N_BOOT, N_SEEDS
from resources.tables.table import Column, Table, with_interval

HEAD_SHARE = pl.Struct({"layer": pl.Int16, "head": pl.Int16, "share": pl.Float32})
REACTIVATION_MECHANISM = Table(
    "reactivation_mechanism",
    "One row per category at the last step: where a late latent's pre-activation comes from, and whether it needs "
    "an early latent.",
    (
        MODEL,
        N_PARAMS_NONEMB,
        STEP,
        TOKENS_SEEN,
        N_LAYERS,
        CATEGORY_LEVEL,
        CATEGORY.or_null,
        N_TEXTS.or_null,
        Column(
            "undefined_because",
            pl.String,
            "none; layers (no studied layer in every third), causal (no causal model), no_latent (early or late), "
            "blocks (their parts are not known: no shares), contrast (not above zero beyond doubt: no shares)",
            "name",
            one_of=("none", "layers", "causal", "no_latent", "blocks", "contrast"),
        ),
        Column(
            "early_layer",
            pl.Int16,
            "layer of the first third of depth with the highest p_select",
            "index",
            0,
            nullable=True,
        ),
        Column(
            "trough_layer", pl.Int16, "layer of the middle third with the lowest p_select", "index", 0, nullable=True
        ),
        Column("late_layer", pl.Int16, "layer of the last third with the highest p_select", "index", 0, nullable=True),
        Column(
            "drop_select",
            pl.Float32,
            "min(early, late) - trough of p_select: chosen by it, no evidence",
            "AUROC",
            -1,
            1,
            nullable=True,
        ),
        *with_interval(
            Column(
                "contrast",
                pl.Float32,
                "pre-activation of the late layer's best latent: mean on the category less that on others, over seeds",
                "activation",
                nullable=True,
            )
        ),
        *with_interval(
            Column(
                "share_carried",
                pl.Float32,
                "share of the contrast that the stream after the trough layer holds",
                "ratio",
                nullable=True,
            )
        ),
        *with_interval(
            Column(
                "share_attn",
                pl.Float32,
                "share that attention between trough and late layer adds",
                "ratio",
                nullable=True,
            )
        ),
        *with_interval(
            Column("share_mlp", pl.Float32, "share that MLPs between trough and late layer add", "ratio", nullable=True)
        ),
        Column(
            "top_heads",
            pl.List(HEAD_SHARE),
            "attention heads with a share of 5 % or more of either sign",
            "ratio",
            nullable=True,
        ),
        Column(
            "n_seeds_agree_parts",
            pl.Int16,
            "SAE seeds in which the same part is largest as in the mean",
            "seeds",
            0,
            nullable=True,
        ),
        Column(
            "early_rate",
            pl.Float32,
            "share of the category's texts on which the early latent fires",
            "probability",
            0,
            1,
            nullable=True,
        ),
        Column("control_rate", pl.Float32, "the same of the control latents", "probability", 0, 1, nullable=True),
        *with_interval(
            Column(
                "cdi",
                pl.Float32,
                "1 - E[late latent | early latent taken away] / E[late latent], on the category's texts",
                "ratio",
                maximum=1,
                nullable=True,
            )
        ),
        *with_interval(
            Column(
                "cdi_resample",
                pl.Float32,
                "the same with the early latent's value on a text of another category",
                "ratio",
                maximum=1,
                nullable=True,
            )
        ),
        *with_interval(
            Column(
                "cdi_control",
                pl.Float32,
                "the same with other early latents that fire as often on these texts",
                "ratio",
                maximum=1,
                nullable=True,
            )
        ),
        *with_interval(
            Column("cdi_excess", pl.Float32, "cdi - cdi_control, paired over texts", "ratio", nullable=True)
        ),
        Column(
            "n_seeds_agree_cdi",
            pl.Int16,
            "SAE seeds in which cdi_excess has the sign of the mean",
            "seeds",
            0,
            nullable=True,
        ),
        N_SEEDS.or_null,
        N_BOOT,
        DATA_VERSION,
    ),
    ("model", "step", "category_level", "category"),
)
