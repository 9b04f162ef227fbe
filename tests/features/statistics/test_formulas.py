"""Formulas against scipy, sklearn and simulation."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import false_discovery_control, hypergeom
from sklearn.metrics import mutual_info_score, roc_auc_score

from emergence_assets.features.statistics.formulas import (
    auroc_c,
    benjamini_hochberg,
    bootstrap_auroc_cb,
    bootstrap_weights,
    hypergeometric_tail,
    mutual_information_bits,
    normal_interval,
)
from tests.dense_auroc import auroc_nc, delong_variance_c


@given(st.integers(4, 60), st.integers(1, 6), st.integers(0, 10_000))
@settings(max_examples=60, deadline=None)
def test_auroc_equals_sklearn_with_heavy_ties(n_texts: int, n_levels: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    scores = rng.integers(0, n_levels, (n_texts, 3)).astype(np.float32)
    truth = rng.random((n_texts, 3)) < 0.4
    truth[0], truth[1] = True, False
    expected = [[roc_auc_score(truth[:, c], scores[:, n]) for c in range(3)] for n in range(3)]
    np.testing.assert_allclose(auroc_nc(scores, truth), expected, atol=1e-12)
    np.testing.assert_allclose(auroc_c(scores, truth), np.diag(expected), atol=1e-12)


def test_auroc_is_nan_without_positives() -> None:
    scores, truth = np.arange(5.0)[:, None], np.zeros((5, 1))
    assert np.isnan(auroc_nc(scores, truth)).all()
    assert np.isnan(auroc_c(scores, truth)).all()
    assert np.isnan(delong_variance_c(scores, truth)).all()


def test_delong_agrees_with_the_bootstrap() -> None:
    rng = np.random.default_rng(3)
    truth = rng.random(500) < 0.2
    score = rng.normal(size=500) + truth
    replicates = [roc_auc_score(truth[draw], score[draw]) for draw in (rng.integers(0, 500, 500) for _ in range(800))]
    variance = delong_variance_c(score[:, None], truth[:, None])[0]
    assert np.sqrt(variance) == pytest.approx(np.std(replicates), rel=0.12)


@pytest.mark.parametrize(("n_positive", "shift"), [(15, 1.0), (60, 0.3), (60, 2.0), (250, 1.0)])
def test_replicates_of_a_probe_are_those_of_weighted_texts(n_positive: int, shift: float) -> None:
    """To first order: the omitted part is small against a replicate's deviation, and adds nothing to the interval."""
    rng = np.random.default_rng(n_positive)
    truth = np.arange(500) < n_positive
    scores = np.round(rng.normal(size=500) + shift * truth, 1)
    weights = bootstrap_weights(500, 150, 1)
    exact = [roc_auc_score(truth, scores, sample_weight=weights[:, b]) for b in range(150)]
    found = bootstrap_auroc_cb(scores[:, None], truth[:, None], weights)[0]
    assert np.std(found - exact) < 0.08 * np.std(exact)
    assert np.std(found) == pytest.approx(np.std(exact), rel=0.03)
    whole = bootstrap_auroc_cb(scores[:, None], truth[:, None], np.full((500, 1), 2.0))
    assert whole[0, 0] == pytest.approx(roc_auc_score(truth, scores))


def test_a_replicate_without_a_text_of_the_category_is_undefined() -> None:
    scores, truth = np.arange(4.0)[:, None], np.array([[0], [0], [0], [1]])
    found = bootstrap_auroc_cb(scores, truth, np.array([[1, 2], [1, 1], [1, 1], [1, 0]]))
    np.testing.assert_array_equal(found, [[1.0, np.nan]])


def test_delong_interval_covers_the_true_value() -> None:
    rng = np.random.default_rng(4)
    truth = np.zeros((300, 400), dtype=bool)
    truth[:60] = True
    scores = rng.normal(size=truth.shape) + truth
    expected = 0.7602499389065233  # Phi(1 / sqrt 2): two unit normals at distance 1
    lo, hi = normal_interval(auroc_c(scores, truth), delong_variance_c(scores, truth))
    assert 0.92 < np.mean((lo < expected) & (expected < hi)) < 0.98


@given(st.data())
@settings(max_examples=80, deadline=None)
def test_hypergeometric_tail_equals_scipy(data: st.DataObject) -> None:
    n = data.draw(st.integers(1, 3000))
    n_category, k_total = data.draw(st.integers(0, n)), data.draw(st.integers(0, n))
    k = data.draw(st.integers(0, min(n_category, k_total)))
    expected = hypergeom.sf(k - 1, n, n_category, k_total)
    assert hypergeometric_tail(k, n, n_category, k_total) == pytest.approx(expected, rel=1e-8, abs=1e-11)


def test_hypergeometric_tail_keeps_the_shape_of_its_arguments() -> None:
    k = np.array([[3, 5, 0], [40, 20, 60]])
    tail = hypergeometric_tail(k, 2000, 60, np.array([[10, 10, 10], [100, 100, 60]]))
    np.testing.assert_allclose(tail, hypergeom.sf(k - 1, 2000, 60, [[10, 10, 10], [100, 100, 60]]), rtol=1e-8)


def test_tests_that_are_not_given_count_as_hopeless() -> None:
    p = np.array([1e-6, 1e-3, 0.2])
    whole = false_discovery_control(np.concatenate([p, np.ones(97)]))[:3]
    assert (benjamini_hochberg(p, 100) >= whole - 1e-15).all()
    np.testing.assert_allclose(benjamini_hochberg(p, 100)[:2], whole[:2])
    np.testing.assert_allclose(benjamini_hochberg(p), false_discovery_control(p))
    assert benjamini_hochberg([]).size == 0


def test_mutual_information_equals_sklearn() -> None:
    rng = np.random.default_rng(0)
    fires, member = rng.random(400) < 0.1, rng.random(400) < 0.2
    bits = mutual_information_bits((fires & member).sum(), 400, member.sum(), fires.sum())
    assert float(bits) == pytest.approx(mutual_info_score(fires, member) / np.log(2), abs=1e-12)
    assert float(mutual_information_bits(0, 10, 3, 0)) == 0


def test_bootstrap_weights_are_the_same_in_every_cell() -> None:
    weights = bootstrap_weights(100, 20, 7)
    bootstrap_weights.cache_clear()
    np.testing.assert_array_equal(weights, bootstrap_weights(100, 20, 7))
    assert (weights.sum(axis=0) == 100).all()
    assert not np.array_equal(weights, bootstrap_weights(100, 20, 8))
