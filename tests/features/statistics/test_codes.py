"""Sparse rank statistics equal the dense formulas."""

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from emergence_assets.features.statistics.codes import Codes, bootstrap_auroc, delong_variance_nc, sparse_auroc_nc
from emergence_assets.features.statistics.formulas import bootstrap_weights
from resources.errors import EmergenceError
from tests.dense_auroc import auroc_nc, delong_variance_c

many = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@given(st.integers(8, 60), st.integers(2, 9), st.integers(0, 4), st.integers(0, 10_000))
@many
def test_sparse_statistics_equal_the_dense_ones(
    random_codes: Callable[..., Codes],
    dense: Callable[..., np.ndarray],
    n_texts: int,
    n_latents: int,
    n_levels: int,
    seed: int,
) -> None:
    codes = random_codes(n_texts, n_latents, max(1, n_latents // 2), seed, n_levels)
    rng = np.random.default_rng(seed)
    rows = np.sort(rng.choice(n_texts, n_texts - 2, replace=False))
    category = rng.integers(0, 3, len(rows))
    category[:6] = [0, 1, 2, 0, 1, 2]
    truth = category[:, None] == np.arange(3)
    scores = dense(codes)[rows]
    entries = codes.entries(rows)
    auroc = sparse_auroc_nc(entries, category, 3)
    np.testing.assert_allclose(auroc, auroc_nc(scores, truth), atol=1e-12)
    variance = [delong_variance_c(np.repeat(scores[:, [n]], 3, axis=1), truth) for n in range(n_latents)]
    np.testing.assert_allclose(delong_variance_nc(entries, category, 3, auroc), variance, atol=1e-12)


@given(st.integers(0, 4), st.integers(0, 10_000))
@many
def test_a_replicate_is_the_auroc_of_the_repeated_texts(
    random_codes: Callable[..., Codes], dense: Callable[..., np.ndarray], n_levels: int, seed: int
) -> None:
    codes = random_codes(40, 6, 3, seed, n_levels)
    category = np.arange(40) % 3
    weights = bootstrap_weights(40, 4, seed)
    latents = np.array([5, 5, 2])
    replicates = bootstrap_auroc(codes.entries(np.arange(40)), category, latents, weights)
    for b in range(4):
        drawn = np.repeat(np.arange(40), weights[:, b].astype(int))
        expected = auroc_nc(dense(codes)[drawn], category[drawn, None] == np.arange(3))
        np.testing.assert_allclose(replicates[:, b], expected[latents, np.arange(3)], atol=1e-9)


def test_no_latent_gives_chance_and_an_undrawn_category_nothing(random_codes: Callable[..., Codes]) -> None:
    codes = random_codes(10, 4, 2)
    category = np.array([0] + [1] * 9)
    weights = np.ones((10, 2), dtype=np.float32)
    weights[0, 1] = 0
    replicates = bootstrap_auroc(codes.entries(np.arange(10)), category, np.array([1, -1]), weights)
    assert np.isfinite(replicates[0, 0])
    assert np.isnan(replicates[0, 1])
    assert (replicates[1] == 0.5).all()


def test_dead_codes_are_at_chance_with_no_spread() -> None:
    codes = Codes(np.zeros((12, 2), dtype=np.float32), np.zeros((12, 2), dtype=np.int32), 5)
    entries, category = codes.entries(np.arange(12)), np.arange(12) % 3
    auroc = sparse_auroc_nc(entries, category, 3)
    assert (auroc == 0.5).all()
    np.testing.assert_allclose(delong_variance_nc(entries, category, 3, auroc), 0, atol=1e-15)


@pytest.mark.parametrize(
    ("values", "indices", "word"),
    [
        (np.ones((2, 2)), np.zeros((2, 3)), "shape"),
        (np.array([[np.nan, 1.0]]), np.array([[0, 1]]), "NaN"),
        (np.ones((1, 2)), np.array([[0, 9]]), "outside"),
        (np.ones((1, 2)), np.array([[-1, 1]]), "outside"),
        (np.ones((1, 2)), np.array([[1, 1]]), "twice"),
    ],
)
def test_broken_codes_are_refused(values: np.ndarray, indices: np.ndarray, word: str) -> None:
    with pytest.raises(EmergenceError, match=word):
        Codes(values.astype(np.float32), indices.astype(np.int32), 4)


def test_inactive_entries_may_point_anywhere() -> None:
    codes = Codes(np.array([[1.0, 0.0, 0.0]], np.float32), np.array([[2, 2, 99]], np.int32), 4)
    assert codes.entries(np.array([0])).n_active_n.tolist() == [0, 0, 1, 0]
