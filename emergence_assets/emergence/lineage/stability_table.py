"""Shares of latents that are found again over steps, layers and sizes; persistence of early latents over depth."""

from dataclasses import replace

import polars as pl

from emergence_assets.checkpoints import keys
from emergence_assets.emergence import columns
from resources.tables.columns import choice, count, flag, layer, probability, ratio, share, step, string
from resources.tables.table import Column, Table, with_interval

LINEAGE_STABILITY = Table(
    "lineage_stability",
    "One row per comparison of cells and population: what share of latents is found again, raw and over the ceiling.",
    (
        keys.MODEL,
        string("model_to", "model of the target"),
        keys.N_PARAMS_NONEMB,
        columns.AXIS,
        columns.PAIRING,
        choice(
            "population",
            "firing: latents with support; categorical: latents with a category, matched within it",
            ("firing", "categorical"),
        ),
        keys.LAYER.or_null,
        layer("layer_to", "layer of the target").or_null,
        step("step_from", "step of the source"),
        step("step_to", "step of the target"),
        columns.N_LATENTS,
        count("n_matched", "latents with an accepted match", "latents"),
        *with_interval(share("s_raw", "n_matched / n_latents")),
        *with_interval(share("s_ceiling", "s_raw between two SAE seeds of the target's cell").or_null),
        *with_interval(ratio("s_norm", "s_raw / s_ceiling, null below a ceiling of 0.1; may exceed 1", 0).or_null),
        *with_interval(share("survival", "product of s_norm since the first checkpoint that has one").or_null),
        *with_interval(
            Column(
                "half_life",
                pl.Float32,
                "from step_from until half of the latents are lost; null when more remain at the last checkpoint",
                "decades of steps",
                0,
            ).or_null
        ),
        columns.N_BOOT,
    ),
    ("model", "model_to", "axis", "pairing", "population", "layer", "layer_to", "step_from", "step_to"),
)
SIZE_STABILITY = replace(
    LINEAGE_STABILITY,
    name="size_stability",
    description="One row per model, layer and population: what share of its latents the next larger model has too, raw "
    "and relative to what two SAE seeds of the larger model share. Survival is null.",
)
LATENT_CARRY = Table(
    "latent_carry",
    "One row per match of a latent of the first third of the layers with one of the last, at the last step.",
    (
        keys.MODEL,
        keys.STEP,
        *columns.SOURCE,
        *columns.TARGET,
        keys.CATEGORY.or_null,
        columns.SAME_CATEGORY.or_null,
        columns.CORR_SCORE,
        count("n_mid_layers", "layers in the middle third", "layers", dtype=pl.Int16),
        count(
            "n_mid_matched", "middle layers in which the early latent has an accepted match", "layers", dtype=pl.Int16
        ),
        flag("skips_middle", "whether there are middle layers, and the early latent has no match in any of them"),
        probability(
            "p_missed", "chance that every middle layer misses the latent although it has it: product of 1 - ceiling"
        ).or_null,
        count("n_early", "texts of split score on which the early latent is active", "texts"),
        count("n_late", "texts of split score on which the late latent is active", "texts"),
        columns.N_JOINT,
        *with_interval(ratio("carry_lift", "P(late active | early active) / P(late active) on split score", 0).or_null),
        *with_interval(
            ratio("carry_control", "mean carry_lift of the five late latents of nearest frequency", 0).or_null
        ),
        columns.N_BOOT,
    ),
    ("model", "step", "src_layer", "src_sae_seed", "src_latent", "dst_layer", "dst_sae_seed", "dst_latent"),
)
