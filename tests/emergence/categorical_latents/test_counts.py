"""Counts over training: means over seeds, sums over categories, beside step 0 and permuted labels."""

import polars as pl

from emergence_assets.emergence.categorical_latents.counts import feature_counts
from emergence_assets.emergence.categorical_latents.table import FEATURE_COUNTS


def cells(n_at: dict[int, float], by_chance: float = 1.0, seeds: tuple[int, ...] = (0, 1)) -> pl.DataFrame:
    """Two categories; the second has twice the count of the first, and seed 1 has two more than seed 0."""
    rows = [
        {
            **{"model": "m", "n_params_nonemb": 10, "step": step, "tokens_seen": step, "layer": 0, "n_layers": 2},
            **{"rel_depth": 0.5, "rule_id": "lift_fdr_v1", "control_id": control, "category_level": "subject"},
            **{"category": name, "n_features": value, "n_passing": value + 1, "n_live": 200, "sae_seed": seed},
            "data_version": "v",
        }
        for step, n in n_at.items()
        for seed in seeds
        for name, factor in (("a", 1), ("b", 2))
        for control, value in (("none", n * factor + 2 * seed), ("label_shuffle", by_chance))
    ]
    return pl.DataFrame(rows)


def test_counts_are_means_over_seeds_with_their_controls_beside_them() -> None:
    table = feature_counts(cells({0: 3.0, 8: 10.0}))
    assert table.schema == FEATURE_COUNTS.schema
    row = table.filter(step=8, control_id="none", aggregate="none", category="b").row(0, named=True)
    assert (row["n_features"], row["n_passing"], row["n_shuffle"]) == (21.0, 22.0, 1.0)
    assert row["n_excess"] == 14.0
    assert row["per_1k_live"] == 105.0
    assert row["n_seeds"] == 2


def test_the_sum_counts_every_category_and_compares_with_its_own_controls() -> None:
    table = feature_counts(cells({0: 3.0, 8: 10.0})).filter(aggregate="sum")
    assert table["category"].null_count() == len(table) == 4
    row = table.filter(step=8, control_id="none").row(0, named=True)
    assert (row["n_features"], row["n_shuffle"], row["n_excess"], row["n_live"]) == (32.0, 2.0, 21.0, 200.0)
    by_chance = table.filter(step=8, control_id="label_shuffle").row(0, named=True)
    assert (by_chance["n_features"], by_chance["n_excess"]) == (2.0, 0.0)


def test_without_step_0_there_is_no_excess() -> None:
    assert feature_counts(cells({8: 10.0}))["n_excess"].null_count() == 6
    assert feature_counts(cells({8: 10.0}).clear()).is_empty()
