"""The table of checkpoints."""

from typing import get_args

import polars as pl

from emergence_assets.columns import MODEL, STEP, TOKENS_SEEN
from emergence_assets.table import Column, Table
from emergence_assets.time_axis import Status

REGISTRY = Table(
    "checkpoint_registry",
    "One row per step of a model that is wanted or offered: identity, likeness to the others, verdict.",
    (
        MODEL,
        STEP,
        TOKENS_SEEN,
        Column("location", pl.String, "repository or folder", "name"),
        Column("revision", pl.String, "name at the source", "name"),
        Column("commit_sha", pl.String, "commit that it is pinned to; empty where there are none", "name"),
        Column("weights_sha256", pl.String, "hash of the weights", "hash", nullable=True),
        Column("bytes", pl.Int64, "size of the weights files", "bytes", 0),
        Column("architecture", pl.String, "class of the model", "name", nullable=True),
        Column("n_layers", pl.Int32, "number of blocks", "blocks", 1, nullable=True),
        Column("d_model", pl.Int32, "width of the residual stream", "dimensions", 1, nullable=True),
        Column("n_params", pl.Int64, "parameters", "parameters", 1, nullable=True),
        Column("n_params_nonemb", pl.Int64, "parameters without embeddings", "parameters", 0, nullable=True),
        Column(
            "embed_norm_median", pl.Float32, "median norm of the rows of the token embedding", "norm", nullable=True
        ),
        Column("weight_norm", pl.Float32, "L2 norm of all parameters", "norm", 0, nullable=True),
        Column("cos_to_step0", pl.Float32, "cosine of the weights to step 0", "cosine", -1, 1, nullable=True),
        Column("cos_to_prev", pl.Float32, "to the step before", "cosine", -1, 1, nullable=True),
        Column("cos_to_last", pl.Float32, "to the last step", "cosine", -1, 1, nullable=True),
        Column("loss", pl.Float32, "mean next-token loss on the fixed text", "nats/token", 0, nullable=True),
        Column("dup_of_step", pl.Int32, "step whose weights it repeats", "steps", 0, nullable=True),
        Column("status", pl.String, "verdict", "name", one_of=get_args(Status)),
        Column("reason", pl.String, "why it is not used, or was admitted; empty when nothing is wrong", "text"),
        Column("failed", pl.List(pl.String), "identity rules that it fails", "name"),
        Column("on_time_axis", pl.Boolean, "whether the study uses it", "truth"),
        Column("upstream", pl.String, "what the last verification of its pin found; empty when nothing", "text"),
        Column("groups", pl.List(pl.String), "tensor groups", "name"),
        Column("group_hashes", pl.List(pl.String), "xxh3-128 of each group", "hash"),
        Column("group_norms", pl.List(pl.Float32), "L2 norm of each group", "norm"),
        Column("cosine_steps", pl.List(pl.Int32), "steps that `cosines` compares with", "steps"),
        Column("cosines", pl.List(pl.Float32), "cosine of the weights to each of them", "cosine"),
    ),
    ("model", "step"),
)
