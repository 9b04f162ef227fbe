"""Correlation and overlap from sparse codes equal those from dense arrays."""

import numpy as np
import pytest

from emergence_assets.emergence.lineage.correlation import (
    Activity,
    correlation_block,
    correlation_of_pairs,
    jaccard,
    joint_counts,
    latent_activity,
)
from resources.errors import EmergenceError

EVERY = np.arange(400)


def correlation_nm(one: Activity, other: Activity) -> np.ndarray:
    """Correlate all latents of one SAE with all latents of the other."""
    return correlation_block(one, other, 0, len(one.latent_n))


@pytest.fixture
def both(random_codes):
    return tuple(latent_activity(random_codes(400, 30, 4, seed), EVERY, 1) for seed in (0, 1))


def test_correlation_is_that_of_numpy(both: tuple[Activity, Activity]) -> None:
    one, other = (part.values_pn.toarray() for part in both)
    expected = np.corrcoef(one.T, other.T)[:30, 30:]
    np.testing.assert_allclose(correlation_nm(*both), expected, atol=1e-6)
    np.testing.assert_array_equal(correlation_block(*both, 7, 12), correlation_nm(*both)[7:12])
    pairs = np.array([[0, 3], [29, 0], [4, 4]])
    np.testing.assert_allclose(correlation_of_pairs(*both, pairs), expected[pairs[:, 0], pairs[:, 1]], atol=1e-6)


def test_correlation_of_binary_activity_is_phi(both: tuple[Activity, Activity]) -> None:
    one, other = (part.values_pn.toarray() > 0 for part in both)
    phi = np.corrcoef(one.T, other.T)[:30, 30:]
    np.testing.assert_allclose(correlation_nm(both[0].firing(), both[1].firing()), phi, atol=1e-6)


def test_overlap_is_counted(both: tuple[Activity, Activity]) -> None:
    one, other = (part.values_pn.toarray() > 0 for part in both)
    pairs = np.array([[2, 5], [11, 11]])
    joint = (one[:, pairs[:, 0]] & other[:, pairs[:, 1]]).sum(0)
    either = (one[:, pairs[:, 0]] | other[:, pairs[:, 1]]).sum(0)
    assert joint_counts(*both, pairs).tolist() == joint.tolist()
    counts = (both[0].n_active_n[pairs[:, 0]], both[1].n_active_n[pairs[:, 1]])
    np.testing.assert_allclose(jaccard(joint, *counts), joint / either, rtol=1e-6)


def test_a_latent_correlates_with_itself_and_a_constant_latent_with_none(random_codes) -> None:
    codes = random_codes(400, 30, 4)
    codes.indices_pk[:, 0], codes.values_pk[:, 0] = 0, 2.5  # latent 0 is active on all texts, with one value
    codes.values_pk[:, 1:][codes.indices_pk[:, 1:] == 0] = 0
    activity = latent_activity(codes, EVERY, 1)
    correlation = correlation_nm(activity, activity)
    np.testing.assert_allclose(np.diag(correlation)[1:], 1, atol=1e-6)
    assert not correlation[0].any()
    assert not correlation[:, 0].any()


def test_only_latents_with_support_are_kept_under_their_own_numbers(random_codes) -> None:
    codes = random_codes(400, 30, 4)
    full = latent_activity(codes, EVERY, 1).values_pn.toarray()
    some = np.arange(0, 400, 3)
    activity = latent_activity(codes, some, 20)
    enough = np.flatnonzero((full[some] > 0).sum(0) >= 20)
    assert 0 < len(enough) < 30
    assert activity.latent_n.tolist() == enough.tolist()
    np.testing.assert_array_equal(activity.values_pn.toarray(), full[some][:, enough])
    assert activity.n_active_n.min() >= 20


def test_latents_read_on_other_texts_are_refused(both: tuple[Activity, Activity]) -> None:
    with pytest.raises(EmergenceError, match="same texts"):
        correlation_nm(both[0], both[1].on(np.arange(10)))
