"""Shares of a latent's pre-activation: planted parts are found, and a zero contrast is not divided."""

import numpy as np
import pytest

from emergence_assets.emergence.mechanism.contrast import HeadShare, contrasts, shares, top_heads
from emergence_assets.features.statistics.formulas import bootstrap_weights

N_TEXTS = 900
SHARES = np.array([0.5, -0.25, 0.75])


@pytest.fixture
def is_category_p() -> np.ndarray:
    return np.arange(N_TEXTS) % 5 == 0


def planted(is_category_p: np.ndarray, contrast: float, seed: int = 0) -> np.ndarray:
    """Parts whose means differ between the sides by the planted shares, beside constants and noise."""
    draw = np.random.default_rng(seed)
    parts_xp = SHARES[:, None] * contrast * is_category_p + draw.normal(0, 0.5, (3, N_TEXTS))
    return parts_xp + np.array([7.0, -3.0, 0.0])[:, None]


def test_planted_shares_are_found_and_add_up(is_category_p) -> None:
    found = shares(planted(is_category_p, 4.0), is_category_p, bootstrap_weights(N_TEXTS, 200, 0))
    np.testing.assert_allclose(found.share_x, SHARES, atol=0.04)
    assert found.contrast == pytest.approx(4.0, abs=0.2)
    assert found.share_x.sum() == pytest.approx(1, abs=1e-9)
    np.testing.assert_allclose(found.share_xb.sum(axis=0), 1, atol=1e-9)


def test_intervals_cover_the_planted_shares(is_category_p) -> None:
    weights_pb = bootstrap_weights(N_TEXTS, 200, 0)
    covered = []
    for seed in range(60):
        found = shares(planted(is_category_p, 4.0, seed), is_category_p, weights_pb)
        lo, hi = np.quantile(found.share_xb, (0.025, 0.975), axis=1)
        covered.append((lo <= SHARES) & (hi >= SHARES))
    assert 0.88 <= np.mean(covered) <= 1.0


@pytest.mark.parametrize("contrast", [0.0, -2.0])
def test_shares_of_nothing_and_of_less_are_undefined(is_category_p, contrast: float) -> None:
    found = shares(planted(is_category_p, contrast), is_category_p, bootstrap_weights(N_TEXTS, 200, 0))
    assert np.isnan(found.share_x).all()
    assert np.isnan(found.share_xb).all()
    assert np.isfinite(found.contrast)


def test_a_replicate_without_the_category_is_undefined() -> None:
    weights_pb = np.ones((6, 3), np.float32)
    is_category_p = np.array([True, False, False, False, False, False])
    weights_pb[0, 1] = 0
    point_x, replicates_xb = contrasts(np.arange(6.0)[None], is_category_p, weights_pb)
    assert point_x[0] == replicates_xb[0, 0] == pytest.approx(-3)
    assert np.isnan(replicates_xb[0, 1])


def test_heads_of_either_sign_are_listed_from_five_per_cent_on() -> None:
    share_lh = np.array([[0.049, -0.3], [0.05, np.nan]])
    assert top_heads(share_lh, (4, 5)) == [HeadShare(4, 1, -0.3), HeadShare(5, 0, 0.05)]
