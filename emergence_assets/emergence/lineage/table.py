"""Latents that are matched with each other, and the chains that they form."""

from dataclasses import replace

import polars as pl

from emergence_assets.checkpoints.columns import CATEGORY, LATENT, LAYER, MODEL, SAE_SEED, STEP
from emergence_assets.emergence.columns import (
    AXIS,
    CORR_SCORE,
    DST_LATENT,
    DST_LAYER,
    DST_SAE_SEED,
    N_JOINT,
    PAIRING,
    SAME_CATEGORY,
    SRC_LATENT,
    SRC_LAYER,
    SRC_SAE_SEED,
)
from resources.tables.table import Column, Ordered, Table

PATH_MEMBER = pl.Struct({"step": pl.Int32, "category": pl.String})
FEATURE_LINEAGE = Table(
    "feature_lineage",
    "One row per pair of latents of two SAEs of which one is the other's best partner, above both nulls.",
    (
        MODEL,
        Column("dst_model", pl.String, "model of the target", "name"),
        AXIS,
        Column("src_step", pl.Int32, "step of the source", "steps", 0),
        SRC_LAYER,
        SRC_SAE_SEED,
        SRC_LATENT,
        Column("dst_step", pl.Int32, "step of the target", "steps", 0),
        DST_LAYER,
        DST_SAE_SEED,
        DST_LATENT,
        Column(
            "cos_dec",
            pl.Float32,
            "cosine of the decoder directions; null across models",
            "cosine",
            -1,
            1,
            nullable=True,
        ),
        Column(
            "corr_act",
            pl.Float32,
            "correlation of activations on split select, where matches are chosen",
            "correlation",
            -1,
            1,
        ),
        CORR_SCORE,
        Column(
            "jaccard",
            pl.Float32,
            "texts on which both are active as a share of those on which either is",
            "ratio",
            0,
            1,
        ),
        N_JOINT,
        Column("rank_src", pl.Int16, "place of the source among the target's partners", "rank", 1, 3),
        Column("rank_dst", pl.Int16, "place of the target among the source's partners", "rank", 1, 3),
        Column("mutual", pl.Boolean, "both are each other's best partner", "truth"),
        Column("score", pl.Float32, "mean of cos_dec and corr_act; across models corr_act", "score", -1, 1),
        Column(
            "null_p995",
            pl.Float32,
            "99.5 % quantile of best scores with the target rotated and its texts permuted",
            "score",
            -1,
            1,
        ),
        Column(
            "untrained_p995", pl.Float32, "99.5 % quantile of best scores with an untrained dictionary", "score", -1, 1
        ),
        Column("in_assignment", pl.Boolean, "the pair is in the best one-to-one assignment too", "truth"),
        Column("method", pl.String, "mnn: mutual nearest neighbours", "name", one_of=("mnn",)),
        Column("accepted", pl.Boolean, "mutual, and above both nulls", "truth"),
        SAME_CATEGORY.or_null,
    ),
    (
        "axis",
        "model",
        "src_step",
        "src_layer",
        "src_sae_seed",
        "src_latent",
        "dst_model",
        "dst_step",
        "dst_layer",
        "dst_sae_seed",
        "dst_latent",
    ),
)
SIZE_LINEAGE = replace(
    FEATURE_LINEAGE,
    name="size_lineage",
    description="One row per pair of latents of neighbouring model sizes, in layers of like relative depth at the last "
    "step, of which one is the other's best partner by activations, above both nulls.",
)
MATCHED_LATENTS = Table(
    "matched_latents",
    "One row per latent that is active often enough to be matched.",
    (
        STEP,
        LAYER,
        SAE_SEED,
        LATENT,
        Column("n_active", pl.Int32, "texts of split select on which it is active", "texts", 1),
        CATEGORY.or_null,
    ),
    ("step", "layer", "sae_seed", "latent"),
)
LINEAGE_NODES = Table(
    "lineage_nodes",
    "One row per lineage: latents matched from checkpoint to checkpoint.",
    (
        MODEL,
        Column("lineage_id", pl.String, "layer, step, SAE seed and latent of its first member", "name"),
        LAYER,
        Column("n_members", pl.Int16, "latents in the chain", "latents", 2),
        Column(
            "birth_step_lo",
            pl.Int32,
            "last checkpoint without it; null when the first has it",
            "steps",
            0,
            nullable=True,
        ),
        Column("birth_step_hi", pl.Int32, "first checkpoint with it", "steps", 0),
        Column("death_step_lo", pl.Int32, "last checkpoint with it", "steps", 0),
        Column(
            "death_step_hi",
            pl.Int32,
            "first checkpoint without it; null when the last has it",
            "steps",
            0,
            nullable=True,
        ),
        CATEGORY.or_null,
        Column("n_path_categories", pl.Int16, "different categories of its members", "categories", 0, nullable=True),
        Column(
            "category_path", pl.List(PATH_MEMBER), "category of each member, in order of steps", "name", nullable=True
        ),
        Column("sae_seeds", pl.List(pl.Int16), "SAE seed of each member", "seed", nullable=True),
        Column("latents", pl.List(pl.Int32), "latent of each member", "index", nullable=True),
        Column(
            "drift_cos",
            pl.List(pl.Float32),
            "cosine of each member's direction with the last one's",
            "cosine",
            nullable=True,
        ),
        Column(
            "cos_first_last", pl.Float32, "cosine of the first member's direction with the last one's", "cosine", -1, 1
        ),
        Column("n_splits", pl.Int16, "other latents whose best source a member was", "latents", 0),
        Column("n_merges", pl.Int16, "other latents whose best target a member was", "latents", 0),
        PAIRING,
    ),
    ("model", "lineage_id"),
    (Ordered(("birth_step_lo", "birth_step_hi", "death_step_lo", "death_step_hi")),),
)
