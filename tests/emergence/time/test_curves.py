"""Curves: planted parameters are found, the fit is the least-squares fit, and AICc chooses the right curve."""

import numpy as np
import pytest
from scipy.optimize import least_squares

from emergence_assets.emergence.time.curves import N_PARAMETERS, aicc, compare_curves, fit_rises
from resources.errors import EmergenceError

X = np.log10(np.array([0, 1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1000, 2000]) + 1.0)


def logistic(middle: float, width: float) -> np.ndarray:
    return 1 / (1 + np.exp(-(X - middle) / width))


def test_a_rise_without_noise_is_found_exactly() -> None:
    truth = 0.55 + 0.2 * logistic(2.1, 0.3)
    fit = fit_rises(X, np.stack([truth, 1 - truth]))
    np.testing.assert_allclose(fit.middle_rk[:, 0], 2.1, atol=1e-3)
    np.testing.assert_allclose(fit.width_r, 0.3, atol=1e-3)
    np.testing.assert_allclose(fit.amp_rk[:, 0], [0.2, -0.2], atol=1e-3)
    np.testing.assert_allclose(fit.base_r, [0.55, 0.45], atol=1e-3)
    np.testing.assert_allclose(fit.at(X)[0], truth, atol=1e-4)


def test_the_fit_is_that_of_a_general_optimiser_from_many_starts() -> None:
    rng = np.random.default_rng(0)
    y_rs = 0.55 + 0.15 * logistic(2, 0.2) + 0.02 * rng.normal(size=(20, len(X)))
    narrow, wide = np.diff(X).min() / 8, (X[-1] - X[0]) / 4.394
    fit = fit_rises(X, y_rs)
    for y, sse in zip(y_rs, fit.sse_r, strict=True):

        def residual(p: np.ndarray, y: np.ndarray = y) -> np.ndarray:
            return p[0] + p[1] * logistic(p[2], p[3]) - y

        starts = [(0.55, 0.15, middle, width) for middle in (1, 1.5, 2, 2.5) for width in (0.05, 0.2, 0.5)]
        bounds = ([-1, -2, X[0], narrow], [2, 2, X[-1], wide])
        found = min(2 * least_squares(residual, start, bounds=bounds).cost for start in starts)
        assert sse <= 1.03 * found


def test_two_steps_are_found_and_preferred_where_they_are() -> None:
    rng = np.random.default_rng(1)
    truth = 0.55 + 0.1 * logistic(0.8, 0.08) + 0.15 * logistic(2.6, 0.08)
    y_rs = truth + 0.002 * rng.normal(size=(50, len(X)))
    found = compare_curves(X, y_rs)
    assert (found.best_r == "two_step").mean() > 0.9
    np.testing.assert_allclose(np.median(found.two_step.middle_rk, axis=0), [0.8, 2.6], atol=0.1)
    np.testing.assert_allclose(np.median(found.two_step.amp_rk, axis=0), [0.1, 0.15], atol=0.01)


def test_each_curve_is_preferred_where_it_is_the_truth() -> None:
    rng = np.random.default_rng(2)
    noise = 0.01 * rng.normal(size=(100, len(X)))
    for truth, name in ((0 * X, "constant"), (0.08 * X, "linear"), (0.2 * logistic(2, 0.1), "sigmoid")):
        assert (compare_curves(X, 0.55 + truth + noise).best_r == name).mean() > 0.8


def test_a_bump_is_no_second_step() -> None:
    rng = np.random.default_rng(3)
    bump = 0.2 * (np.abs(X - 1.8) < 0.05)
    assert "two_step" not in compare_curves(X, 0.55 + bump + 0.01 * rng.normal(size=(50, len(X)))).best_r


def test_aicc_is_its_formula_and_infinite_without_room() -> None:
    n, k, sse = 13, 5, 0.02
    assert aicc(np.array([sse]), n, k)[0] == pytest.approx(n * np.log(sse / n) + 2 * k + 2 * k * (k + 1) / (n - k - 1))
    assert np.isinf(aicc(np.array([sse]), 6, 5)).all()
    few = compare_curves(X[:4], np.array([[0.5, 0.5, 0.9, 0.9]]))
    assert few.best_r.tolist() == ["constant"]
    assert few.d_aicc_r.tolist() == [-np.inf]
    assert N_PARAMETERS == {"constant": 2, "linear": 3, "sigmoid": 5, "two_step": 7}


def test_no_series_and_impossible_points() -> None:
    assert fit_rises(X, np.zeros((0, len(X))), 2).middle_rk.shape == (0, 2)
    with pytest.raises(EmergenceError, match="ascending"):
        fit_rises(np.array([1.0, 1.0]), np.zeros((1, 2)))
    with pytest.raises(EmergenceError, match="two points"):
        fit_rises(np.array([1.0]), np.zeros((1, 1)))
