"""Life table of categories: how many emerge between two checkpoints, out of those not yet emerged.

Every emerging category does so between two neighbouring checkpoints; all others are censored at the last checkpoint.
For such data the intervals of Turnbull's estimator (Journal of the Royal Statistical Society B 38, 1976) do not
overlap, and the estimator equals the life table: the share of the events.
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import polars as pl

from emergence_assets.emergence.claims.supported import supported_histories
from emergence_assets.emergence.claims.table import EMERGENCE_HAZARD

_GROUP = ["model", "control_id", "category_level"]


def emergence_hazard(
    emergence_over_time: pl.DataFrame, category_presence: pl.DataFrame, claims: pl.DataFrame
) -> pl.DataFrame:
    """Return one row per model, control, level and gap between checkpoints, and one row for the time after the last.

    Categories are read at the model's best layer. A category emerges in the gap (step_lo, step_hi] in which it passes
    half of its rise (half_step_interp), provided that the claims support its emergence (`supported.py`). A category
    present before training (censor "left", counted in n_left) is never at risk. All others are at risk to the end.

    * hazard: events per category at risk and decade of steps + 1.
    * emerged_frac: share of the categories (without n_left) that have emerged by step_hi.

    Intervals are exact binomial intervals (Clopper and Pearson 1934): they treat categories as independent draws and
    half-rise steps as known. In the row after the last checkpoint step_hi, n_events and the columns derived from them
    are null. A model without step 0 has only that row.

    Args:
        emergence_over_time: `emergence_over_time`.
        category_presence: `category_presence` of the same models; source of the list of checkpoints.
        claims: `claims` of the study.
    """
    read = supported_histories(emergence_over_time, claims).filter(pl.col("aggregate") == "none")
    steps = {
        (model, layer): sorted(found)
        for model, layer, found in category_presence.group_by("model", "layer", maintain_order=True)
        .agg(pl.col("step").unique())
        .iter_rows()
    }
    rows: list[dict[str, Any]] = []
    for part in read.partition_by(_GROUP, maintain_order=True):
        rows += _life_table(part, steps[part["model"][0], part["layer"][0]])
    return pl.DataFrame(rows, schema=EMERGENCE_HAZARD.schema).sort([*_GROUP, "step_lo"])


def _life_table(part: pl.DataFrame, steps: Sequence[int]) -> list[dict[str, Any]]:
    emerged = part["emerged"].fill_null(False)
    left = (part["censor"] == "left").fill_null(False)
    half_steps = part.filter(emerged & ~left)["half_step_interp"]
    n_left = int(left.sum())
    at_risk = n_started = part.height - n_left
    shared = {name: part[name][0] for name in ("model", "n_params_nonemb", "layer", "control_id", "category_level")}
    shared |= {"n_categories": part.height, "n_left": n_left}
    rows = []
    # Without step 0 no category is known to have been absent.
    for lo, hi in pairwise(steps) if steps[0] == 0 else ():
        n_events = int(((half_steps > lo) & (half_steps <= hi)).sum())
        decades = np.log10((hi + 1) / (lo + 1))
        here = {"step_lo": lo, "step_hi": hi, "n_at_risk": at_risk, "n_events": n_events}
        here |= _share("hazard", n_events, at_risk, decades)
        at_risk -= n_events
        rows.append({**shared, **here, **_share("emerged_frac", n_started - at_risk, n_started)})
    return [*rows, {**shared, "step_lo": steps[-1], "n_at_risk": at_risk}]


def _share(name: str, count: int, of: int, per: float = 1.0) -> dict[str, float | None]:
    """Return `count / of / per` and its exact binomial interval as columns; None where `of` is 0."""
    from scipy.stats import binomtest

    if not of:
        return dict.fromkeys((name, f"{name}_lo", f"{name}_hi"))
    bounds = binomtest(count, of).proportion_ci()
    return {name: count / of / per, f"{name}_lo": bounds.low / per, f"{name}_hi": bounds.high / per}
