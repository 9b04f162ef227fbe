"""Reactivation of categories: presence in early layers that drops in the middle layers and returns in late layers.

A row contains the measurement and the criteria that it meets. Whether a category is reactivated is a claim
(`claims/of_space.py`).

Drops are computed from gains over step 0 (AUROC units), so that the margin of 0.05 means the same in all tables. The
dense probe is an exception: it may read most categories before training. Its drop is computed from its own AUROC.

Shape suffixes: s series, l layers, k SAE seeds, g parts of the depth, b bootstrap replicates.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import polars as pl
import polars.selectors as cs
from numpy.typing import NDArray

from emergence_assets.emergence.presence.replicates import MARGIN, p_not_above_zero
from emergence_assets.emergence.space.dip import permutation_p, smoothed_dip
from emergence_assets.emergence.space.profiles import Profiles, defined_estimate, depth_profiles
from emergence_assets.emergence.space.table import REACTIVATION
from emergence_assets.emergence.space.thirds import (
    MIN_ENDS,
    QUARTERS,
    drop,
    part_means,
    part_weights,
    reactivation_index,
)
from emergence_assets.features.statistics.formulas import benjamini_hochberg

Floats = NDArray[np.float64]
MIN_LAYERS = 6
"""Layers below which the verdict is "insufficient": two for each third of the depth."""
MIN_SEEDS = 2
"""SAE seeds below which the verdict is "insufficient": one seed does not show what another would find."""
CRITERIA = ("gate_layers", "gate_drop", "gate_interval", "gate_fdr", "gate_seeds", "gate_presence")
_KEY = ["model", "step", "control_id", "aggregate", "category_level", "category"]


def reactivation(category_presence: pl.DataFrame) -> pl.DataFrame:
    """Return one row per (model, step, control, aggregate, level, category): means over thirds of the depth, a verdict.

    * early, mid, late: mean gain over the blocks of each third of the depth (`thirds.part_weights`).
    * drop: min(early, late) - mid. ri: drop / min(early, late), null if that minimum is below 0.05.
    * drop_quarters: drop with the middle between 1/4 and 1/2 of the depth. drop_presence: drop of p_best itself,
      without step 0. dense_drop: drop of the dense probe.
    * valley_depth: relative depth of the deepest dip of the smoothed profile. perm_p: share of permutations of the
      layers with a dip as deep (`dip.py`); not a criterion, because six layers have too few orders.
    * p_value: of "no drop", normal with the standard deviation of the replicates. q: Benjamini-Hochberg over the
      categories of the model, step, control and level.
    * criteria (columns gate_*): at least 6 layers; drop >= 0.05; drop_lo > 0; q < 0.05; at least two SAE seeds, two
      thirds of which drop; and a drop of p_best itself with the same margin and bound, so that a mode of the untrained
      model is not mistaken for a dip of the trained model. passes_gate: all criteria are met.
    * verdict: "insufficient" below 6 layers (without step 0 no layer can be compared) or below 2 seeds; "undefined" if
      min(early, late) is below 0.05; "none" if a criterion is not met; "representational" if the dense probe drops by
      0.05 too, with a lower bound above 0; otherwise "allocation": the drop is shown only for the SAEs.

    Intervals cover the uncertainty of texts and SAE seeds (`profiles.py`); the interval of dense_drop covers texts
    only. See `REACTIVATION`.
    """
    frames = [_of_checkpoint(profiles) for profiles in depth_profiles(category_presence)]
    return pl.concat(frames).sort(_KEY) if frames else REACTIVATION.schema.to_frame()


def _of_checkpoint(profiles: Profiles) -> pl.DataFrame:
    compared = profiles.compared_l
    layers, n_layers = profiles.layers[compared], int(profiles.series["n_layers"][0])
    weights = part_weights(layers, n_layers)
    gain_sl, gain_slb = profiles.gain_sl[:, compared], profiles.gain_slb[:, compared]
    parts_gs, parts_gsb = part_means(weights, gain_sl), part_means(weights, gain_slb)
    columns: dict[str, Any] = {"level": "category", "n_layers_read": len(layers)}
    for part, name in enumerate(("early", "mid", "late")):
        columns |= defined_estimate(name, parts_gs[part], parts_gsb[part])
    drop_s, drop_sb = drop(parts_gs), drop(parts_gsb)
    columns |= defined_estimate("drop", drop_s, drop_sb)
    defined = np.minimum(parts_gs[0], parts_gs[2]) >= MIN_ENDS
    columns |= defined_estimate(
        "ri", np.where(defined, reactivation_index(parts_gs), np.nan), reactivation_index(parts_gsb)
    )
    columns |= _drop_of("drop_quarters", part_weights(layers, n_layers, QUARTERS), gain_sl, gain_slb)
    columns |= _drop_of("drop_presence", weights, profiles.p_best_sl[:, compared], profiles.p_best_slb[:, compared])
    columns |= _drop_of("dense_drop", weights, profiles.dense_sl[:, compared], profiles.dense_slb[:, compared])
    dip_s = smoothed_dip(gain_sl)
    columns |= {
        "valley_depth": [None if at is None else float((layers[at] + 1) / n_layers) for at in dip_s],
        "perm_p": permutation_p(gain_sl),
        "p_value": p_not_above_zero(drop_s, drop_sb),
        "n_seeds_agree": (drop(part_means(weights, profiles.gain_slk[:, compared])) > 0).sum(axis=-1),
        "n_boot": gain_slb.shape[-1],
    }
    added = pl.DataFrame(columns, schema_overrides=REACTIVATION.schema)
    frame = _with_q(profiles.series.with_columns(*added).with_columns(cs.float().fill_nan(None)))
    return _with_verdict(frame).select(pl.col(name).cast(dtype) for name, dtype in REACTIVATION.schema.items())


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
            gate_presence=(pl.col("drop_presence").fill_null(0.0) >= MARGIN)
            & (pl.col("drop_presence_lo").fill_null(0.0) > 0),
        )
        .with_columns(passes_gate=pl.all_horizontal(*CRITERIA) & pl.col("ri").is_not_null())
        .with_columns(
            verdict=pl.when(~enough)
            .then(pl.lit("insufficient"))
            .when(pl.col("ri").is_null())
            .then(pl.lit("undefined"))
            .when(~pl.col("passes_gate"))
            .then(pl.lit("none"))
            .when((pl.col("dense_drop").fill_null(0.0) >= MARGIN) & (pl.col("dense_drop_lo").fill_null(0.0) > 0))
            .then(pl.lit("representational"))
            .otherwise(pl.lit("allocation"))
        )
    )


def _drop_of(name: str, weights_gl: Floats, profile_sl: Floats, profile_slb: Floats) -> Mapping[str, Floats]:
    return defined_estimate(name, drop(part_means(weights_gl, profile_sl)), drop(part_means(weights_gl, profile_slb)))
