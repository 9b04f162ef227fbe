"""Depth of presence: profiles of presence over the layers of one checkpoint.

Layers are weighted by the gain over step 0 (AUROC units), not by the excess. A margin of 0.05 then means the same as in
the other tables, and no layer counts more because the untrained model was better there.

Shape suffixes: s series, l layers, b bootstrap replicates.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import polars as pl
import polars.selectors as cs
from numpy.typing import NDArray

from emergence_assets.emergence.presence.replicates import MARGIN
from emergence_assets.emergence.space.modes import count_modes, dip_test
from emergence_assets.emergence.space.profiles import Profiles, defined_estimate, depth_profiles
from emergence_assets.emergence.space.table import EMERGENCE_OVER_SPACE
from emergence_assets.features.statistics.formulas import interval

Floats = NDArray[np.float64]
_SERIES = ["model", "step", "control_id", "aggregate", "category_level", "category"]


def emergence_over_space(category_presence: pl.DataFrame) -> pl.DataFrame:
    """Return one row per (model, step, control, aggregate, level, category) with its profile over layers.

    * peak_layer, peak_depth: the layer with the highest p_best; the interval is that of the replicates' peaks.
    * onset_depth: the first layer with at least half of the largest gain whose lower bound is above 0.
    * com_depth: centre of mass in relative depth, weighted by the gain over step 0 (negative gains count 0).
    * width: share of the layers with at least half of the largest gain.
    * max_gain: largest gain over layers. As a maximum of noisy values it is biased upwards: a description, not a claim.
    * best_gain: gain at best_layer, the layer with the highest p_select of this row. The layer is chosen on other
      texts, so that the gain is unbiased. max_gain and best_gain have paired 95 % intervals at the chosen layer.
    * n_modes: modes of the gain separated by dips of more than 0.05 and the noise; 0 if no gain reaches 0.05.
    * dip_p: p-value of "at most one mode" (`modes.py`); null below three layers.
    * embed_presence: p_best of the embedding, if it was read.
    * layers, profile, profile_step0, profile_dense: p_best, p_step0 and p_dense by layer; -1 is the embedding.

    Intervals cover the uncertainty of texts and SAE seeds (`profiles.py`). Columns computed from gains are null without
    gains (at step 0 itself, or without step 0). See `EMERGENCE_OVER_SPACE`.
    """
    frames = [_of_checkpoint(profiles) for profiles in depth_profiles(category_presence)]
    return pl.concat(frames).sort(_SERIES) if frames else EMERGENCE_OVER_SPACE.schema.to_frame()


def _of_checkpoint(profiles: Profiles) -> pl.DataFrame:
    layers, depth_l = profiles.layers, profiles.depth_l
    rows = np.arange(profiles.series.height)
    peak_s, best_s = profiles.p_best_sl.argmax(axis=1), profiles.p_select_sl.argmax(axis=1)
    # A replicate that is undefined at a layer cannot have its peak there.
    peak_sb = np.where(np.isnan(profiles.p_best_slb), -np.inf, profiles.p_best_slb).argmax(axis=1)
    columns: dict[str, Any] = {
        "peak_layer": layers[peak_s],
        **defined_estimate("peak_depth", depth_l[peak_s], depth_l[peak_sb]),
        "best_layer": layers[best_s],
        "embed_presence": profiles.p_best_sl[:, 0] if layers[0] < 0 else None,
        "layers": [layers.tolist()] * len(rows),
        "profile": profiles.p_best_sl,
        "profile_step0": profiles.step0_sl,
        "profile_dense": profiles.dense_sl,
        "n_boot": profiles.p_best_slb.shape[-1],
    }
    gain_sl, gain_slb = profiles.gain_sl, profiles.gain_slb
    filled_sl = np.where(np.isnan(gain_sl), -np.inf, gain_sl)
    largest_s = filled_sl.argmax(axis=1)
    columns |= defined_estimate("max_gain", gain_sl[rows, largest_s], gain_slb[rows, largest_s])
    columns |= defined_estimate("best_gain", gain_sl[rows, best_s], gain_slb[rows, best_s])
    columns |= _depths(depth_l, gain_sl, gain_slb)
    columns |= _modes(gain_sl, gain_slb)
    return (
        profiles.series.with_columns(*pl.DataFrame(columns, schema_overrides=EMERGENCE_OVER_SPACE.schema))
        .with_columns(
            cs.float().fill_nan(None),
            pl.col("profile", "profile_step0", "profile_dense").list.eval(pl.element().fill_nan(None)),
        )
        .select(pl.col(name).cast(dtype) for name, dtype in EMERGENCE_OVER_SPACE.schema.items())
    )


def _depths(depth_l: Floats, gain_sl: Floats, gain_slb: Floats) -> Mapping[str, Floats]:
    """Return onset, centre of mass and width with intervals; NaN if no layer gains."""
    surely_sl = interval(gain_slb)[0] > 0
    estimates = [f[..., 0] for f in _onset_centre_width(depth_l, gain_sl[..., None], surely_sl)]
    columns: dict[str, Floats] = {}
    for name, value, replicates in zip(
        ("onset_depth", "com_depth", "width"), estimates, _onset_centre_width(depth_l, gain_slb, surely_sl), strict=True
    ):
        columns |= defined_estimate(name, value, replicates)
    return columns


def _onset_centre_width(depth_l: Floats, gain_slb: Floats, surely_sl: NDArray[np.bool_]) -> tuple[Floats, ...]:
    gain_slb = np.nan_to_num(gain_slb)
    largest_sb = gain_slb.max(axis=1)
    high_slb = gain_slb >= largest_sb[:, None] / 2
    onset_slb = high_slb & surely_sl[..., None]
    gains_sb = largest_sb > 0
    onset_sb = np.where(gains_sb & onset_slb.any(axis=1), depth_l[onset_slb.argmax(axis=1)], np.nan)
    weight_slb = np.maximum(gain_slb, 0)
    moment_sb, total_sb = np.einsum("l,slb->sb", depth_l, weight_slb), weight_slb.sum(axis=1)
    centre_sb = np.divide(moment_sb, total_sb, out=np.full(total_sb.shape, np.nan), where=gains_sb)
    return onset_sb, centre_sb, np.where(gains_sb, high_slb.mean(axis=1), np.nan)


def _modes(gain_sl: Floats, gain_slb: Floats) -> Mapping[str, list[float | int | None]]:
    p_s, swing_s = dip_test(gain_sl, gain_slb)
    if gain_sl.shape[1] < 3:
        p_s[:] = np.nan
    known_s = np.isfinite(swing_s)
    modes_s = np.where(gain_sl.max(axis=1) >= MARGIN, count_modes(gain_sl, np.fmax(swing_s, MARGIN)), 0)
    return {
        "n_modes": [int(n) if known else None for n, known in zip(modes_s, known_s, strict=True)],
        "dip_p": [float(p) if np.isfinite(p) else None for p in p_s],
    }
