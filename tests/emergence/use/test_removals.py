"""Choice of categories, texts and control latents."""

import numpy as np
import polars as pl
import pytest

from emergence_assets.emergence.use.removals import best_latents, equally_strong, risen_categories, texts_of
from emergence_assets.features.statistics.labels import Labels


def over_time(category: str, **changes: object) -> list[dict]:
    """Make the rows of presence and net presence of one category that rises, with changes."""
    row = {"layer_choice": "best", "control_id": "none", "aggregate": "none", "category_level": "subject"}
    row |= {"category": category, "layer": 1, "passes_gate": True, "late_gain_lo": 0.02, "q_emerged": 0.01} | changes
    return [row | {"metric": metric} for metric in ("p_best", "net")]


def test_categories_that_rise_net_of_random_directions_are_chosen() -> None:
    rows = [*over_time("fish"), *over_time("fowl", layer=0)]
    for number, changes in enumerate(
        (
            {"late_gain_lo": -0.01},
            {"q_emerged": 0.2},
            {"passes_gate": False},
            {"passes_gate": None},
            {"layer": -1},
            {"control_id": "label_shuffle"},
            {"layer_choice": "each"},
            {"aggregate": "mean"},
        )
    ):
        rows += over_time(f"not {number}", **changes)
    found = risen_categories(pl.DataFrame(rows, infer_schema_length=None))
    assert found.rows() == [("subject", "fish", 1), ("subject", "fowl", 0)]


def test_texts_are_of_split_score_and_of_the_right_side() -> None:
    codes_p = np.array([0, 1, 2, -1] * 30, dtype=np.int16)
    is_select_p = np.arange(120) % 3 == 0
    labels = Labels("subject", ("a", "b", "c"), codes_p, is_select_p)
    chosen = texts_of(labels, 1, 5, 100, seed=3)
    assert len(chosen.own) == 5
    assert (codes_p[chosen.own] == 1).all()
    assert sorted(chosen.other) == sorted(np.flatnonzero(np.isin(codes_p, (0, 2)) & ~is_select_p))
    assert not is_select_p[np.concatenate(chosen)].any()
    for one, again in zip(chosen, texts_of(labels, 1, 5, 100, seed=3), strict=True):
        np.testing.assert_array_equal(one, again)
    assert any((texts_of(labels, 1, 5, 100, seed=seed).own != chosen.own).any() for seed in range(4, 8))


def test_controls_are_as_strong_and_never_the_latent_itself() -> None:
    energy_n = np.array([0.0, 8.0, 9.9, 10.0, 11.0, 100.0, 0.0])
    assert equally_strong(energy_n, 3, 2).tolist() == [2, 4]
    assert equally_strong(energy_n, 3, 10).tolist() == [2, 4, 1, 5]
    assert equally_strong(energy_n, 0, 3).tolist() == [6]
    assert equally_strong(energy_n[:6], 0, 3).size == 0


def test_a_category_without_a_latent_has_no_entry() -> None:
    rows = pl.DataFrame({"category": ["a", "a", "b", "b"], "sae_seed": [0, 1, 0, 2], "latent": [5, None, 6, 7]})
    assert best_latents(rows, [0, 1]) == {("a", 0): 5, ("b", 0): 6}
    assert best_latents(rows, []) == pytest.approx({})
