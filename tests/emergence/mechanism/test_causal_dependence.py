"""A late latent after the ablation is compared with its value before; control latents are active equally often."""

import numpy as np
import pytest

from emergence_assets.emergence.mechanism.causal_dependence import causal_dependence, equally_frequent


def test_silent_unmoved_and_released_latents() -> None:
    clean_p = np.array([2.0, 0.0, 1.0, 1.0, 1.0, 1.0])
    changed_vp = np.stack([0 * clean_p, clean_p, 2 * clean_p, clean_p * [0, 1, 1, 1, 1, 1]])
    weights_pb = np.array([[1, 2], [1, 0], [1, 1], [1, 1], [1, 1], [1, 1]], np.float32)
    cdi_v, cdi_vb = causal_dependence(clean_p, changed_vp, weights_pb)
    np.testing.assert_allclose(cdi_v, [1, 0, -1, 1 / 3])
    np.testing.assert_allclose(cdi_vb[:, 0], cdi_v)
    assert cdi_vb[3, 1] == pytest.approx(4 / 8)


def test_a_late_latent_that_is_hardly_ever_active_has_no_dependence() -> None:
    clean_p = np.array([1.0, 1, 1, 1, 0, 0])
    cdi_v, cdi_vb = causal_dependence(clean_p, np.zeros((2, 6)), np.ones((6, 4)))
    assert np.isnan(cdi_v).all()
    assert np.isnan(cdi_vb).all()
    assert np.isfinite(causal_dependence(np.array([1.0, 1, 1, 1, 1, 0]), np.zeros((2, 6)), np.ones((6, 4)))[0]).all()


def test_controls_fire_as_often_and_are_others() -> None:
    rate_n = np.array([0.5, 0.0, 0.45, 0.9, 0.52, 0.1])
    assert equally_frequent(rate_n, 0, 3).tolist() == [4, 2, 3]
    assert equally_frequent(rate_n, 0, 9).tolist() == [4, 2, 3, 5]
    assert equally_frequent(np.array([0.5, 0.0]), 0, 2).tolist() == []
