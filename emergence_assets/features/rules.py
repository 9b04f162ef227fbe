"""When a latent counts as categorical: named, versioned policies.

Here: one `Rule` per policy, over the columns of `latent_stats`. A rule is never edited: a changed rule gets a new name,
so that published counts stay comparable. Not here: the statistics themselves (`cell.py`).
"""

from dataclasses import dataclass

import polars as pl

from emergence_assets.errors import EmergenceError


@dataclass(frozen=True)
class Rule:
    """A policy that turns statistics of a latent and a category into yes or no."""

    rule_id: str
    description: str
    condition: pl.Expr
    """Over columns of `latent_stats`; true = the latent is categorical for this category."""


LIFT_FDR_V1 = Rule(
    "lift_fdr_v1",
    "on select: q < 0.05, lift >= 3, at least 5 active texts of the category, active on 10 % of it; "
    "on score: lift >= 2, at least 3 active texts, lower 95 % bound of AUROC above 0.5",
    # Without the support floor and the correction, 41 to 81 % of pure-noise latents pass (design, science 0.5).
    (pl.col("q_cell") < 0.05)
    & (pl.col("lift") >= 3)
    & (pl.col("k_c") >= 5)
    & (pl.col("tpr") >= 0.10)
    & (pl.col("lift_score") >= 2)
    & (pl.col("k_c_score") >= 3)
    & (pl.col("auroc_score_lo") > 0.5),
)

RULES: dict[str, Rule] = {rule.rule_id: rule for rule in (LIFT_FDR_V1,)}


def named_rule(rule_id: str) -> Rule:
    """The rule of that name.

    Raises:
        EmergenceError: there is no such rule.
    """
    if rule_id not in RULES:
        raise EmergenceError(f"there is no rule {rule_id!r}", remedy=f"Use one of: {', '.join(RULES)}.")
    return RULES[rule_id]
