"""Retention counts categories that are certainly not worse, not categories without a significant drop."""

import numpy as np
import pytest

from emergence_assets.emergence.compression.retention import (
    Presence,
    mean_presence,
    presence_of,
    retained_c,
    unexplained,
)
from emergence_assets.features.statistics.codes import Codes
from emergence_assets.features.statistics.formulas import bootstrap_weights
from tests.dense_auroc import auroc_nc

N_TEXTS, N_CATEGORIES = 1500, 3


def codes_of(shift: float, seed: int) -> tuple[Codes, np.ndarray]:
    """A latent per category that is larger on it by `shift`."""
    draw = np.random.default_rng(seed)
    category_p = (np.arange(N_TEXTS) % N_CATEGORIES).astype(np.int16)
    values = draw.random((N_TEXTS, N_CATEGORIES)).astype(np.float32)
    values[np.arange(N_TEXTS), category_p] += shift
    return Codes(values, np.tile(np.arange(N_CATEGORIES, dtype=np.int32), (N_TEXTS, 1)), N_CATEGORIES), category_p


def test_presence_is_the_auroc_of_the_chosen_latent() -> None:
    codes, category_p = codes_of(0.5, 0)
    weights_pb = bootstrap_weights(N_TEXTS, 50, 0)
    found = presence_of(codes, category_p, np.array([0, -1, 2]), weights_pb)
    expected_nc = auroc_nc(codes.values_pk, category_p[:, None] == np.arange(N_CATEGORIES))
    np.testing.assert_allclose(found.p_c, [expected_nc[0, 0], 0.5, expected_nc[2, 2]], atol=1e-9)
    np.testing.assert_allclose(found.p_cb.mean(axis=1), found.p_c, atol=0.01)


@pytest.mark.parametrize(("shift", "expected"), [(0.5, 1.0), (0.45, 0.0), (0.0, 0.0)])
def test_a_category_is_kept_if_its_drop_is_small_beyond_doubt(shift: float, expected: float) -> None:
    weights_pb, latent_c = bootstrap_weights(N_TEXTS, 200, 0), np.arange(N_CATEGORIES)
    own = presence_of(*codes_of(0.5, 0), latent_c, weights_pb)
    changed = presence_of(*codes_of(shift, 0), latent_c, weights_pb)
    assert retained_c(own - changed).mean() == expected
    if shift == 0.45:  # a drop of 1.6 to 1.9 points: below the margin, but not certainly
        assert 0.01 < float((own.p_c - changed.p_c).mean()) < 0.03


def test_few_texts_do_not_make_a_model_well_kept() -> None:
    """Noise without a drop is not retained if it is too large for a decision."""
    draw = np.random.default_rng(1)
    drop = Presence(np.zeros(4), draw.normal(0, 0.05, (4, 500)))
    assert not retained_c(drop).any()
    assert retained_c(Presence(np.zeros(4), draw.normal(0, 0.005, (4, 500)))).all()


def test_seeds_are_averaged_and_variance_is_explained() -> None:
    both = mean_presence(
        [Presence(np.array([0.6]), np.array([[0.5, 0.7]])), Presence(np.array([0.8]), np.ones((1, 2)))]
    )
    assert both.p_c.tolist() == pytest.approx([0.7])
    assert both.p_cb.tolist() == [pytest.approx([0.75, 0.85])]
    x_pd = np.random.default_rng(0).normal(3, 1, (50, 4))
    assert unexplained(x_pd, x_pd) == 0
    assert unexplained(x_pd, np.tile(x_pd.mean(axis=0), (50, 1))) == pytest.approx(1)
    assert np.isnan(unexplained(np.ones((3, 2)), np.ones((3, 2))))
