"""Rules by which a latent counts as categorical, with a name and a version.

A rule is never edited: a changed rule gets a new name, so that published counts stay comparable.
"""

from dataclasses import dataclass

import polars as pl


@dataclass(frozen=True)
class Rule:
    """A rule that accepts or rejects a latent for a category by their statistics."""

    rule_id: str
    description: str
    on_select: pl.Expr
    """Condition over columns of `latent_stats` that are taken on split select."""
    on_score: pl.Expr
    """Condition over columns that are taken on split score; it applies only where `on_select` holds."""

    @property
    def condition(self) -> pl.Expr:
        """Expression: true if the latent is categorical for this category; null where a statistic is undefined."""
        return self.on_select & self.on_score


LIFT_FDR_V1 = Rule(
    "lift_fdr_v1",
    "on select: q < 0.05, lift >= 3, at least 5 active texts of the category, active on 10 % of it; "
    "on score: lift >= 2, at least 3 active texts, lower 95 % bound of AUROC above 0.5",
    # Without the support floor and the correction, 41 to 81 % of pure-noise latents pass (design, science 0.5).
    (pl.col("q_cell") < 0.05) & (pl.col("lift") >= 3) & (pl.col("k_c") >= 5) & (pl.col("tpr") >= 0.10),
    (pl.col("lift_score") >= 2) & (pl.col("k_c_score") >= 3) & (pl.col("auroc_score_lo") > 0.5),
)
PURITY_V1 = Rule(
    "purity_v1",
    "on select: at least half of the texts on which the latent is active are of the category, and at least 5; "
    "no criterion on split score",
    # The simplest rule that gives counts per category, and probably the rule of the paper (design, science 1c).
    (pl.col("purity") >= 0.5) & (pl.col("k_c") >= 5),
    pl.lit(True),
)
AUROC_V1 = Rule(
    "auroc_v1",
    "AUROC at least 0.6 on select and on score, with at least 5 active texts of the category on select; "
    "on score the lower 95 % bound above 0.5",
    # 0.6: a latent that is active on a fifth of its category and nowhere else reaches 0.6.
    (pl.col("auroc_select") >= 0.6) & (pl.col("k_c") >= 5),
    (pl.col("auroc_score") >= 0.6) & (pl.col("auroc_score_lo") > 0.5),
)
RULES: dict[str, Rule] = {rule.rule_id: rule for rule in (LIFT_FDR_V1, PURITY_V1, AUROC_V1)}
