"""The spectrum of rows with a known covariance."""

import numpy as np
import pytest

from emergence_assets.saes.quality.spectrum import MAX_ROWS, row_spectrum


def rows_of(deviation_d: list[float], n_rows: int, seed: int = 0) -> np.ndarray:
    """Make rows with these standard deviations along random orthonormal directions, far from the origin."""
    rng = np.random.default_rng(seed)
    turn, _ = np.linalg.qr(rng.normal(size=(len(deviation_d), len(deviation_d))))
    x_td = rng.normal(size=(n_rows, len(deviation_d))) * deviation_d
    return (x_td @ turn.T + 50).astype(np.float32)


def test_equal_variances_count_every_direction() -> None:
    found = row_spectrum(rows_of([1.0] * 8, 4000))
    assert found.participation_ratio == pytest.approx(8, rel=0.02)
    assert (found.dims_90, found.dims_99) == (8, 8)


def test_two_strong_directions_hold_the_variance() -> None:
    found = row_spectrum(rows_of([10.0, 10.0] + [0.5] * 30, 4000))
    # variances 100, 100 and 30 times 0.25: (207.5)^2 / 20001.9
    assert found.participation_ratio == pytest.approx(207.5**2 / 20001.9, rel=0.03)
    assert found.dims_90 == 2
    assert found.dims_99 == pytest.approx(2 + 30 - 2.07 / 0.25, abs=1)  # 1 % of the variance are 8.3 of the weak ones


def test_fewer_rows_than_dimensions_have_the_spectrum_of_their_inner_products() -> None:
    few = rows_of([1.0] * 40, 10)
    x_td = few.astype(np.float64) - few.mean(axis=0, dtype=np.float64)
    variances = np.linalg.svd(x_td, compute_uv=False) ** 2
    assert row_spectrum(few).participation_ratio == pytest.approx(variances.sum() ** 2 / (variances**2).sum(), rel=1e-6)
    assert row_spectrum(few).dims_99 <= 9


def test_of_many_rows_some_are_measured_and_half_precision_is_enough() -> None:
    many = rows_of([3.0, 1.0, 0.1, 0.1], 3 * MAX_ROWS)
    whole = row_spectrum(many[:MAX_ROWS])
    half = row_spectrum(many[::3].astype(np.float16))
    assert half.participation_ratio == pytest.approx(whole.participation_ratio, rel=0.05)
    assert half.dims_90 == whole.dims_90
