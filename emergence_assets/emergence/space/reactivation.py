"""Reactivation of categories: presence that falls in some layers and returns in later ones, anywhere in the depth.

A row contains the measurement and the criteria that it meets. Whether a category is reactivated is a claim
(`claims/of_space.py`).

The place of the valley is chosen on split select (`valleys.py`). Drops are computed from gains over step 0 (AUROC
units), so that the margin of 0.05 means the same in all tables. The dense probe is an exception: it may read most
categories before training. Its drop is computed from its own AUROC.

Shape suffixes: s series, l layers, w windows of layers, k SAE seeds, g parts of the depth, b bootstrap replicates.
"""

from typing import Any

import numpy as np
import polars as pl
import polars.selectors as cs
from numpy.typing import NDArray

from emergence_assets.emergence.presence.net import RANDOM
from emergence_assets.emergence.presence.replicates import MARGIN, matching_rows, p_not_above_zero
from emergence_assets.emergence.space.modes import count_modes, dip_test
from emergence_assets.emergence.space.profiles import Profiles, defined_estimate, depth_profiles
from emergence_assets.emergence.space.table import REACTIVATION
from emergence_assets.emergence.space.thirds import part_means, part_weights
from emergence_assets.emergence.space.valleys import Valleys, locate_valleys, valley_depth, window_width, windowed
from emergence_assets.features.statistics.formulas import benjamini_hochberg

Floats = NDArray[np.float64]
MIN_LAYERS = 6
"""Layers below which the verdict is "insufficient"."""
MIN_SEEDS = 2
"""SAE seeds below which the verdict is "insufficient": one seed does not show what another would find."""
MIN_ENDS = 0.05
"""Gain in AUROC units that peak and return must have: below it no presence could have returned."""
CRITERIA = ("gate_layers", "gate_drop", "gate_interval", "gate_fdr", "gate_seeds", "gate_presence")
_KEY = ["model", "step", "control_id", "aggregate", "category_level", "category"]


def reactivation(category_presence: pl.DataFrame) -> pl.DataFrame:
    """Return one row per (model, step, control, aggregate, level, category): the deepest valley, and a verdict.

    * early, mid, late: mean gain over the blocks of each third of the depth (`thirds.part_weights`); a description.
    * peak_depth, valley_depth, return_depth: relative depth of the windows of the deepest valley on split select.
    * drop: min(peak, return) - valley of the gain in these windows. ri: drop / min(peak, return), null if that minimum
      is below 0.05. drop_presence: the same of p_best itself, without step 0. random_drop: of the gain of random
      encoders; net_drop: of the gain beyond theirs. dense_drop: of the dense probe.
    * dip_p: p-value of "one mode" for the windowed profile (`modes.dip_test`); its null distribution has the noise of
      neighbouring layers together. n_returns: further modes, separated by more than 0.05 and the noise.
    * p_value: of "no drop", normal with the standard deviation of the replicates. q: Benjamini-Hochberg over the
      categories of the model, step, control and level.
    * criteria (columns gate_*): at least 6 layers; drop >= 0.05; drop_lo > 0; q < 0.05; at least two SAE seeds, two
      thirds of which drop; and a drop of p_best itself with the same margin and bound, so that a mode of the untrained
      model is not mistaken for a dip of the trained model. passes_gate: all criteria are met. dip_p is none: it finds
      half as many valleys of 0.15 in six layers, and rejects no more (`benchmarks/reactivation_rules.py`).
    * verdict: "insufficient" below 6 layers (without step 0 no layer can be compared) or below 2 seeds; "undefined" if
      min(peak, return) is below 0.05; "none" if a criterion is not met; "geometric" if random encoders drop by 0.05
      too, with a lower bound above 0, and no drop beyond theirs is shown; "representational" if the dense probe drops
      by 0.05 too, with a lower bound above 0; otherwise "allocation": the drop is shown only for the SAEs.

    Intervals cover the uncertainty of texts and SAE seeds (`profiles.py`); the interval of dense_drop covers texts
    only. See `REACTIVATION`.
    """
    frames = [_of_checkpoint(profiles) for profiles in depth_profiles(category_presence)]
    return pl.concat(frames).sort(_KEY) if frames else REACTIVATION.schema.to_frame()


def _of_checkpoint(profiles: Profiles) -> pl.DataFrame:
    compared = profiles.compared_l
    layers, n_layers = profiles.layers[compared], int(profiles.series["n_layers"][0])
    gain_sl, gain_slb = profiles.gain_sl[:, compared], profiles.gain_slb[:, compared]
    weights = part_weights(layers, n_layers)
    parts_gs, parts_gsb = part_means(weights, gain_sl), part_means(weights, gain_slb)
    columns: dict[str, Any] = {"level": "category", "n_layers_read": len(layers)}
    for part, name in enumerate(("early", "mid", "late")):
        columns |= defined_estimate(name, parts_gs[part], parts_gsb[part])
    if len(layers) >= 3:
        columns |= _of_valleys(profiles, compared)
    added = pl.DataFrame(columns, schema_overrides=REACTIVATION.schema)
    absent = {name: pl.lit(None, dtype) for name, dtype in REACTIVATION.schema.items()}
    row = profiles.series.with_columns(*added).with_columns(cs.float().fill_nan(None))
    frame = row.with_columns(**{name: value for name, value in absent.items() if name not in row.columns})
    frame = frame.with_columns(n_seeds_agree=pl.col("n_seeds_agree").fill_null(0), n_boot=pl.lit(gain_slb.shape[-1]))
    return _with_verdict(_with_q(frame)).select(pl.col(name).cast(dtype) for name, dtype in REACTIVATION.schema.items())


def _of_valleys(profiles: Profiles, compared: NDArray[np.bool_]) -> dict[str, Any]:
    """Return the columns that depend on the place of the valley."""
    layers = profiles.layers[compared]

    def over_windows(profile_sl: Floats) -> Floats:
        return windowed(profile_sl[:, compared])

    gain_sw, gain_swb = over_windows(profiles.gain_sl), over_windows(profiles.gain_slb)
    at = locate_valleys(over_windows(profiles.gain_select_sl), window_width(len(layers)))
    drop_s, ends_s = valley_depth(gain_sw, at)
    drop_sb, ends_sb = valley_depth(gain_swb, at)
    index_s = np.divide(drop_s, ends_s, out=np.full(len(drop_s), np.nan), where=ends_s >= MIN_ENDS)
    index_sb = np.divide(drop_sb, ends_sb, out=np.full(drop_sb.shape, np.nan), where=ends_sb > 0)
    dip_p, swing_s = dip_test(gain_sw, gain_swb)
    modes_s = count_modes(gain_sw, np.fmax(swing_s, MARGIN))
    random_s = _beside(profiles)
    random_sw = np.where((random_s >= 0)[:, None], gain_sw[random_s], np.nan)
    random_swb = np.where((random_s >= 0)[:, None, None], gain_swb[random_s], np.nan)
    depth_w = windowed(profiles.depth_l[None, compared])[0]
    columns: dict[str, Any] = {
        name: depth_w[window] for name, window in zip(("peak_depth", "valley_depth", "return_depth"), at, strict=True)
    }
    columns |= defined_estimate("drop", drop_s, drop_sb) | defined_estimate("ri", index_s, index_sb)
    for name, profile_sw, profile_swb in (
        ("drop_presence", over_windows(profiles.p_best_sl), over_windows(profiles.p_best_slb)),
        ("random_drop", random_sw, random_swb),
        ("net_drop", gain_sw - random_sw, gain_swb - random_swb),
        ("dense_drop", over_windows(profiles.dense_sl), over_windows(profiles.dense_slb)),
    ):
        columns |= _drop_of(name, profile_sw, profile_swb, at)
    return columns | {
        "dip_p": dip_p,
        "n_returns": np.where(np.isfinite(swing_s), modes_s - 1, 0),
        "p_value": p_not_above_zero(drop_s, drop_sb),
        "n_seeds_agree": (valley_depth(over_windows(profiles.gain_slk), at)[0] > 0).sum(axis=-1),
    }


def _beside(profiles: Profiles) -> NDArray[np.int64]:
    """Return for each measured series the position of that of the random encoders; -1 without one and for controls."""
    at = ("aggregate", "category_level", "category")
    found = matching_rows(profiles.series, at, pl.col("control_id") == RANDOM)
    return np.where((profiles.series["control_id"] == "none").to_numpy(), found, -1)


def _drop_of(name: str, profile_sw: Floats, profile_swb: Floats, at: Valleys) -> dict[str, Floats]:
    return defined_estimate(name, valley_depth(profile_sw, at)[0], valley_depth(profile_swb, at)[0])


def _with_q(frame: pl.DataFrame) -> pl.DataFrame:
    """Add q: Benjamini-Hochberg over the categories of a control and level; a mean forms its own family."""
    return pl.concat(
        family.with_columns(q=pl.Series(benjamini_hochberg(family["p_value"].to_numpy())).fill_nan(None))
        for family in frame.partition_by("control_id", "category_level", "aggregate", maintain_order=True)
    )


def _with_verdict(frame: pl.DataFrame) -> pl.DataFrame:
    """Add the criteria, one column each, and the verdict that follows from them."""
    seeds, agree = pl.col("n_seeds"), pl.col("n_seeds_agree")
    enough = (pl.col("n_layers_read") >= MIN_LAYERS) & (seeds >= MIN_SEEDS)
    return (
        frame.with_columns(
            gate_layers=pl.col("n_layers_read") >= MIN_LAYERS,
            gate_drop=pl.col("drop").fill_null(0.0) >= MARGIN,
            gate_interval=pl.col("drop_lo").fill_null(0.0) > 0,
            gate_fdr=pl.col("q").fill_null(1.0) < 0.05,
            gate_seeds=(seeds >= MIN_SEEDS) & (3 * agree.cast(pl.Int32) >= 2 * seeds.cast(pl.Int32)),
            gate_presence=_drops("drop_presence"),
        )
        .with_columns(passes_gate=pl.all_horizontal(*CRITERIA) & pl.col("ri").is_not_null())
        .with_columns(
            verdict=pl.when(~enough)
            .then(pl.lit("insufficient"))
            .when(pl.col("ri").is_null())
            .then(pl.lit("undefined"))
            .when(~pl.col("passes_gate"))
            .then(pl.lit("none"))
            .when(_drops("random_drop") & ~(pl.col("net_drop_lo").fill_null(0.0) > 0))
            .then(pl.lit("geometric"))
            .when(_drops("dense_drop"))
            .then(pl.lit("representational"))
            .otherwise(pl.lit("allocation"))
        )
    )


def _drops(name: str) -> pl.Expr:
    """Return whether a drop reaches the margin, with a lower bound above 0."""
    return (pl.col(name).fill_null(0.0) >= MARGIN) & (pl.col(f"{name}_lo").fill_null(0.0) > 0)
