"""Where a category is present: the profile of presence over the layers of one checkpoint.

Here: peak, centre of mass and width of the profile, with margins. Not here: whether a profile falls and returns
(reactivation, a later module).

Shape suffixes: l layers, b bootstrap replicates.
"""

from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from emergence_assets.emergence.replicates import interval, replicate_array, step0_rows, with_category_mean
from emergence_assets.emergence.schema import SPACE_SCHEMA

_SERIES = ["model", "step", "control_id", "aggregate", "category_level", "category"]


def emergence_over_space(presence: pl.DataFrame) -> pl.DataFrame:
    """One row per (model, step, control, aggregate, level, category) with its profile over layers.

    * peak_layer, peak_depth: the layer with the highest p_best; the interval holds the peaks of the replicates.
    * com_depth: centre of mass in relative depth, weighted by the gain over step 0 (negative gains count 0).
    * width: share of the layers with at least half of the largest gain.
    * max_gain: gain at the layer where it is largest, a maximum over noisy values and so biased upwards: a
      description, not a claim. best_gain: gain at best_layer, the layer with the highest p_select of this row: chosen
      on other texts, hence unbiased. Both with paired 95 % intervals at the chosen layer.
    * layers, profile, profile_step0, profile_dense: p_best, p_step0 and p_dense by layer; -1 is the embedding.

    What weighs gains is null when there is none (step 0 itself, or no step 0). See `SPACE_SCHEMA`.
    """
    if presence.is_empty():
        return pl.DataFrame(schema=SPACE_SCHEMA)
    table = with_category_mean(presence).sort([*_SERIES, "layer"])
    replicates_rb = replicate_array(table)
    row0 = step0_rows(table, ("model", "layer", "control_id", "aggregate", "category_level", "category"))
    p_best = table["p_best"].to_numpy().astype(np.float64)
    p_step0 = np.where(row0 >= 0, p_best[row0], np.nan)
    step0_rb = np.where((row0 >= 0)[:, None], replicates_rb[row0], np.nan)
    rows: list[dict[str, Any]] = []
    for part in table.with_row_index("row").partition_by(_SERIES, maintain_order=True):
        at = slice(part["row"][0], part["row"][-1] + 1)
        one = part.row(0, named=True)
        rows.append(
            {
                **{key: one[key] for key in (*_SERIES, "n_params_nonemb", "tokens_seen", "n_layers")},
                **_profile(part, p_best[at], p_step0[at], replicates_rb[at], step0_rb[at]),
                "n_seeds": part["n_seeds"].min(),
                "n_boot": replicates_rb.shape[1],
            }
        )
    floats = [name for name, dtype in SPACE_SCHEMA.items() if dtype == pl.Float32]
    return (
        pl.DataFrame(rows, schema=SPACE_SCHEMA)
        .with_columns(
            pl.col(floats).fill_nan(None),
            pl.col("profile", "profile_step0", "profile_dense").list.eval(pl.element().fill_nan(None)),
        )
        .sort(_SERIES)
    )


def _profile(
    part: pl.DataFrame,
    p_l: NDArray[np.float64],
    p_step0_l: NDArray[np.float64],
    replicates_lb: NDArray[np.float64],
    step0_lb: NDArray[np.float64],
) -> dict[str, Any]:
    depth_l = part["rel_depth"].to_numpy().astype(np.float64)
    layers = part["layer"].to_numpy()
    peak, best = int(p_l.argmax()), int(part["p_select"].to_numpy().argmax())
    # A replicate that is undefined at a layer cannot have its peak there.
    peak_lo, peak_hi = interval(depth_l[np.where(np.isnan(replicates_lb), -np.inf, replicates_lb).argmax(axis=0)])
    row: dict[str, Any] = {
        "peak_layer": layers[peak],
        "peak_depth": depth_l[peak],
        "peak_depth_lo": peak_lo,
        "peak_depth_hi": peak_hi,
        "best_layer": layers[best],
        "layers": layers.tolist(),
        "profile": p_l.tolist(),
        "profile_step0": p_step0_l.tolist(),
        "profile_dense": part["p_dense"].to_list(),
    }
    gain_l, gain_lb = p_l - p_step0_l, replicates_lb - step0_lb
    names = ("com_depth", "com_depth_lo", "com_depth_hi", "width", "max_gain", "max_gain_lo", "max_gain_hi")
    row |= dict.fromkeys((*names, "best_gain", "best_gain_lo", "best_gain_hi"), float("nan"))
    if not np.isfinite(gain_l).any():
        return row
    largest = int(np.nanargmax(gain_l))
    row |= {
        "max_gain": gain_l[largest],
        **dict(zip(("max_gain_lo", "max_gain_hi"), interval(gain_lb[largest]), strict=True)),
        "best_gain": gain_l[best],
        **dict(zip(("best_gain_lo", "best_gain_hi"), interval(gain_lb[best]), strict=True)),
    }
    if gain_l[largest] > 0:
        com_lo, com_hi = interval(_centre_of_mass(depth_l, gain_lb))
        row |= {
            "com_depth": _centre_of_mass(depth_l, gain_l[:, None])[0],
            "com_depth_lo": com_lo,
            "com_depth_hi": com_hi,
            "width": float((gain_l >= gain_l[largest] / 2).mean()),
        }
    return row


def _centre_of_mass(depth_l: NDArray[np.float64], gain_lb: NDArray[np.float64]) -> NDArray[np.float64]:
    weight_lb = np.nan_to_num(np.maximum(gain_lb, 0))
    total_b = weight_lb.sum(axis=0)
    return np.divide(depth_l @ weight_lb, total_b, out=np.full(len(total_b), np.nan), where=total_b > 0)
