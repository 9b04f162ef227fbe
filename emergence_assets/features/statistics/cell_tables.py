"""Latent statistics and dense probes of one cell: one SAE of one model, step and layer.

Shape suffixes: p texts, d d_model, c categories.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from emergence_assets.features.rules import RULES
from emergence_assets.features.statistics.codes import Codes
from emergence_assets.features.statistics.labels import Labels, shuffled_labels, text_weights
from emergence_assets.features.statistics.linear_probes import ProbeScore, dense_probe_auroc
from emergence_assets.features.statistics.pairs import pair_statistics
from emergence_assets.features.table import LATENT_STATS
from resources.errors import EmergenceError, require_known

_STATS = LATENT_STATS.schema_without("sae_seed")


@dataclass(frozen=True)
class CellRecipe:
    """Settings that affect the numbers of a cell, besides its inputs."""

    rule_id: str = "lift_fdr_v1"
    """Rule by which a latent counts as categorical."""
    n_boot: int = 200
    """Bootstrap replicates over texts."""
    boot_seed: int = 0
    """Seed of the text weights; the same in every cell, so that cells are paired."""
    n_shuffles: int = 5
    """Label permutations of the control `label_shuffle`."""
    shuffle_seed: int = 0
    """Seed of the permutations."""
    min_texts_per_split: int = 5
    """A category with fewer texts on a side of the split has no presence."""
    ridge_strength: float = 0.01
    """Penalty of the dense probe per select text, on standardised inputs."""

    def __post_init__(self) -> None:
        """Refuse recipes without margins or controls."""
        if min(self.n_boot, self.n_shuffles, self.min_texts_per_split) < 2:
            raise EmergenceError(
                "a cell needs at least 2 bootstrap replicates, 2 label shuffles and 2 texts per category and split",
                where=self,
            )
        require_known("rule", [self.rule_id], RULES)

    @classmethod
    def from_settings(cls, settings: Mapping[str, Any]) -> "CellRecipe":
        """Make a recipe from the section `statistics` of a study, as plain values."""
        return cls(
            rule_id=settings["rule_id"],
            n_boot=settings["n_bootstrap"],
            boot_seed=settings["seed"],
            n_shuffles=settings["n_shuffles"],
            shuffle_seed=settings["seed"],
        )


def latent_stats(codes: Codes, labels: Sequence[Labels], recipe: CellRecipe) -> pl.DataFrame:
    """Compute statistics of every latent × category pair with support; one row each, see `LATENT_STATS`.

    Counts, rates (shares of texts), lift, p, q, mutual information (bits) and mean activations (in units of the
    latent, zeros included) are taken on split select; columns with `score` in their name on split score, with
    DeLong's 95 % interval. `q_cell` is Benjamini-Hochberg over all live latents × categories of the level in this cell.
    Every rule has a column that is true if it accepts the pair; `passes` is the column of the recipe's rule.
    """
    require_one_label_per_text(codes, labels)
    frames = [pair_statistics(codes, level) for level in labels]
    stats = pl.concat(frames) if frames else pl.DataFrame()
    if stats.is_empty():
        return _STATS.to_frame()
    return (
        # fill_null: an AUROC that is undefined (no text on split score) is no evidence
        stats.with_columns(rule.condition.fill_null(False).alias(rule.rule_id) for rule in RULES.values())
        .with_columns(rule_id=pl.lit(recipe.rule_id), passes=pl.col(recipe.rule_id))
        .select(pl.col(name).cast(dtype) for name, dtype in _STATS.items())
        .sort("category_level", "latent", "category")
    )


def dense_scores(
    read_out_pd: NDArray[np.floating], labels: Sequence[Labels], recipe: CellRecipe
) -> tuple[ProbeScore, ...]:
    """Score the dense probe of every level on the raw read-outs; the result is the same for all SAEs of a cell."""
    return tuple(
        dense_probe_auroc(
            read_out_pd,
            level,
            shuffled_labels(level, recipe.n_shuffles, recipe.shuffle_seed),
            recipe.ridge_strength,
            text_weights(level, recipe.n_boot, recipe.boot_seed),
        )
        for level in labels
    )


def require_one_label_per_text(codes: Codes, labels: Sequence[Labels]) -> None:
    """Refuse codes and labels of different texts.

    Raises:
        EmergenceError: the numbers of codes and labels differ.
    """
    for level in labels:
        if len(level.codes_p) != len(codes.values_pk):
            raise EmergenceError(
                f"{len(codes.values_pk)} codes for {len(level.codes_p)} labelled texts",
                where=f"level {level.level}",
                remedy="Rematerialise the cell with this probe set.",
            )
