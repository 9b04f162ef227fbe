"""What share of latents is found again over time and over layers."""

from dataclasses import replace

import polars as pl

from emergence_assets.checkpoints.columns import CATEGORY, LAYER, MODEL, N_PARAMS_NONEMB, STEP
from emergence_assets.emergence.columns import (
    AXIS,
    CORR_SCORE,
    DST_LATENT,
    DST_LAYER,
    DST_SAE_SEED,
    N_BOOT,
    N_JOINT,
    N_LATENTS,
    PAIRING,
    SAME_CATEGORY,
    SRC_LATENT,
    SRC_LAYER,
    SRC_SAE_SEED,
)
from resources.tables.table import Column, Table, with_interval

LINEAGE_STABILITY = Table(
    "lineage_stability",
    "One row per comparison of cells and population: what share of latents is found again, raw and over the ceiling.",
    (
        MODEL,
        Column("model_to", pl.String, "model of the target", "name"),
        N_PARAMS_NONEMB,
        AXIS,
        PAIRING,
        Column(
            "population",
            pl.String,
            "firing: with support; categorical: with a category, and matched within it",
            "name",
            one_of=("firing", "categorical"),
        ),
        LAYER.or_null,
        Column("layer_to", pl.Int16, "layer of the target", "index", 0, nullable=True),
        Column("step_from", pl.Int32, "step of the source", "steps", 0),
        Column("step_to", pl.Int32, "step of the target", "steps", 0),
        N_LATENTS,
        Column("n_matched", pl.Int32, "of these with an accepted match", "latents", 0),
        *with_interval(Column("s_raw", pl.Float32, "n_matched / n_latents", "ratio", 0, 1)),
        *with_interval(
            Column(
                "s_ceiling",
                pl.Float32,
                "s_raw between two SAE seeds of the target's cell",
                "ratio",
                0,
                1,
                nullable=True,
            )
        ),
        *with_interval(
            Column(
                "s_norm",
                pl.Float32,
                "s_raw / s_ceiling, null below a ceiling of .1; may exceed 1",
                "ratio",
                0,
                nullable=True,
            )
        ),
        *with_interval(
            Column(
                "survival",
                pl.Float32,
                "product of s_norm since the first checkpoint that has one",
                "ratio",
                0,
                1,
                nullable=True,
            )
        ),
        *with_interval(
            Column(
                "half_life",
                pl.Float32,
                "from step_from until half are gone; null when more outlast the data",
                "decades of steps",
                0,
                nullable=True,
            )
        ),
        N_BOOT,
    ),
    ("model", "model_to", "axis", "pairing", "population", "layer", "layer_to", "step_from", "step_to"),
)
SIZE_STABILITY = replace(
    LINEAGE_STABILITY,
    name="size_stability",
    description="One row per model, layer and population: what share of its latents the next larger model has too, raw "
    "and over what two SAE seeds of the larger one share. No survival: sizes are no time.",
)
LATENT_CARRY = Table(
    "latent_carry",
    "One row per match of a latent of the first third of the layers with one of the last, at the last step.",
    (
        MODEL,
        STEP,
        SRC_LAYER,
        SRC_SAE_SEED,
        SRC_LATENT,
        DST_LAYER,
        DST_SAE_SEED,
        DST_LATENT,
        CATEGORY.or_null,
        SAME_CATEGORY.or_null,
        CORR_SCORE,
        Column("n_mid_layers", pl.Int16, "layers in the middle third", "layers", 0),
        Column("n_mid_matched", pl.Int16, "of these in which the early latent has an accepted match", "layers", 0),
        Column("skips_middle", pl.Boolean, "there are such layers, and in none it has a match", "truth"),
        Column(
            "p_missed",
            pl.Float32,
            "chance that it is there and every middle layer misses it: product of 1 - ceiling",
            "probability",
            0,
            1,
            nullable=True,
        ),
        Column("n_early", pl.Int32, "texts of split score on which the early latent is active", "texts", 0),
        Column("n_late", pl.Int32, "texts of split score on which the late latent is active", "texts", 0),
        N_JOINT,
        *with_interval(
            Column(
                "carry_lift",
                pl.Float32,
                "P(late active | early active) / P(late active) on split score",
                "ratio",
                0,
                nullable=True,
            )
        ),
        *with_interval(
            Column(
                "carry_control",
                pl.Float32,
                "the same of five late latents of nearest frequency, their mean",
                "ratio",
                0,
                nullable=True,
            )
        ),
        N_BOOT,
    ),
    ("model", "step", "src_layer", "src_sae_seed", "src_latent", "dst_layer", "dst_sae_seed", "dst_latent"),
)
