"""Shape of a curve over model sizes (threshold, smooth growth or neither) and its criteria, on arrays.

Sizes are placed at x = log10 of the non-embedding parameters. Shape suffixes: m models (sizes), b bootstrap replicates,
g grid points (middle and width of a logistic).
"""

from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import NDArray

from emergence_assets.emergence.presence.replicates import MARGIN
from emergence_assets.features.statistics.formulas import estimate, interval

MIN_SIZES = 5
"""Sizes below which no shape of the curve is claimed."""
RUN_SD = {"mean": 0.025, "none": 0.05}
"""Standard deviation of a point between training runs by `aggregate`, in AUROC units, for families without repeated
runs; measured on three runs of the default study's smallest model (docs/method.md)."""
DECISIVE = 4.0
"""Difference of AIC above which a logistic is preferred to a line (Burnham and Anderson 2002, section 2.6)."""
NARROW = 0.5
"""Share of the range of log10 sizes within which a threshold completes the middle 80 % of its rise."""
JUMP = 2 / 3
"""Share of a count's rise between two neighbouring sizes from which the count counts as jumping."""
MIN_COUNT_RISE = 3.0
"""Smallest rise of a count that can be a jump."""
MIDDLE_80 = 4.394
"""Distance from 10 to 90 % of a logistic's rise in units of its width: 2 ln 9."""
_N_MIDDLES = 41
_WIDTHS = np.geomspace(0.01, 0.6, 10)
"""Widths of the logistic that are tried, as shares of the range of x."""
Floats = NDArray[np.float64]


def size_curve(
    n_params_m: NDArray[np.integer],
    p_m: Floats,
    p_mb: Floats,
    gain_m: Floats,
    gain_mb: Floats,
    count_m: Floats | None = None,
    run_sd: float = RUN_SD["none"],
) -> dict[str, Any]:
    """Return numbers, criteria and shape of one series over model sizes, as columns of `EMERGENCE_OVER_SCALE`.

    Undefined numbers are missing or NaN.

    All intervals are 95 %, from replicates that draw texts and, with `run_sd`, training runs.

    * rise, slope_dec: last minus first value; least-squares slope per decade of parameters.
    * n_lo, n_hi: largest size with an upper bound below the middle of the lowest and highest value; smallest larger
      size with a lower bound above that middle.
    * jump_share: largest rise between neighbouring sizes as a share of the whole rise.
    * d_aic_vs_linear: AIC of a line minus AIC of a logistic, both in x, by generalised least squares with the
      covariance of the replicates; from 5 sizes on.
    * n_half, n_width_dec: middle of that logistic, and decades of parameters of the middle 80 % of its rise. The
      interval comes from the replicates and is never narrower than the gap between the two sizes around the middle.
    * count_jump_share: jump_share of `count_m`; metric_sensitivity: count_jump_share / jump_share of the score.

    Criteria:

    * is_rising: rise of at least 0.05 with a lower bound above 0.
    * is_logistic: d_aic_vs_linear > 4.
    * is_narrow: n_width_dec is at most half of the range of x.
    * count_jumps: the count rises by at least 3, two thirds of it between two neighbouring sizes.

    Shapes:

    * insufficient: below 5 sizes, without gains, or if no other shape applies.
    * absent: no size gains 0.05 with a lower bound above 0 (Bonferroni over sizes).
    * saturated: no rise, and present in the smallest model.
    * threshold: rising, logistic and narrow.
    * metric_artifact: rising, no threshold, but the count jumps (Schaeffer et al. 2023, arXiv 2304.15004).
    * smooth: rising otherwise.

    Args:
        n_params_m: non-embedding parameters, ascending.
        p_m: score of each size.
        p_mb: replicates of the scores, joint over sizes.
        gain_m: score minus score of the untrained network of the same size; NaN without step 0.
        gain_mb: replicates of the gains.
        count_m: a count per size, such as categorical latents.
        run_sd: standard deviation of a score between training runs.
    """
    # Another training run would give another point: replicates draw runs too, with one draw for score and gain.
    run_mb = run_sd * np.random.default_rng(0).standard_normal(p_mb.shape)
    p_mb, gain_mb = p_mb + run_mb, gain_mb + run_mb
    x_m = np.log10(n_params_m.astype(np.float64))
    n_sizes = len(np.unique(n_params_m))
    row: dict[str, Any] = {"n_sizes": n_sizes, "shape": "insufficient"}
    row |= dict.fromkeys(("is_rising", "is_logistic", "is_narrow", "count_jumps"), False)
    if n_sizes > 1:
        row |= _slope(x_m, p_m, p_mb)
    rise_b = p_mb[-1] - p_mb[0]
    rising = n_sizes > 1 and p_m[-1] - p_m[0] >= MARGIN and bool(interval(rise_b)[0] > 0)
    if rising:
        row |= {"is_rising": True} | _bracket(n_params_m, p_m, p_mb) | _jump(p_m, p_mb)
    if count_m is not None and n_sizes > 1:
        row |= _count(count_m, row.get("jump_share", np.nan))
    if n_sizes >= MIN_SIZES:
        fit = _compare(x_m, p_m, p_mb)
        row |= {"d_aic_vs_linear": fit["d_aic_vs_linear"], "is_logistic": fit["d_aic_vs_linear"] > DECISIVE}
        if rising:
            row |= fit | {"is_narrow": bool(fit["n_width_dec"] <= NARROW * (x_m[-1] - x_m[0]))}
        row["shape"] = _shape(row, gain_m, gain_mb)
    return row


def _shape(row: dict[str, Any], gain_m: Floats, gain_mb: Floats) -> str:
    if not np.isfinite(gain_m).all():
        return "insufficient"
    # One test per size: Bonferroni bound.
    z = NormalDist().inv_cdf(1 - 0.025 / len(gain_m))
    is_present_m = (gain_m >= MARGIN) & (gain_m > z * np.nanstd(gain_mb, axis=1))
    if not is_present_m.any():
        return "absent"
    if not row["is_rising"]:
        return "saturated" if is_present_m[0] else "insufficient"
    if row["is_logistic"] and row["is_narrow"]:
        return "threshold"
    return "metric_artifact" if row["count_jumps"] else "smooth"


def _slope(x_m: Floats, p_m: Floats, p_mb: Floats) -> dict[str, Any]:
    centred_m = x_m - x_m.mean()
    weight_m = centred_m / (centred_m @ centred_m)
    slopes = estimate("slope_dec", weight_m @ p_m, weight_m @ p_mb)
    return estimate("rise", p_m[-1] - p_m[0], p_mb[-1] - p_mb[0]) | slopes


def _bracket(n_params_m: NDArray[np.integer], p_m: Floats, p_mb: Floats) -> dict[str, int | None]:
    """Return the largest size surely below the middle of the rise, and the smallest larger size surely above it."""
    middle = (p_m.min() + p_m.max()) / 2
    lo_m, hi_m = interval(p_mb)
    below = np.flatnonzero(hi_m < middle)
    last_below = int(below[-1]) if len(below) else -1
    above = np.flatnonzero((lo_m > middle) & (np.arange(len(lo_m)) > last_below))
    return {
        "n_lo": int(n_params_m[last_below]) if last_below >= 0 else None,
        "n_hi": int(n_params_m[above[0]]) if len(above) else None,
    }


def _jump(p_m: Floats, p_mb: Floats) -> dict[str, Any]:
    at = int(np.diff(p_m).argmax())
    rise_b = p_mb[-1] - p_mb[0]
    share_b = np.divide(p_mb[at + 1] - p_mb[at], rise_b, out=np.full_like(rise_b, np.nan), where=rise_b > 0)
    return estimate("jump_share", (p_m[at + 1] - p_m[at]) / (p_m[-1] - p_m[0]), share_b)


def _count(count_m: Floats, jump_share: float) -> dict[str, float | bool]:
    rise = float(count_m[-1] - count_m[0])
    if not rise > 0:
        return {}
    share = float(np.diff(count_m).max() / rise)
    return {
        "count_jump_share": share,
        "metric_sensitivity": share / jump_share,
        "count_jumps": rise >= MIN_COUNT_RISE and share >= JUMP,
    }


def _compare(x_m: Floats, p_m: Floats, p_mb: Floats) -> dict[str, float]:
    """Compare a logistic with four parameters with a line with two, for the estimate and for every replicate.

    The error of a point is known beforehand, from replicates that draw texts and runs. The criterion is therefore
    chi-square plus twice the number of parameters, without the small-sample term of AICc. That term compensates for
    estimating a variance from the residuals, and is infinite for a logistic on five sizes.
    """
    whole_b = np.isfinite(p_mb).all(axis=0)
    covariance_mm = np.cov(p_mb[:, whole_b])
    # Without drawn texts and runs all replicates agree, and the covariance would be singular.
    covariance_mm += 1e-10 * np.eye(len(x_m))
    whiten_mm = np.linalg.inv(np.linalg.cholesky(covariance_mm))
    z_mb = whiten_mm @ np.column_stack([p_m, p_mb[:, whole_b]])
    ones_m, span = np.ones_like(x_m), x_m[-1] - x_m[0]
    chi2_line = _chi2(whiten_mm @ np.stack([ones_m, x_m], axis=-1)[None], z_mb[:, :1])[0][0, 0]
    middle_g, width_g = (
        part.ravel()
        for part in np.meshgrid(np.linspace(x_m[0], x_m[-1], _N_MIDDLES + 2)[1:-1], span * _WIDTHS, indexing="ij")
    )
    rise_gm = 0.5 * (1 + np.tanh((x_m - middle_g[:, None]) / (2 * width_g[:, None])))
    bases_gm2 = np.stack([np.broadcast_to(ones_m, rise_gm.shape), rise_gm], axis=-1)
    chi2_gb, amplitude_gb = _chi2(whiten_mm @ bases_gm2, z_mb)
    chi2_gb = np.where(amplitude_gb > 0, chi2_gb, np.inf)
    least_b = chi2_gb.min(axis=0)
    # A step fits equally well anywhere in the gap between two sizes: the mean of all equally good fits is taken.
    is_best_gb = chi2_gb <= least_b + 1e-3
    n_best_b = is_best_gb.sum(axis=0)
    x_half_b = middle_g @ is_best_gb / n_best_b
    width = np.exp(np.log(width_g) @ is_best_gb[:, 0] / n_best_b[0])
    if not np.isfinite(least_b[0]):  # no rising logistic fits
        return {"d_aic_vs_linear": float("-inf"), "n_width_dec": float("nan")}
    x_half = float(x_half_b[0])
    lo, hi = interval(np.where(np.isfinite(least_b[1:]), x_half_b[1:], np.nan))
    place = int(np.clip(np.searchsorted(x_m, x_half), 1, len(x_m) - 1))
    return {
        "d_aic_vs_linear": float(chi2_line + 2 * 2 - (least_b[0] + 2 * 4)),
        "n_half": 10**x_half,
        "n_half_lo": 10 ** float(np.fmin(lo, x_m[place - 1])),
        "n_half_hi": 10 ** float(np.fmax(hi, x_m[place])),
        "n_width_dec": MIDDLE_80 * float(width),
    }


def _chi2(basis_gm2: Floats, z_mb: Floats) -> tuple[Floats, Floats]:
    """Return chi-square and second coefficient of every whitened basis for every whitened series."""
    q_gm2, r_g22 = np.linalg.qr(basis_gm2)
    projected_g2b = np.einsum("gmk,mb->gkb", q_gm2, z_mb)
    chi2_gb = np.maximum((z_mb**2).sum(axis=0) - (projected_g2b**2).sum(axis=1), 0.0)
    scale_g = np.where(np.abs(r_g22[:, 1, 1]) > 1e-9, r_g22[:, 1, 1], np.inf)
    return chi2_gb, projected_g2b[:, 1] / scale_g[:, None]
