"""Predicted power equals the rates of the statistics and of the rule on drawn texts."""

import numpy as np
import pytest

from emergence_assets.features.probe_quality.power import acceptance_chance, auroc_standard_error, smallest_rise
from emergence_assets.features.statistics.cell_tables import CellRecipe, latent_stats
from emergence_assets.features.statistics.codes import Codes
from emergence_assets.features.statistics.labels import Labels
from tests.dense_auroc import auroc_nc


@pytest.mark.parametrize(("n", "expected"), [(100, 0.045), (240, 0.029), (400, 0.023), (800, 0.016)])
def test_standard_errors_are_those_of_the_design(n: int, expected: float):
    """Of 40 % of n texts against very many others."""
    assert auroc_standard_error(round(0.4 * n), 100_000) == pytest.approx(expected, abs=0.0006)


def test_standard_error_is_the_spread_of_auroc_over_draws():
    rng = np.random.default_rng(0)
    n_c, n_o, draws = 50, 400, 800
    # Exponential scores, for which Hanley and McNeil's formula is exact: P(c > o) = 3/4 at three times the mean.
    scores = np.concatenate([rng.exponential(3, (n_c, draws)), rng.exponential(1, (n_o, draws))])
    found = auroc_nc(scores, np.arange(n_c + n_o)[:, None] < n_c)[:, 0]
    assert found.mean() == pytest.approx(0.75, abs=0.005)
    assert found.std() == pytest.approx(auroc_standard_error(n_c, n_o), rel=0.08)
    assert np.isnan(auroc_standard_error(0, 10))


@pytest.mark.parametrize(
    ("n_c", "n_o", "tpr", "fpr"),
    [(40, 600, 0.15, 0.01), (40, 600, 0.3, 0.03), (120, 1200, 0.1, 0.01), (60, 300, 0.5, 0.15), (60, 300, 0.2, 0.1)],
)
def test_chance_is_how_often_the_rule_accepts(n_c: int, n_o: int, tpr: float, fpr: float):
    """600 latents of the same rates, each a case of its own, through the statistics of a cell and the rule itself."""
    rng = np.random.default_rng(1)
    n_latents, n = 600, 2 * (n_c + n_o)
    category = np.tile(np.repeat([0, 1], [n_c, n_o]), 2).astype(np.int16)
    labels = Labels("level", ("c", "other"), category, np.arange(n) < n // 2)
    active = rng.random((n, n_latents)) < np.where(category == 0, tpr, fpr)[:, None]
    indices = np.broadcast_to(np.arange(n_latents, dtype=np.int32), active.shape)
    stats = latent_stats(Codes(active.astype(np.float32), indices, n_latents), [labels], CellRecipe())
    of_category = stats.filter(category="c")
    # q < 0.05 is p < the largest accepted p: Benjamini and Hochberg's threshold in this cell.
    passed = of_category.filter(of_category["q_cell"] < 0.05)["p_hyper"]
    max_p = float(passed.max()) * (1 + 1e-9)  # pyright: ignore[reportArgumentType]
    expected = acceptance_chance(tpr, fpr, (n_c, n_o), (n_c, n_o), max_p)
    share = of_category["passes"].sum() / n_latents
    assert 0 < expected < 1
    assert share == pytest.approx(expected, abs=4 * (expected * (1 - expected) / n_latents) ** 0.5 + 0.002)


def test_more_texts_and_more_contrast_help_and_a_stricter_level_hurts():
    few, many = (acceptance_chance(0.15, 0.01, (n, 2000), (n, 2000), 1e-5) for n in (40, 120))
    assert few < many
    assert acceptance_chance(0.15, 0.01, (40, 2000), (40, 2000), 1e-3) > few
    assert acceptance_chance(0.02, 0.01, (400, 2000), (400, 2000), 1e-5) < 1e-6  # the rule requires TPR >= 0.10
    assert acceptance_chance(0.9, 0.5, (40, 2000), (40, 2000), 1e-5) < 1e-6  # and a lift of 3
    assert acceptance_chance(0.9, 0.0, (1, 20), (1, 20), 1e-5) == 0


def test_chances_at_the_designs_settings():
    """40 % of 100 and 240 texts among 57 categories, p < 1e-5; docs/probe-sets.md compares them with the design's."""
    for n, total, expected in ((100, 5700, (0.07, 0.38, 0.53, 0.88, 0.96)), (240, 14000, (0.46, 0.92, 0.99, 1, 1))):
        sizes = (round(0.4 * n), round(0.4 * (total - n)))
        rates = ((0.10, 0.01), (0.15, 0.01), (0.20, 0.02), (0.30, 0.03), (0.50, 0.10))
        found = [acceptance_chance(tpr, fpr, sizes, sizes, 1e-5) for tpr, fpr in rates]
        assert found == pytest.approx(expected, abs=0.006)


def test_the_smallest_rise_is_found_with_the_power_that_is_stated():
    rng, error = np.random.default_rng(2), 0.03
    for n_checkpoints in (2, 4, 13):
        rise = smallest_rise(error, n_checkpoints)
        n_late = min(3, n_checkpoints - 1)
        first, late = rng.normal(0, error, 20_000), rng.normal(rise, error, (20_000, n_late)).mean(axis=1)
        found = late - first > 1.96 * error * np.sqrt(1 + 1 / n_late)
        assert found.mean() == pytest.approx(0.8, abs=0.01)


def test_the_smallest_rise_falls_with_texts_and_has_a_floor():
    assert smallest_rise(0.04) == pytest.approx(2 * smallest_rise(0.02))
    assert smallest_rise(0.04, 2) > smallest_rise(0.04, 13)
    assert smallest_rise(1e-6) == 0.05
    assert smallest_rise(0.01, 1) == float("inf")
