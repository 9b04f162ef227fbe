"""Number of categorical latents of a cell under every rule, with the true labels and with permuted labels.

A count without its permuted control is no evidence: with 57 categories, 8 % of pure-noise latents pass a bare lift of 3
with 5 texts (design, science 7).
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from functools import reduce
from operator import or_

import numpy as np
import polars as pl

from emergence_assets.features.rules import RULES, Rule
from emergence_assets.features.statistics.codes import Codes
from emergence_assets.features.statistics.labels import Labels, shuffled_labels
from emergence_assets.features.statistics.pairs import pair_statistics
from emergence_assets.features.table import RULE_COUNTS

_SCHEMA = RULE_COUNTS.schema_without("sae_seed")
_Row = tuple[str, str, str, str, float, float, int]
N_SHUFFLES = 1
"""Permutations per count. One is enough, because counts over all categories, seeds and cells are used together."""


def rule_counts(
    codes: Codes, labels: Sequence[Labels], stats: pl.DataFrame, *, seed: int, min_texts_per_split: int
) -> pl.DataFrame:
    """Count the categorical latents of one SAE: one row per rule, control, level and category, also with count 0.

    `n_features`: latents that are assigned to the category; a latent is assigned to the category with the highest AUROC
    on split score among the categories for which it passes. `n_passing`: all latents that pass for the category.
    Under `label_shuffle` both are means over `N_SHUFFLES` permutations within each side of the split. `n_live`: latents
    active on any text with a label at the level.

    Args:
        codes: codes of all probe texts.
        labels: labels of every level.
        stats: `cell_tables.latent_stats` of these codes and labels.
        seed: seed of the permutations.
        min_texts_per_split: categories with fewer texts on a side have no row.
    """
    candidates = reduce(or_, (rule.on_select for rule in RULES.values()))
    rows: list[_Row] = []
    for level in labels:
        is_usable = level.is_usable(min_texts_per_split).any()
        shuffled = shuffled_labels(level, N_SHUFFLES, seed) if is_usable else []
        permuted = [pair_statistics(codes, labelling, candidates) for labelling in shuffled]
        rows += _rows(codes, level, [_of_level(stats, level)], "none", min_texts_per_split)
        rows += _rows(codes, level, permuted, "label_shuffle", min_texts_per_split)
    return pl.DataFrame(rows, schema=_SCHEMA, orient="row")


def random_rule_counts(
    codes: Codes, labels: Sequence[Labels], stats: pl.DataFrame, *, min_texts_per_split: int
) -> pl.DataFrame:
    """Count the categorical latents of a random encoder as `rule_counts` does: rows with control `random_encoder`."""
    rows: list[_Row] = []
    for level in labels:
        rows += _rows(codes, level, [_of_level(stats, level)], "random_encoder", min_texts_per_split)
    return pl.DataFrame(rows, schema=_SCHEMA, orient="row")


def assigned(passing: pl.DataFrame, by: Sequence[str] = ("latent",)) -> pl.DataFrame:
    """Choose per latent the passing pair with the highest AUROC on split score, and count its passing pairs.

    Args:
        passing: rows of `latent_stats` that pass.
        by: columns that identify a latent.

    Returns:
        One row per latent with `n_categories_passing` added; of equal AUROC the first category by name.
    """
    return (
        passing.with_columns(n_categories_passing=pl.len().over(by).cast(pl.Int16))
        .sort(*by, pl.col("auroc_score").fill_null(0.0), "category", descending=[*(False for _ in by), True, False])
        .unique(list(by), keep="first", maintain_order=True)
    )


def _of_level(stats: pl.DataFrame, level: Labels) -> pl.DataFrame:
    return stats.filter(pl.col("category_level") == level.level)


def _rows(
    codes: Codes, level: Labels, labellings: Sequence[pl.DataFrame], control_id: str, min_texts_per_split: int
) -> list[_Row]:
    """Count for every rule and category with enough texts."""
    kept = [level.categories[c] for c in np.flatnonzero(level.is_usable(min_texts_per_split))]
    active_n = sum(codes.entries(level.rows(select=select)).n_active_n for select in (True, False))
    n_live = int(np.count_nonzero(active_n))
    rows = []
    for rule in RULES.values():
        features, passing = _counted(labellings, rule)
        rows += [(rule.rule_id, control_id, level.level, name, features[name], passing[name], n_live) for name in kept]
    return rows


def _counted(labellings: Sequence[pl.DataFrame], rule: Rule) -> tuple[Mapping[str, float], Mapping[str, float]]:
    """Count the latents assigned to each category and the latents that pass for it: means over the labellings."""
    features, passes = defaultdict[str, float](float), defaultdict[str, float](float)
    for pairs in labellings:
        passing = pairs.filter(rule.condition)
        if passing.is_empty():  # as nearly always under permuted labels
            continue
        for counted, part in ((features, assigned(passing)), (passes, passing)):
            for name in part["category"].to_list():
                counted[name] += 1 / len(labellings)
    return features, passes
