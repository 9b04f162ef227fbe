"""Curves fitted to many series at once: constant, line, one logistic rise, two rises; compared by AICc.

A rise is nonlinear only in its middle and width: for given values the base and the amplitude follow in closed form
(variable projection, Golub and Pereyra 1973). All series are projected on a grid of middles and widths in one matrix
product, and the best grid point is refined by Gauss-Newton steps. Both rises of the two-step curve share one width:
with a dozen checkpoints a second width costs more in AICc than it ever explains.

Shape suffixes: r series, s steps, k rises of a curve (1 or 2), g grid points.
"""

from dataclasses import dataclass
from itertools import combinations
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from resources.errors import EmergenceError

Floats = NDArray[np.float64]
MODELS = ("constant", "linear", "sigmoid", "two_step")
N_PARAMETERS = {"constant": 2, "linear": 3, "sigmoid": 5, "two_step": 7}
"""Free parameters of each curve, including the variance of the residuals."""
RESOLUTION = 1e-4
"""Root mean square residual, in AUROC units, below which fits count as equally good: no AUROC is more precise."""
RISE_10_TO_90 = 4.394
"""Distance from 10 to 90 % of a logistic rise in units of its width: 2 ln 9."""
_MIDDLES, _WIDTHS = {1: 67, 2: 23}, {1: 12, 2: 6}
_SHARPEST = 8.0
_CHUNK = 8192
_ITERATIONS = 4


class Rises(NamedTuple):
    """Fitted curves y = base + sum_k amp_k / (1 + exp(-(x - middle_k) / width)), one per series."""

    base_r: Floats
    amp_rk: Floats
    middle_rk: Floats
    """Middles in units of x, ascending."""
    width_r: Floats
    """Width w in units of x; from 10 to 90 % of a rise it is 4.394 w."""
    sse_r: Floats
    """Sum of squared residuals."""

    def at(self, x_g: Floats) -> Floats:
        """Evaluate every curve at the points x_g, series × points."""
        return self.base_r[:, None] + np.einsum("rk,rkg->rg", self.amp_rk, _logistic(x_g, self.middle_rk, self.width_r))


def fit_rises(x_s: Floats, y_rs: Floats, n_rises: int = 1) -> Rises:
    """Fit least-squares curves with one or two rises (or falls: amplitudes may be negative).

    Middles lie within the measured range. From 10 to 90 % a rise takes at most the whole range and at least half of the
    smallest gap between points: a sharper rise looks the same at every checkpoint.

    Args:
        x_s: points of the series, ascending; at least two.
        y_rs: finite values, series × steps.
        n_rises: 1 or 2.

    Raises:
        EmergenceError: fewer than two points, or points that do not ascend.
    """
    if len(x_s) < 2 or np.any(np.diff(x_s) <= 0):
        raise EmergenceError("a curve needs at least two points in ascending order", where=f"x = {x_s.tolist()}")
    grid_gk, width_g = _grid(x_s, n_rises)
    basis_gks = _orthonormal(_logistic(x_s, grid_gk, width_g))
    parts = [
        _fit(x_s, y_rs[start : start + _CHUNK], grid_gk, width_g, basis_gks)
        for start in range(0, max(1, len(y_rs)), _CHUNK)
    ]
    return Rises(*map(np.concatenate, zip(*parts, strict=True)))


def aicc(sse: NDArray[np.floating], n_points: int, n_parameters: int) -> Floats:
    """Compute Akaike's criterion, corrected for small samples (Hurvich and Tsai 1989), for normal residuals.

    Returns:
        n ln(SSE / n) + 2 k + 2 k (k + 1) / (n - k - 1); infinite if the points are too few for the parameters.
    """
    room = n_points - n_parameters - 1
    if room <= 0:
        return np.full(np.shape(sse), np.inf)
    mean_square = np.maximum(np.asarray(sse, dtype=np.float64) / n_points, RESOLUTION**2)
    return n_points * np.log(mean_square) + 2 * n_parameters + 2 * n_parameters * (n_parameters + 1) / room


@dataclass(frozen=True)
class Comparison:
    """Comparison of the four curves of every series by AICc."""

    best_r: NDArray[np.str_]
    """Name of the curve with the smallest AICc; the simplest curve wins a tie."""
    d_aicc_r: Floats
    """AICc of the constant minus that of the sigmoid: above 0 the sigmoid is better; -inf with too few points."""
    sigmoid: Rises
    two_step: Rises


def compare_curves(x_s: Floats, y_rs: Floats) -> Comparison:
    """Fit all four curves to every series; see `fit_rises` for the arguments."""
    n = len(x_s)
    centred_rs = y_rs - y_rs.mean(axis=1, keepdims=True)
    constant = (centred_rs**2).sum(axis=1)
    direction = (x_s - x_s.mean()) / np.linalg.norm(x_s - x_s.mean())
    linear = constant - (centred_rs @ direction) ** 2
    sigmoid, two_step = fit_rises(x_s, y_rs), fit_rises(x_s, y_rs, 2)
    # A rise and a fall are a bump, not two steps. With one sign enforced, one amplitude would be 0: the sigmoid.
    two_steps = np.where(two_step.amp_rk.prod(axis=1) > 0, two_step.sse_r, np.inf)
    errors = {"constant": constant, "linear": linear, "sigmoid": sigmoid.sse_r, "two_step": two_steps}
    criteria = np.stack([aicc(errors[name], n, N_PARAMETERS[name]) for name in MODELS])
    best = np.array(MODELS)[np.where(np.isfinite(criteria), criteria, np.inf).argmin(axis=0)]
    with np.errstate(invalid="ignore"):
        gained = np.where(np.isfinite(criteria[2]), criteria[0] - criteria[2], -np.inf)
    return Comparison(best, gained, sigmoid, two_step)


def _grid(x_s: Floats, n_rises: int) -> tuple[Floats, Floats]:
    """Return the grid of middles (grid points × rises) and widths (grid points)."""
    sharp, wide = np.diff(x_s).min() / _SHARPEST, (x_s[-1] - x_s[0]) / RISE_10_TO_90
    widths = np.geomspace(sharp, max(wide, sharp), _WIDTHS[n_rises])
    middles = np.linspace(x_s[0], x_s[-1], _MIDDLES[n_rises])
    chosen = np.array(list(combinations(middles, n_rises)))
    return np.repeat(chosen, len(widths), axis=0), np.tile(widths, len(chosen))


def _logistic(x_s: Floats, middle_rk: Floats, width_r: Floats) -> Floats:
    """Evaluate logistic curves from 0 to 1, series × rises × points."""
    # tanh does not overflow, and numpy vectorises it.
    return 0.5 + 0.5 * np.tanh((x_s - middle_rk[..., None]) / (2 * width_r[:, None, None]))


def _orthonormal(basis_gks: Floats) -> Floats:
    """Centre the curves and orthonormalise the rises of each grid point; flat curves become zeros."""
    centred = basis_gks - basis_gks.mean(axis=-1, keepdims=True)
    for k in range(centred.shape[1]):
        for earlier in range(k):
            shared = np.einsum("gs,gs->g", centred[:, k], centred[:, earlier])
            centred[:, k] -= shared[:, None] * centred[:, earlier]
        length = np.linalg.norm(centred[:, k], axis=-1, keepdims=True)
        centred[:, k] = np.divide(centred[:, k], length, out=np.zeros_like(centred[:, k]), where=length > 1e-6)
    return centred


def _fit(x_s: Floats, y_rs: Floats, grid_gk: Floats, width_g: Floats, basis_gks: Floats) -> Rises:
    centred = (y_rs - y_rs.mean(axis=1, keepdims=True)).astype(np.float32)
    explained_rg = np.zeros((len(y_rs), len(grid_gk)), dtype=np.float32)
    for k in range(grid_gk.shape[1]):
        projected = centred @ basis_gks[:, k].T.astype(np.float32)
        explained_rg += np.square(projected, out=projected)
    start = explained_rg.argmax(axis=1)
    lowest, highest = np.log(width_g.min()), np.log(width_g.max())
    middle_rk, log_width_r = grid_gk[start].copy(), np.log(width_g[start])
    best = _linear(x_s, y_rs, middle_rk, np.exp(log_width_r))
    damping = np.full(len(y_rs), 1e-3)
    for _ in range(_ITERATIONS):
        step = _gauss_newton(x_s, y_rs, best, damping)
        n_rises = middle_rk.shape[1]
        tried_middle = np.clip(best.middle_rk + step[:, :n_rises], x_s[0], x_s[-1])
        tried_width = np.exp(np.clip(np.log(best.width_r) + step[:, n_rises], lowest, highest))
        tried = _linear(x_s, y_rs, tried_middle, tried_width)
        better = tried.sse_r < best.sse_r
        damping = np.where(better, damping / 5, damping * 10)
        kept = [better.reshape(-1, *[1] * (old.ndim - 1)) for old in best]
        best = Rises(*(np.where(*one) for one in zip(kept, tried, best, strict=True)))
    order = best.middle_rk.argsort(axis=1)
    amp_rk, middle_rk = (np.take_along_axis(part, order, axis=1) for part in (best.amp_rk, best.middle_rk))
    return best._replace(amp_rk=amp_rk, middle_rk=middle_rk)


def _linear(x_s: Floats, y_rs: Floats, middle_rk: Floats, width_r: Floats) -> Rises:
    """Solve for base and amplitudes by least squares, for given middles and widths."""
    basis_rks = _logistic(x_s, middle_rk, width_r)
    mean_rk = basis_rks.mean(axis=-1)
    centred_rks = basis_rks - mean_rk[..., None]
    y_mean = y_rs.mean(axis=1)
    gram = np.einsum("rks,rjs->rkj", centred_rks, centred_rks)
    # Amplitudes of two rises with equal middles are not identified: a small ridge term splits them.
    gram[:, range(gram.shape[1]), range(gram.shape[1])] += 1e-9
    amp_rk = np.linalg.solve(gram, np.einsum("rks,rs->rk", centred_rks, y_rs - y_mean[:, None])[..., None])[..., 0]
    residual = y_rs - y_mean[:, None] - np.einsum("rk,rks->rs", amp_rk, centred_rks)
    return Rises(
        y_mean - (amp_rk * mean_rk).sum(axis=1), amp_rk, middle_rk, width_r, np.einsum("rs,rs->r", residual, residual)
    )


def _gauss_newton(x_s: Floats, y_rs: Floats, fit: Rises, damping_r: Floats) -> Floats:
    """Return the step in (middles, log width): Kaufman's variable projection with adjusted linear parameters."""
    basis_rks = _logistic(x_s, fit.middle_rk, fit.width_r)
    slope_rks = fit.amp_rk[..., None] * basis_rks * (1 - basis_rks) / fit.width_r[:, None, None]
    from_middle = x_s - fit.middle_rk[..., None]
    jacobian = np.concatenate(
        [
            np.ones_like(basis_rks[:, :1]),
            basis_rks,
            -slope_rks,
            -(slope_rks * from_middle).sum(axis=1, keepdims=True),
        ],
        axis=1,
    )
    residual = y_rs - fit.base_r[:, None] - np.einsum("rk,rks->rs", fit.amp_rk, basis_rks)
    normal = np.einsum("rps,rqs->rpq", jacobian, jacobian)
    diagonal = np.einsum("rpp->rp", normal)
    normal[:, range(normal.shape[1]), range(normal.shape[1])] += damping_r[:, None] * diagonal + 1e-9
    step = np.linalg.solve(normal, np.einsum("rps,rs->rp", jacobian, residual)[..., None])[..., 0]
    return step[:, 1 + fit.middle_rk.shape[1] :]
