"""Effective dimension of the rows that an SAE reconstructs.

Where few directions hold the variance, k latents of almost any dictionary reconstruct the rows, and sparsity constrains
nothing (the spark condition of arXiv 2505.20254: k below half of the dimension that is used).

Shape suffixes: t tokens (rows), d d_model.
"""

from dataclasses import dataclass

import numpy as np

MAX_ROWS = 4096
"""Most rows whose spectrum is measured; that of more rows differs little."""


@dataclass(frozen=True)
class Spectrum:
    """Spectrum of the covariance of rows."""

    participation_ratio: float
    """(Σ λ)² / Σ λ² of its eigenvalues λ: as many directions of equal variance have the same ratio."""
    dims_90: int
    """Number of leading directions with 90 % of the variance."""
    dims_99: int
    """Number of leading directions with 99 % of the variance."""


def row_spectrum(rows_td: np.ndarray) -> Spectrum:
    """Measure the spectrum of the covariance of rows.

    Args:
        rows_td: rows × d_model, finite and not all equal; the cost grows with them, see `MAX_ROWS`.
    """
    x_td = rows_td.astype(np.float64)
    x_td -= x_td.mean(axis=0)
    n_rows, d_model = x_td.shape
    # The covariance and the matrix of inner products have the same eigenvalues but zeros: the smaller one is used.
    product = x_td.T @ x_td if d_model <= n_rows else x_td @ x_td.T
    variances = np.maximum(np.linalg.eigvalsh(product)[::-1], 0)
    share = np.cumsum(variances) / variances.sum()
    dims_90, dims_99 = (int(np.searchsorted(share, level)) + 1 for level in (0.9, 0.99))
    return Spectrum(float(variances.sum() ** 2 / np.square(variances).sum()), dims_90, dims_99)
