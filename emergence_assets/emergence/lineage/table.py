"""Tables of matched latents and of the chains that they form."""

from dataclasses import replace

import polars as pl

from emergence_assets.checkpoints import keys
from emergence_assets.emergence import columns
from resources.tables.columns import choice, count, flag, list_of, share, step, string
from resources.tables.table import Column, Ordered, Table

PATH_MEMBER = pl.Struct({"step": pl.Int32, "category": pl.String})
FEATURE_LINEAGE = Table(
    "feature_lineage",
    "One row per pair of latents of two SAEs of which one is the other's best partner, above both nulls.",
    (
        keys.MODEL,
        string("dst_model", "model of the target"),
        columns.AXIS,
        step("src_step", "step of the source"),
        *columns.SOURCE,
        step("dst_step", "step of the target"),
        *columns.TARGET,
        Column("cos_dec", pl.Float32, "cosine of the decoder directions; null across models", "cosine", -1, 1).or_null,
        Column(
            "corr_act", pl.Float32, "correlation of activations on split select (for matching)", "correlation", -1, 1
        ),
        columns.CORR_SCORE,
        share("jaccard", "texts on which both latents are active as a share of those on which either is"),
        columns.N_JOINT,
        Column("rank_src", pl.Int16, "rank of the source among the target's partners", "rank", 1, 3),
        Column("rank_dst", pl.Int16, "rank of the target among the source's partners", "rank", 1, 3),
        flag("mutual", "whether each latent is the other's best partner"),
        Column("score", pl.Float32, "mean of cos_dec and corr_act; across models corr_act", "score", -1, 1),
        Column(
            "null_p995", pl.Float32, "99.5 % quantile of best scores, target rotated, texts permuted", "score", -1, 1
        ),
        Column(
            "untrained_p995", pl.Float32, "99.5 % quantile of best scores with an untrained dictionary", "score", -1, 1
        ),
        flag("in_assignment", "whether the pair is in the best one-to-one assignment too"),
        choice("method", "mnn: mutual nearest neighbours", ("mnn",)),
        flag("accepted", "whether the pair is mutual, and its score above both nulls"),
        columns.SAME_CATEGORY.or_null,
    ),
    (
        *("axis", "model", "src_step", "src_layer", "src_sae_seed", "src_latent"),
        *("dst_model", "dst_step", "dst_layer", "dst_sae_seed", "dst_latent"),
    ),
)
SIZE_LINEAGE = replace(
    FEATURE_LINEAGE,
    name="size_lineage",
    description="One row per pair of latents of neighbouring model sizes, in layers of similar relative depth at the "
    "last step, of which one is the other's best partner by activations, above both nulls.",
)
MATCHED_LATENTS = Table(
    "matched_latents",
    "One row per latent that is active often enough to be matched.",
    (
        keys.STEP,
        keys.LAYER,
        keys.SAE_SEED,
        keys.LATENT,
        count("n_active", "texts of split select on which the latent is active", "texts", 1),
        keys.CATEGORY.or_null,
    ),
    ("step", "layer", "sae_seed", "latent"),
)
LINEAGE_NODES = Table(
    "lineage_nodes",
    "One row per lineage: latents matched from checkpoint to checkpoint.",
    (
        keys.MODEL,
        string("lineage_id", "layer, step, SAE seed and latent of the first member"),
        keys.LAYER,
        count("n_members", "latents in the lineage", "latents", 2),
        step(
            "birth_step_lo", "last checkpoint before the lineage; null when it begins at the first checkpoint"
        ).or_null,
        step("birth_step_hi", "first checkpoint with the lineage"),
        step("death_step_lo", "last checkpoint with the lineage"),
        step("death_step_hi", "first checkpoint after the lineage; null when it ends at the last checkpoint").or_null,
        keys.CATEGORY.or_null,
        count("n_path_categories", "different categories of the members", "categories").or_null,
        list_of("category_path", "category of each member, in order of steps", "name", PATH_MEMBER).or_null,
        list_of("sae_seeds", "SAE seed of each member", "seed", keys.SAE_SEED.dtype).or_null,
        list_of("latents", "latent of each member", "index", pl.Int32).or_null,
        list_of("drift_cos", "cosine of each member's direction with that of the last member", "cosine").or_null,
        Column("cos_first_last", pl.Float32, "cosine of the first member's direction with the last's", "cosine", -1, 1),
        count("n_splits", "latents outside the lineage whose best source is a member", "latents"),
        count("n_merges", "latents outside the lineage whose best target is a member", "latents"),
        columns.PAIRING,
    ),
    ("model", "lineage_id"),
    (Ordered(("birth_step_lo", "birth_step_hi", "death_step_lo", "death_step_hi")),),
)
