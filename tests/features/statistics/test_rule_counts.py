"""Counts of categorical latents: a planted latent counts once, noise and permuted labels do not count."""

from collections.abc import Callable

import numpy as np
import polars as pl
import pytest

from emergence_assets.features.rules import RULES
from emergence_assets.features.statistics.cell_tables import CellRecipe, latent_stats
from emergence_assets.features.statistics.codes import Codes
from emergence_assets.features.statistics.labels import Labels
from emergence_assets.features.statistics.pairs import pair_statistics
from emergence_assets.features.statistics.rule_counts import assigned, rule_counts
from emergence_assets.features.table import RULE_COUNTS
from tests.features.statistics.test_cell_tables import planted

RECIPE = CellRecipe(n_boot=20, n_shuffles=3)


def counted(codes: Codes, labels: Labels) -> pl.DataFrame:
    return rule_counts(codes, [labels], latent_stats(codes, [labels], RECIPE), seed=0, min_texts_per_split=5)


def test_the_planted_latent_is_counted_in_its_category_and_nowhere_else() -> None:
    codes, _, labels = planted()
    counts = counted(codes, labels)
    assert dict(counts.schema) == RULE_COUNTS.schema_without("sae_seed")
    assert len(counts) == len(RULES) * 2 * 8  # also with count 0
    found = counts.filter(control_id="none", rule_id="lift_fdr_v1").filter(pl.col("n_features") > 0)
    assert found.select("category", "n_features", "n_passing").rows() == [("c02", 1.0, 1.0)]
    by_chance = counts.filter(control_id="label_shuffle", rule_id="lift_fdr_v1")
    assert by_chance["n_features"].sum() == 0
    assert counts["n_live"].unique().to_list() == [len(np.unique(codes.indices_pk[codes.values_pk > 0]))]


def test_a_latent_of_two_categories_is_given_one_and_counted_for_both() -> None:
    codes, _, labels = planted()
    merged = np.where(labels.codes_p == 5, 2, labels.codes_p).astype(np.int16)
    # Active on c02, whose texts now alternate between two categories.
    halves = np.where((merged == 2) & (np.arange(len(merged)) % 2 == 0), 5, merged).astype(np.int16)
    split = Labels(labels.level, labels.categories, halves, labels.is_select_p)
    counts = counted(codes, split).filter(control_id="none", rule_id="lift_fdr_v1")
    assert counts["n_features"].sum() == 1
    assert counts["n_passing"].sum() == 2
    passing = latent_stats(codes, [split], RECIPE).filter("passes")
    one = assigned(passing).row(0, named=True)
    assert one["n_categories_passing"] == 2
    assert one["auroc_score"] == passing["auroc_score"].max()


def test_candidates_have_the_numbers_that_all_pairs_have() -> None:
    codes, _, labels = planted()
    every, some = pair_statistics(codes, labels), pair_statistics(codes, labels, pl.col("lift") >= 1.2)
    assert 0 < len(some) < len(every)
    assert some.equals(every.filter(pl.col("lift") >= 1.2))


def test_noise_is_counted_by_no_rule_that_corrects(
    random_codes: Callable[..., Codes], random_labels: Callable[..., Labels]
) -> None:
    codes, labels = random_codes(3000, 64, 8), random_labels(3000, 20)
    counts = counted(codes, labels).group_by("rule_id").agg(pl.col("n_features").sum())
    assert dict(counts.rows())["lift_fdr_v1"] == 0


def test_a_level_without_labels_and_rare_categories_have_no_rows() -> None:
    codes, _, labels = planted()
    nothing = Labels("area", ("a",), np.full(len(labels.codes_p), -1, dtype=np.int16), labels.is_select_p)
    assert counted(codes, nothing).is_empty()
    few = labels.codes_p.copy()
    few[np.flatnonzero(few == 3)[4:]] = 4
    assert "c03" not in counted(codes, Labels("subject", labels.categories, few, labels.is_select_p))["category"]


@pytest.mark.parametrize("rule_id", RULES)
def test_counts_follow_from_the_stored_columns(rule_id: str) -> None:
    codes, _, labels = planted()
    stats = latent_stats(codes, [labels], RECIPE)
    counts = rule_counts(codes, [labels], stats, seed=0, min_texts_per_split=5)
    passing = counts.filter(control_id="none", rule_id=rule_id)["n_passing"].sum()
    assert passing == stats[rule_id].sum()
