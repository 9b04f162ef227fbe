"""Cost and utility of checkpoints: training compute against the utility of the features.

Shape suffixes: s steps, b bootstrap replicates.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import polars as pl
import polars.selectors as cs
from numpy.typing import NDArray

from emergence_assets.emergence.cost.stopping import has_risen, is_flat, trend
from emergence_assets.emergence.cost.table import COST_UTILITY
from emergence_assets.emergence.cost.utility import UtilitySeries, utility_series
from emergence_assets.emergence.presence.replicates import last_crossing
from emergence_assets.features.statistics.formulas import estimate, interval

ENOUGH = 0.9
"""Share of the final utility whose compute is reported (flops_to_90)."""


def cost_utility(category_presence: pl.DataFrame, checkpoint_registry: pl.DataFrame) -> pl.DataFrame:
    """Return one row per (model, step, level, control): training compute and utility, with paired 95 % intervals.

    * train_flops: 6 N D with N the non-embedding parameters and D the tokens seen.
    * u_excess: mean excess over categories at the checkpoint's best layer, chosen on split select.
    * u_final_present: share of the categories present at the model's last checkpoint that are present at this one.
      Present means a gain of at least 0.05 with a lower bound above 0. Null if no category is present at the end.
    * loss: loss on the fixed text of the registry of checkpoints, nats per token; null if not measured.
    * marginal_u_dec: utility gained since the previous checkpoint, per decade of compute; null up to the first step.
    * trend_u_dec: slope of the last three checkpoints up to this one, per decade of steps.
    * stop_signal: utility has risen (at least 0.05, lower bound above 0), and the upper bound of the trend is below
      0.02 per decade.
    * regret_after_stop, flops_saved_frac: with the signal on, the utility added by training on to the last checkpoint,
      and the share of all compute that this took.
    * u_frac_of_final: u_excess / u_excess of the last checkpoint.
    * flops_to_90: compute from which utility stays at 90 % of its last value or above, interpolated between checkpoints
      in log10 of compute. Its interval is never narrower than the gap between checkpoints. The value is equal in all
      rows of a series. u_frac_of_final and flops_to_90 are null unless the last utility has a lower bound above 0.
    * pareto: no other checkpoint of any model has more utility at no more compute; step 0 is not counted.

    Intervals are over texts.

    Args:
        category_presence: see `CATEGORY_PRESENCE`; models without step 0 have no utility.
        checkpoint_registry: columns model, step, loss.
    """
    rows = [row for series in utility_series(category_presence) for row in _rows(series)]
    if not rows:
        return COST_UTILITY.schema.to_frame()
    known = {name: dtype for name, dtype in COST_UTILITY.schema.items() if name not in ("loss", "pareto")}
    table = pl.DataFrame(rows, schema=known).join(
        checkpoint_registry.select("model", "step", "loss"), on=["model", "step"], how="left", maintain_order="left"
    )
    table = table.with_columns(cs.float().fill_nan(None))
    parts = [
        part.with_columns(pareto=pl.Series(is_efficient(part["train_flops"].to_list(), part["u_excess"].to_list())))
        for part in table.partition_by("category_level", "control_id", maintain_order=True)
    ]
    return (
        pl.concat(parts)
        .select(pl.col(name).cast(dtype) for name, dtype in COST_UTILITY.schema.items())
        .sort("category_level", "control_id", "n_params_nonemb", "model", "step")
    )


def is_efficient(flops: Sequence[float], utility: Sequence[float | None]) -> list[bool]:
    """Return whether each point is efficient.

    No other point has more utility at no more compute, or equal utility at less. Points without cost are not efficient.
    """
    order = sorted(range(len(flops)), key=lambda i: (flops[i], -(utility[i] or 0.0)))
    found, best = [False] * len(flops), float("-inf")
    for i in order:
        value = utility[i]
        if value is not None and flops[i] > 0 and value > best:
            found[i], best = True, value
    return found


def _rows(series: UtilitySeries) -> list[dict[str, Any]]:
    u_s, u_sb, flops_s = series.excess_s, series.excess_sb, series.flops_s
    share_s, share_sb = series.share_of_final()
    has_end = bool(interval(u_sb[-1])[0] > 0)
    enough = _flops_to_share(flops_s, u_s, u_sb) if has_end else (None, None, None)
    rows = []
    for s in range(len(u_s)):
        slope = trend(series.step_s[: s + 1], u_s[: s + 1], u_sb[: s + 1])
        stops = has_risen(u_s[s], u_sb[s]) and is_flat(slope)
        rows.append(
            {
                "model": series.model,
                "n_params_nonemb": series.n_params_nonemb,
                "step": series.step_s[s],
                "tokens_seen": series.tokens_s[s],
                "train_flops": flops_s[s],
                "category_level": series.category_level,
                "control_id": series.control_id,
                "layer": series.layer_s[s],
                **estimate("u_excess", u_s[s], u_sb[s]),
                **estimate("u_final_present", share_s[s], share_sb[s]),
                "n_final_present": series.n_final_present,
                "u_frac_of_final": u_s[s] / u_s[-1] if has_end else None,
                **_marginal(s, flops_s, u_s, u_sb),
                "trend_u_dec": slope.slope,
                "trend_u_dec_lo": slope.lo,
                "trend_u_dec_hi": slope.hi,
                **dict(zip(("flops_to_90", "flops_to_90_lo", "flops_to_90_hi"), enough, strict=True)),
                "stop_signal": stops,
                "regret_after_stop": u_s[-1] - u_s[s] if stops else None,
                "flops_saved_frac": 1 - flops_s[s] / flops_s[-1] if stops else None,
                "n_boot": u_sb.shape[1],
            }
        )
    return rows


def _marginal(
    s: int, flops_s: NDArray[np.float64], u_s: NDArray[np.float64], u_sb: NDArray[np.float64]
) -> dict[str, float]:
    if s == 0 or flops_s[s - 1] <= 0:
        return estimate("marginal_u_dec", float("nan"), np.full(u_sb.shape[1], np.nan))
    decades = np.log10(flops_s[s] / flops_s[s - 1])
    return estimate("marginal_u_dec", (u_s[s] - u_s[s - 1]) / decades, (u_sb[s] - u_sb[s - 1]) / decades)


def _flops_to_share(
    flops_s: NDArray[np.float64], u_s: NDArray[np.float64], u_sb: NDArray[np.float64]
) -> tuple[float | None, float | None, float | None]:
    """Return the compute from which utility stays at 90 % of its last value or above, with its interval."""
    # Step 0 has no position on a log axis: it is placed at the compute of the first trained checkpoint.
    x_s = np.log10(np.maximum(flops_s, flops_s[flops_s > 0].min() if (flops_s > 0).any() else 1.0))
    x, before = last_crossing(x_s, u_s[:, None], ENOUGH * u_s[-1:])
    if not np.isfinite(x[0]):
        return None, None, None
    lo, hi = interval(last_crossing(x_s, u_sb, ENOUGH * u_sb[-1])[0])
    i = int(before[0])
    # fmin and fmax ignore NaN: without defined replicates the checkpoints around it are the interval.
    return 10 ** float(x[0]), 10 ** float(np.fmin(lo, x_s[i])), 10 ** float(np.fmax(hi, x_s[i + 1]))
