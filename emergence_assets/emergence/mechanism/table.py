"""Table of the sources of late latents and their dependence on early latents."""

import polars as pl

from emergence_assets.checkpoints import keys
from emergence_assets.emergence import columns
from resources.tables.columns import choice, count, difference, layer, list_of, probability, ratio
from resources.tables.table import Column, Table, with_interval

HEAD_SHARE = pl.Struct({"layer": pl.Int16, "head": pl.Int16, "share": pl.Float32})
REACTIVATION_MECHANISM = Table(
    "reactivation_mechanism",
    "One row per category at the last step: where a late latent's pre-activation comes from, and whether it needs "
    "an early latent.",
    (
        *keys.CHECKPOINT,
        keys.N_LAYERS,
        keys.CATEGORY_LEVEL,
        keys.CATEGORY.or_null,
        keys.N_TEXTS.or_null,
        choice(
            "undefined_because",
            "none; layers (no studied layer in every third), causal (no causal model), recurrent (its state cannot be "
            "reused for another last token), no_latent (early or late), blocks (parts not known: no shares), "
            "contrast (not significantly above zero: no shares)",
            ("none", "layers", "causal", "recurrent", "no_latent", "blocks", "contrast"),
        ),
        layer("early_layer", "layer of the first third of depth with the highest p_select").or_null,
        layer("trough_layer", "layer of the middle third with the lowest p_select").or_null,
        layer("late_layer", "layer of the last third with the highest p_select").or_null,
        difference(
            "drop_select", "min(early, late) - trough of p_select: layers are chosen by it, so it is no evidence"
        ).or_null,
        *with_interval(
            Column(
                "contrast",
                pl.Float32,
                "pre-activation of the late layer's best latent: mean on the category minus that on others, over seeds",
                "activation",
            ).or_null
        ),
        *with_interval(
            ratio(
                "share_carried", "share of the contrast that is already in the residual stream after the trough layer"
            ).or_null
        ),
        *with_interval(ratio("share_attn", "share that attention between trough and late layer adds").or_null),
        *with_interval(ratio("share_mlp", "share that MLPs between trough and late layer add").or_null),
        list_of("top_heads", "attention heads with a share of 5 % or more of either sign", "ratio", HEAD_SHARE).or_null,
        count(
            "n_seeds_agree_parts", "SAE seeds with the same largest part as the mean", "seeds", dtype=pl.Int16
        ).or_null,
        probability("early_rate", "share of the category's texts on which the early latent is active").or_null,
        probability("control_rate", "share of the category's texts on which the control latents are active").or_null,
        *with_interval(
            ratio(
                "cdi", "1 - E[late latent | early latent ablated] / E[late latent], on the category's texts", maximum=1
            ).or_null
        ),
        *with_interval(
            ratio(
                "cdi_resample", "cdi with the early latent set to its value on a text of another category", maximum=1
            ).or_null
        ),
        *with_interval(
            ratio(
                "cdi_control", "cdi with other early latents ablated, equally often active on these texts", maximum=1
            ).or_null
        ),
        *with_interval(ratio("cdi_excess", "cdi - cdi_control, paired over texts").or_null),
        count(
            "n_seeds_agree_cdi", "SAE seeds in which cdi_excess has the sign of the mean", "seeds", dtype=pl.Int16
        ).or_null,
        columns.N_SEEDS.or_null,
        columns.N_BOOT,
        columns.DATA_VERSION,
    ),
    ("model", "step", "category_level", "category"),
)
