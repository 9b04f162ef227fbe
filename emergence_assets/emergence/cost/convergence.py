"""Convergence of a model that may still be training: whether it stopped gaining features, and what a decision needs."""

import math
from dataclasses import dataclass

import polars as pl

from emergence_assets.emergence.cost.stopping import FLAT, LAST, Trend, has_risen, is_flat, trend
from emergence_assets.emergence.cost.utility import UtilitySeries, utility_series
from emergence_assets.emergence.presence.replicates import MARGIN
from emergence_assets.features.statistics.formulas import interval


@dataclass(frozen=True)
class Convergence:
    """Convergence of one model and level at its last checkpoint."""

    model: str
    category_level: str
    n_checkpoints: int
    step_last: int
    tokens_seen: int
    utility: float | None
    """Mean excess over step 0 at the last checkpoint; None without step 0."""
    utility_lo: float | None
    utility_hi: float | None
    slope_per_decade: float | None
    """Slope of the last three checkpoints, per decade of steps; None below three trained checkpoints."""
    slope_lo: float | None
    slope_hi: float | None
    share_of_last_present: float | None
    """Share of the categories present at the last checkpoint that were present at the third to last; None below 3."""
    stop: bool
    """Whether utility has risen and the upper bound of the slope is below 0.02."""
    verdict: str
    """`stop`, `rising`, `unclear`, `not risen`, `too few checkpoints` or `no step 0`."""
    next_step: int | None
    """Step at which a further checkpoint would decide an unclear slope or extend a rising one; None if not needed."""
    needed: str
    """Missing evidence, as text."""


def convergence(presence: pl.DataFrame) -> list[Convergence]:
    """Return the convergence of every model and level of `category_presence`, in this order, without controls."""
    real = presence.filter(pl.col("control_id") == "none")
    return [convergence_of(series) for series in utility_series(real)]


def convergence_of(series: UtilitySeries) -> Convergence:
    """Return the convergence of one series."""
    u_b = series.excess_sb[-1]
    lo, hi = interval(u_b)
    slope = trend(series.step_s, series.excess_s, series.excess_sb)
    verdict, next_step, needed = _verdict(series, slope)
    share = series.share_of_final()[0]
    return Convergence(
        model=series.model,
        category_level=series.category_level,
        n_checkpoints=len(series.step_s),
        step_last=int(series.step_s[-1]),
        tokens_seen=int(series.tokens_s[-1]),
        utility=_known(series.excess_s[-1]),
        utility_lo=_known(float(lo)),
        utility_hi=_known(float(hi)),
        slope_per_decade=_known(slope.slope),
        slope_lo=_known(slope.lo),
        slope_hi=_known(slope.hi),
        share_of_last_present=_known(share[-LAST]) if len(share) >= LAST else None,
        stop=verdict == "stop",
        verdict=verdict,
        next_step=next_step,
        needed=needed,
    )


def _verdict(series: UtilitySeries, slope: Trend) -> tuple[str, int | None, str]:
    last = int(series.step_s[-1])
    if series.step_s[0] != 0:
        return "no step 0", None, "the untrained model, without which there is no utility"
    n_trained = int((series.step_s > 0).sum())
    if n_trained < LAST:
        missing = LAST - n_trained
        return "too few checkpoints", None, f"{missing} more checkpoint{'s' if missing > 1 else ''}"
    if not has_risen(float(series.excess_s[-1]), series.excess_sb[-1]):
        return "not risen", _later(last, 1.0), f"utility of {MARGIN} with a lower bound above 0; go on tenfold and look"
    if is_flat(slope):
        return "stop", None, "nothing"
    if slope.lo > 0:
        doubling = slope.slope * math.log10(2)
        return "rising", _later(last, math.log10(2)), f"going on: doubling the steps adds about {doubling:.3f}"
    # The error of a slope falls with the distance between its ends; the estimate is assumed to stay.
    spare = FLAT - slope.slope
    if spare <= 0:
        return "unclear", _later(last, slope.decades), "a later checkpoint: the slope is above what would be flat"
    decades = slope.decades * ((slope.hi - slope.slope) / spare - 1)
    step = _later(last, max(decades, math.log10(1.2)))
    return "unclear", step, f"a checkpoint at step {step:,} or later, which would settle the slope"


def _later(step: int, decades: float) -> int:
    return math.ceil(step * 10**decades)


def _known(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None
