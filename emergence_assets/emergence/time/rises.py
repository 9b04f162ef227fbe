"""Rises of series over training steps: half-rise step, onset, completion and rate with intervals, and criteria.

Steps are placed at x = log10(step + 1). Shape suffixes: r series, s steps, b bootstrap replicates, q SAE seeds.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from emergence_assets.emergence.presence.replicates import last_crossing, p_not_above_zero
from emergence_assets.emergence.time.curves import (
    RISE_10_TO_90,
    Comparison,
    Floats,
    Rises,
    aicc,
    compare_curves,
    fit_rises,
)
from emergence_assets.features.statistics.formulas import estimate, interval

DATED_WITHIN = 1.0
"""Widest interval of a half-rise step that counts as a date, decades of step + 1."""
N_LATE = 3
"""Checkpoints whose mean is compared with step 0."""
CHECKPOINTS_FOR_A_DATE = 9
"""Checkpoints needed to date most rises: of rises of 0.15 under noise of 0.02 that lie amid the checkpoints, 80 to 87 %
have a date with 9, 89 to 96 % with 13 (`benchmarks/time_rules.py`)."""
TRANSITIONS = ("onset_step", "half_step", "complete_step")
_LEVELS = (0.1, 0.5, 0.9)
_LOGIT_90 = RISE_10_TO_90 / 2
_GRID = 600


@dataclass(frozen=True)
class Series:
    """Series with the same checkpoints, the first of them step 0."""

    step_s: NDArray[np.integer]
    """Checkpoints, ascending."""
    value_rs: Floats
    """Values of the series, AUROC."""
    replicates_rsb: Floats
    """Bootstrap replicates of the values, paired over steps."""
    seeds_rsq: Floats
    """Values of each SAE seed."""


def read_rises(series: Series) -> dict[str, NDArray]:
    """Return columns of `EMERGENCE_OVER_TIME` for every series, by name; NaN (-1 for a checkpoint) if undefined.

    * late: mean of the last three checkpoints. late_gain: late minus step 0. p_value: of "late_gain is not above zero".
    * best_model, d_aicc: see `curves.compare_curves`.
    * is_rising: the best curve is not the constant and rises. The columns of the next item need it.
    * fit_base, fit_amp, onset_step (10 % of the rise), half_step, complete_step (90 %), rise_rate (steepest slope,
      AUROC per decade), width_dec (decades from 10 to 90 %), grid_lo and grid_hi (positions of the checkpoints around
      the half-rise step), seed_sd_dex (log10 units): read from the two-step curve if it is best, otherwise from the
      sigmoid. If a line is best, the half-rise step is poorly determined and its interval is wide.
    * Intervals: 2.5 to 97.5 % of the curves fitted to every replicate. Intervals of the three steps are never narrower
      than the gap between the checkpoints around the step.
    * half_step_interp: step at half of the rise from first to last checkpoint, by interpolation.
    * changepoint: position of the first checkpoint after the best split into two means, if the split beats one mean by
      AICc and rises.
    """
    x_s, y_rs = np.log10(series.step_s + 1.0), series.value_rs
    late_r, late_rb = _late(y_rs), _late(series.replicates_rsb)
    gain_r, gain_rb = late_r - y_rs[:, 0], late_rb - series.replicates_rsb[:, 0]
    columns: dict[str, NDArray] = estimate("late", late_r, late_rb) | estimate("late_gain", gain_r, gain_rb)
    columns["p_value"] = np.array([p_not_above_zero(*one) for one in zip(gain_r, gain_rb, strict=True)])
    columns["n_seeds_agree"] = (_late(series.seeds_rsq) > series.seeds_rsq[:, 0]).sum(axis=-1)
    found = compare_curves(x_s, y_rs)
    rising = is_rising(found)
    columns |= {"best_model": found.best_r, "is_rising": rising, "fit_amp_sigmoid": found.sigmoid.amp_rk[:, 0]}
    columns["d_aicc"] = np.where(np.isfinite(found.d_aicc_r), found.d_aicc_r, np.nan)
    columns |= _read_curves(series, x_s, found, rising)
    middle_x, _ = last_crossing(x_s, y_rs.T, (y_rs[:, 0] + y_rs[:, -1]) / 2)
    columns["half_step_interp"] = 10**middle_x - 1
    columns["changepoint"] = _change_points(y_rs)
    return columns


def is_rising(found: Comparison) -> NDArray[np.bool_]:
    """Return whether the best curve of each series is not the constant and rises."""
    up = np.where(found.best_r == "two_step", found.two_step.amp_rk.sum(axis=1), found.sigmoid.amp_rk[:, 0]) > 0
    return (found.best_r != "constant") & up


def has_risen(
    columns: Mapping[str, NDArray], q_r: Floats, n_seeds_r: NDArray[np.integer], margin: float
) -> NDArray[np.bool_]:
    """Return the column passes_gate: whether each series ends above step 0. The shape of its curve does not matter.

    * The mean of the last three checkpoints minus step 0 is at least `margin`, and its whole interval is above 0.
    * q < 0.05.
    * Two thirds of the SAE seeds agree on the sign.

    Args:
        columns: late_gain, late_gain_lo and n_seeds_agree of `read_rises`.
        q_r: false discovery rate of p_value within the series that are tested together.
        n_seeds_r: number of SAE seeds.
        margin: smallest rise that counts, AUROC units.
    """
    with np.errstate(invalid="ignore"):
        return (
            (columns["late_gain"] >= margin)
            & (columns["late_gain_lo"] > 0)
            & (q_r < 0.05)
            & (3 * columns["n_seeds_agree"] >= 2 * n_seeds_r)
        )


def is_dated(columns: Mapping[str, NDArray], n_steps_r: NDArray[np.integer], margin: float) -> NDArray[np.bool_]:
    """Return whether the half-rise step of each series is known well enough to be stated, given that it has risen.

    * The best curve by AICc is not the constant, and its sigmoid rises by at least `margin`.
    * Half of the rise lies before the last checkpoint but one, so that a single odd last checkpoint is no date.
    * The interval of the half-rise step is at most one decade wide.

    Args:
        columns: fit_amp_sigmoid, grid_hi, half_step_lo and half_step_hi of `read_rises`.
        n_steps_r: number of checkpoints.
        margin: smallest rise that counts, AUROC units.
    """
    with np.errstate(invalid="ignore"):
        decades = np.log10(columns["half_step_hi"] + 1) - np.log10(columns["half_step_lo"] + 1)
        return (
            (columns["fit_amp_sigmoid"] >= margin)
            & (columns["grid_hi"] > 0)
            & (columns["grid_hi"] < n_steps_r - 1)
            & (decades <= DATED_WITHIN)
        )


def _late(values: Floats) -> Floats:
    return values[:, -min(N_LATE, values.shape[1] - 1) :].mean(axis=1)


def _read_curves(series: Series, x_s: Floats, found: Comparison, rising: NDArray[np.bool_]) -> dict[str, NDArray]:
    """Return the columns read from fitted curves; undefined for a series that does not rise."""
    n = len(rising)
    names = ["fit_base", "fit_amp", "rise_rate", "width_dec", *TRANSITIONS]
    with_interval = [name for name in names if name != "fit_base"]
    columns = {name: np.full(n, np.nan) for name in names}
    columns |= {f"{name}{side}": np.full(n, np.nan) for name in with_interval for side in ("_lo", "_hi")}
    columns["seed_sd_dex"] = np.full(n, np.nan)
    columns |= {name: np.full(n, -1) for name in ("grid_lo", "grid_hi")}
    two = found.best_r == "two_step"
    for rows, fits, n_rises in ((rising & ~two, found.sigmoid, 1), (rising & two, found.two_step, 2)):
        at = np.flatnonzero(rows)
        if not len(at):
            continue
        read = _read(Rises(*(values[at] for values in fits)), x_s)
        for name, value in read.items():
            columns[name][at] = value
        refitted = _refit(x_s, series.replicates_rsb[at], n_rises)
        for name in with_interval:
            columns[f"{name}_lo"][at], columns[f"{name}_hi"][at] = interval(refitted[name])
        # Seeds are compared by their sigmoid: the series of one seed is too noisy for two rises.
        columns["seed_sd_dex"][at] = _spread_log10(_refit(x_s, series.seeds_rsq[at], 1)["half_step"])
        below = np.clip(np.searchsorted(x_s, np.log10(read["half_step"] + 1)), 1, len(x_s) - 1) - 1
        columns["grid_lo"][at], columns["grid_hi"][at] = below, below + 1
    # Middles lie within the measured range; as steps, rounding may put them behind its end.
    for name in ("onset_step", "half_step"):
        for end in ("", "_lo", "_hi"):
            columns[f"{name}{end}"] = np.minimum(columns[f"{name}{end}"], series.step_s[-1])
    for name in TRANSITIONS:
        _not_narrower_than_gap(columns, name, series.step_s)
    # Steps after the last checkpoint were not observed.
    unseen = columns["complete_step"] > series.step_s[-1]
    for side in ("", "_lo", "_hi"):
        columns[f"complete_step{side}"] = np.where(unseen, np.nan, columns[f"complete_step{side}"])
    return columns


def _read(fits: Rises, x_s: Floats) -> dict[str, Floats]:
    """Return steps and rates of rising curves; NaN for falling curves."""
    amp_r = fits.amp_rk.sum(axis=1)
    if fits.amp_rk.shape[1] == 1:
        middle, width = fits.middle_rk[:, 0], fits.width_r
        places = np.stack([middle - _LOGIT_90 * width, middle, middle + _LOGIT_90 * width])
        rate = amp_r / (4 * width)
    else:
        fine = np.linspace(x_s[0], 2 * x_s[-1] - x_s[0], _GRID)
        curve = fits.at(fine)
        places = np.stack([_passes(fine, curve, fits.base_r + level * amp_r) for level in _LEVELS])
        rate = np.diff(curve, axis=1).max(axis=1, initial=0) / (fine[1] - fine[0])
    up = amp_r > 0
    places = np.where(up, np.clip(places, x_s[0], None), np.nan)
    read = {name: 10**place - 1 for name, place in zip(TRANSITIONS, places, strict=True)}
    return read | {
        "fit_base": fits.base_r,
        "fit_amp": amp_r,
        "rise_rate": np.where(up, rate, np.nan),
        "width_dec": places[2] - places[0],
    }


def _passes(x_g: Floats, curve_rg: Floats, level_r: Floats) -> Floats:
    """Return the last point of each curve below its level; the first point if the curve is never below."""
    below = curve_rg < level_r[:, None]
    last = np.where(below.any(axis=1), below.shape[1] - 1 - below[:, ::-1].argmax(axis=1), 0)
    return x_g[last]


def _refit(x_s: Floats, values_rsb: Floats, n_rises: int) -> dict[str, Floats]:
    """Return readings of curves fitted to every replicate, series × replicates; NaN for an undefined replicate."""
    n, n_steps, n_boot = values_rsb.shape
    values = values_rsb.transpose(0, 2, 1).reshape(n * n_boot, n_steps)
    defined = np.isfinite(values).all(axis=1)
    read = _read(fit_rises(x_s, values[defined], n_rises), x_s)
    refitted = {}
    for name, value in read.items():
        whole = np.full(n * n_boot, np.nan)
        whole[defined] = value
        refitted[name] = whole.reshape(n, n_boot)
    return refitted


def _spread_log10(half_step_rq: Floats) -> Floats:
    """Return the standard deviation of log10(step + 1) over seeds; NaN below two rising seeds."""
    x_rq = np.log10(half_step_rq + 1)
    n_r = np.isfinite(x_rq).sum(axis=1)
    mean_r = np.divide(np.nansum(x_rq, axis=1), n_r, out=np.full(len(n_r), np.nan), where=n_r > 0)
    squares_r = np.nansum((x_rq - mean_r[:, None]) ** 2, axis=1)
    return np.sqrt(np.divide(squares_r, n_r - 1, out=np.full(len(n_r), np.nan), where=n_r > 1))


def _not_narrower_than_gap(columns: dict[str, NDArray], name: str, step_s: NDArray[np.integer]) -> None:
    """Widen an interval to the two checkpoints around the estimate: no checkpoint lies between them."""
    known = np.isfinite(columns[name])
    after = np.clip(np.searchsorted(step_s, columns[name]), 1, len(step_s) - 1)
    # fmin and fmax ignore NaN: without defined replicates the checkpoints are the interval.
    columns[f"{name}_lo"] = np.where(known, np.fmin(columns[f"{name}_lo"], step_s[after - 1]), np.nan)
    columns[f"{name}_hi"] = np.where(known, np.fmax(columns[f"{name}_hi"], step_s[after]), np.nan)


def _change_points(y_rs: Floats) -> NDArray[np.intp]:
    """Return the position of the first checkpoint after the best split into two means.

    It is -1 if one mean fits as well by AICc, or if the second mean is lower.
    """
    n = y_rs.shape[1]
    before = np.arange(1, n)
    total = y_rs.sum(axis=1, keepdims=True)
    head = np.cumsum(y_rs, axis=1)[:, :-1]
    jump = (total - head) / (n - before) - head / before
    gained = jump**2 * before * (n - before) / n
    best = gained.argmax(axis=1)
    rows = np.arange(len(y_rs))
    sse = ((y_rs - y_rs.mean(axis=1, keepdims=True)) ** 2).sum(axis=1)
    # Four parameters: two means, the position of the split, the variance.
    better = aicc(sse - gained[rows, best], n, 4) < aicc(sse, n, 2)
    return np.where(better & (jump[rows, best] > 0), best + 1, -1)
