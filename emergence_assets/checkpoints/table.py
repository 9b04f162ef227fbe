"""The table of checkpoints."""

from typing import get_args

import polars as pl

from emergence_assets.checkpoints import keys
from emergence_assets.plan.timeline import Status
from resources.tables.columns import choice, count, flag, list_of, step, string
from resources.tables.table import Column, Table

REGISTRY = Table(
    "checkpoint_registry",
    "One row per step of a model that a study lists or a source offers: identity, similarity to other steps, status.",
    (
        keys.MODEL,
        keys.STEP,
        keys.TOKENS_SEEN,
        string("location", "repository or folder"),
        string("revision", "name of the revision at the source"),
        string("commit_sha", "commit to which the revision is pinned; empty where the source has no commits"),
        string("weights_sha256", "hash of the weights", "hash").or_null,
        count("bytes", "size of the weights files", "bytes", dtype=pl.Int64),
        string("architecture", "class of the model").or_null,
        count("n_layers", "number of blocks", "blocks", 1).or_null,
        count("d_model", "width of the residual stream", "dimensions", 1).or_null,
        count("n_params", "parameters", "parameters", 1, dtype=pl.Int64).or_null,
        count("n_params_nonemb", "parameters without embeddings", "parameters", dtype=pl.Int64).or_null,
        Column("embed_norm_median", pl.Float32, "median norm of the rows of the token embedding", "norm").or_null,
        Column("weight_norm", pl.Float32, "L2 norm of all parameters", "norm", 0).or_null,
        Column("cos_to_step0", pl.Float32, "cosine of the weights with those of step 0", "cosine", -1, 1).or_null,
        Column(
            "cos_to_prev", pl.Float32, "cosine of the weights with those of the previous step", "cosine", -1, 1
        ).or_null,
        Column("cos_to_last", pl.Float32, "cosine of the weights with those of the last step", "cosine", -1, 1).or_null,
        Column("loss", pl.Float32, "mean next-token loss on the fixed text", "nats/token", 0).or_null,
        step("dup_of_step", "step whose weights this step repeats").or_null,
        choice("status", "result of the identity rules", get_args(Status)),
        string("reason", "why the step is not used, or was admitted; empty if it passes all rules", "text"),
        list_of("failed", "identity rules that the step fails", "name", pl.String),
        flag("on_time_axis", "whether the study uses the step"),
        flag("made_here", "whether the study made the step, a step 0 with random weights, from the config"),
        string("upstream", "change that the last verification of the pin found; empty if none", "text"),
        list_of("groups", "tensor groups", "name", pl.String),
        list_of("group_hashes", "xxh3-128 of each group", "hash", pl.String),
        list_of("group_norms", "L2 norm of each group", "norm"),
        list_of("cosine_steps", "steps that `cosines` compares with", "steps", pl.Int32),
        list_of("cosines", "cosine of the weights with those of each step in `cosine_steps`", "cosine"),
    ),
    ("model", "step"),
)


RULES = (
    "files_are_whole",
    "model_is_supported",
    "architecture_is_constant",
    "step_0_is_untrained",
    "weights_are_unique",
    "steps_lie_on_one_trajectory",
)
"""Names of the identity rules, in the order in which they are applied."""
LOSS_MAY_RISE = 0.3
"""Largest rise of the loss over an earlier step, in nats per token; more is a warning."""


def rule_frame(registry: pl.DataFrame) -> pl.DataFrame:
    """Return one column per identity rule and step, true where the step passes, and the column `loss_falls`.

    A missing step fails no rule: there is nothing to check.
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
