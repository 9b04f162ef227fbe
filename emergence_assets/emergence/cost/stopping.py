"""Whether a curve of utility has stopped rising: the trend of its last checkpoints, and what it takes to call it flat.

Shape suffixes: s steps, b bootstrap replicates.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from emergence_assets.emergence.presence.replicates import MARGIN
from emergence_assets.features.statistics.formulas import interval

LAST = 3
"""Checkpoints behind a trend."""
FLAT = 0.02
"""Utility per decade of steps: a trend that is surely below it is not worth a tenfold in compute."""


class Trend(NamedTuple):
    """Least-squares slope of the last checkpoints, per decade of steps, with its 95 % interval; NaN when unknown."""

    slope: float
    lo: float
    hi: float
    decades: float
    """Distance of the first and the last of these checkpoints, log10 of steps."""


def trend(
    step_s: NDArray[np.integer], utility_s: NDArray[np.floating], utility_sb: NDArray[np.floating], last: int = LAST
) -> Trend:
    """Slope of the last checkpoints against log10 of the step; step 0 has no place on this axis.

    Args:
        step_s: training steps, ascending.
        utility_s: utility of each.
        utility_sb: its joint bootstrap replicates.
        last: checkpoints that the slope is fitted to.
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
    """Whether there is utility that could have stopped rising: at least 0.05, with a lower bound above 0.

    Without this, the flat stretch before anything emerges would be taken for the end.
    """
    return bool(utility >= MARGIN and interval(utility_b)[0] > 0)


def is_flat(found: Trend) -> bool:
    """Whether the upper end of the trend's interval is below `FLAT`; False when there is no trend."""
    return bool(found.hi < FLAT)
