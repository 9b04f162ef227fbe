"""Properties of categorical latents: typical word, correlation with length, examples, strength."""

import numpy as np
import polars as pl
import pytest
from scipy.stats import spearmanr

from emergence_assets.features.statistics.categorical_latents import TextFacts, categorical_latents
from emergence_assets.features.statistics.cell_tables import CellRecipe, latent_stats
from emergence_assets.features.statistics.codes import Codes
from emergence_assets.features.table import CATEGORICAL_LATENTS
from tests.features.statistics.test_cell_tables import planted

RECIPE = CellRecipe(n_boot=20, n_shuffles=3)


def facts_of(codes: Codes, fires: np.ndarray, seed: int = 0) -> TextFacts:
    """Make texts of random words and lengths; the texts on which a latent is active contain "quince"."""
    rng = np.random.default_rng(seed)
    texts = [
        " ".join(["the", *(f"w{i}" for i in rng.integers(0, 300, rng.integers(3, 30))), *(["quince"] if fire else [])])
        for fire in fires
    ]
    return TextFacts.of([f"t{i}" for i in range(len(texts))], texts)


def test_an_accepted_latent_has_the_planted_properties(dense) -> None:
    codes, _, labels = planted()
    facts = facts_of(codes, codes.values_pk[:, 0] > 0)
    stats = latent_stats(codes, [labels], RECIPE)
    found = categorical_latents(codes, stats, facts, norm=2.0)
    assert dict(found.schema) == CATEGORICAL_LATENTS.schema_without("sae_seed")
    assert found.select("latent", "category", "n_categories_passing").rows() == [(7, "c02", 1)]
    row, pair = found.row(0, named=True), stats.filter("passes").row(0, named=True)
    assert row["word"] == "quince"
    assert row["word_excess"] == pytest.approx(1 - (codes.values_pk[:, 0] > 0).mean(), abs=1e-6)
    assert row["strength"] == pytest.approx(pair["mean_act_category"] / 2)
    activation_p = dense(codes)[:, 7]
    assert row["length_corr"] == pytest.approx(spearmanr(activation_p, facts.length_p).statistic, abs=1e-6)
    strongest = np.argsort(-activation_p)[:5]
    assert [one["text_id"] for one in row["top_examples"]] == [f"t{i}" for i in strongest]
    assert [one["activation"] for one in row["top_examples"]] == pytest.approx(activation_p[strongest].tolist())


def test_a_latent_without_a_word_of_its_own_has_a_small_excess() -> None:
    codes, _, labels = planted()
    found = categorical_latents(codes, latent_stats(codes, [labels], RECIPE), facts_of(codes, np.zeros(1500)), 1.0)
    assert found["word_excess"].max() < 0.5


def test_texts_of_one_length_have_no_correlation_with_it() -> None:
    codes, _, labels = planted()
    facts = TextFacts.of([f"t{i}" for i in range(1500)], ["same words"] * 1500)
    found = categorical_latents(codes, latent_stats(codes, [labels], RECIPE), facts, 1.0)
    assert found["length_corr"].to_list() == [None]


def test_nothing_accepted_is_an_empty_table() -> None:
    codes, _, labels = planted()
    stats = latent_stats(codes, [labels], RECIPE).with_columns(passes=pl.lit(False))
    found = categorical_latents(codes, stats, facts_of(codes, np.zeros(1500)), 1.0)
    assert found.is_empty()
    assert dict(found.schema) == CATEGORICAL_LATENTS.schema_without("sae_seed")
