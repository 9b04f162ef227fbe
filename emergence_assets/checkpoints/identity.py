"""Names of the identity rules of checkpoints, and the frame that their checks look at.

Belongs here: what definitions have to know; no numpy. Does not belong here: how rows (`registry.py`) and verdicts
(`verdicts.py`) are found.
"""

import polars as pl

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
