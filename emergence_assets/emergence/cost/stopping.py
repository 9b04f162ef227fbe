"""Stopping rule: the trend of the last checkpoints of a utility curve, and the criteria of a flat curve.

Shape suffixes: s steps, b bootstrap replicates.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from emergence_assets.emergence.presence.replicates import MARGIN
from emergence_assets.features.statistics.formulas import interval

LAST = 3
"""Number of checkpoints of a trend."""
FLAT = 0.02
"""Utility per decade of steps: a trend surely below it is not worth ten times the compute."""


class Trend(NamedTuple):
    """Least-squares slope of the last checkpoints, per decade of steps, with its 95 % interval; NaN if undefined."""

    slope: float
    lo: float
    hi: float
    decades: float
    """Distance between the first and the last of these checkpoints, in decades of steps."""


def trend(
    step_s: NDArray[np.integer], utility_s: NDArray[np.floating], utility_sb: NDArray[np.floating], last: int = LAST
) -> Trend:
    """Fit the slope of the last checkpoints against log10 of the step; step 0 is left out.

    Args:
        step_s: training steps, ascending.
        utility_s: utility at each step.
        utility_sb: joint bootstrap replicates of the utility.
        last: number of checkpoints of the fit.
    """
    after = np.flatnonzero(step_s > 0)[-last:]
    if len(after) < last:
        return Trend(*[float("nan")] * 4)
    x_s = np.log10(step_s[after].astype(np.float64))
    centred_s = x_s - x_s.mean()
    weight_s = centred_s / (centred_s @ centred_s)
    lo, hi = interval(weight_s @ utility_sb[after])
    return Trend(float(weight_s @ utility_s[after]), float(lo), float(hi), float(x_s[-1] - x_s[0]))


def has_risen(utility: float, utility_b: NDArray[np.floating]) -> bool:
    """Return whether utility has risen: at least 0.05, with a lower bound above 0.

    Without this criterion, the flat stretch before emergence would be mistaken for the end of the rise.
    """
    return bool(utility >= MARGIN and interval(utility_b)[0] > 0)


def is_flat(found: Trend) -> bool:
    """Return whether the upper bound of the trend is below `FLAT`; False without a trend."""
    return bool(found.hi < FLAT)
