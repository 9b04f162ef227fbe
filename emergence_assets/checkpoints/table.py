"""The table of checkpoints."""

from typing import get_args

import polars as pl

from emergence_assets.checkpoints.columns import MODEL, STEP, TOKENS_SEEN
from emergence_assets.plan.timeline import Status
from resources.tables.table import Column, Table

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


RULES = (
    "files_are_whole",
    "architecture_is_constant",
    "step_0_is_untrained",
    "weights_are_unique",
    "steps_lie_on_one_trajectory",
)
"""Names of the identity rules, in the order in which they are judged."""
LOSS_MAY_RISE = 0.3
"""Nats by which the loss may exceed that of an earlier step: more is a warning."""


def rule_frame(registry: pl.DataFrame) -> pl.DataFrame:
    """Model and step with a column per identity rule, true where the step passes; and whether the loss falls.

    A step that is missing fails no rule: there is nothing to judge.
    """
    losses = registry.select("model", "step", "loss", "on_time_axis").sort("model", "step")
    earlier = pl.when("on_time_axis").then("loss").otherwise(None).cum_min().shift(1).forward_fill().over("model")
    falls = losses.with_columns(
        loss_falls=(~pl.col("on_time_axis") | (pl.col("loss") <= earlier + LOSS_MAY_RISE)).fill_null(True)
    )
    rules = [(~pl.col("failed").list.contains(rule)).alias(rule) for rule in RULES]
    return registry.select("model", "step", "status", *rules).join(
        falls.select("model", "step", "loss_falls"), on=["model", "step"], how="left"
    )
