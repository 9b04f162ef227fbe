"""Rows of `reactivation_mechanism`: shares of a late latent and its dependence on an early latent, one per category.

Shape suffixes: p texts, b bootstrap replicates, s seeds, v changes, x parts.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl
import polars.selectors as cs
from numpy.typing import NDArray

from emergence_assets.emergence.mechanism.causal_dependence import causal_dependence
from emergence_assets.emergence.mechanism.contrast import PARTS, shares, top_heads
from emergence_assets.emergence.mechanism.forward_pass import Measured, Target
from emergence_assets.emergence.mechanism.table import REACTIVATION_MECHANISM
from emergence_assets.emergence.mechanism.targets import FIRST_CONTROL, RESAMPLE, ZERO
from emergence_assets.features.statistics.formulas import interval, mean_of_defined
from emergence_assets.features.statistics.labels import Labels

Floats = NDArray[np.float64]
Estimates = dict[str, tuple[float, Floats]]
"""Estimate and bootstrap replicates by column name."""


def reactivation_mechanism(
    keys: Mapping[str, Any],
    chosen: pl.DataFrame,
    labels: Labels,
    targets: Sequence[Target],
    measured: Sequence[Measured],
    weights_pb: NDArray[np.float32],
) -> pl.DataFrame:
    """Return one row per chosen category; see `REACTIVATION_MECHANISM`.

    Args:
        keys: model, n_params_nonemb, step, tokens_seen, n_layers and data_version of the checkpoint.
        chosen: result of `mechanism_layers`.
        labels: labels of all probe texts.
        targets: measured targets.
        measured: measurements in the order of the targets, on the texts of split score.
        weights_pb: bootstrap weights of all probe texts.
    """
    score = labels.rows(select=False)
    rows = []
    for row in chosen.iter_rows(named=True):
        category = labels.categories.index(row["category"])
        is_own_p = labels.codes_p[score] == category
        found = [
            _seed_estimates(target, one, is_own_p, weights_pb[score])
            for target, one in zip(targets, measured, strict=True)
            if target.category == category
        ]
        rows.append(
            {
                **keys,
                **row,
                "category_level": labels.level,
                "n_texts": int(is_own_p.sum()),
                "n_boot": weights_pb.shape[1],
                **_row(found),
            }
        )
    return _frame(rows)


def without_mechanism(keys: Mapping[str, Any], level: str, why: str) -> pl.DataFrame:
    """Return the single row of a model without any measurement; `why` is a value of `undefined_because`."""
    return _frame([{**keys, "category_level": level, "undefined_because": why, "n_boot": 0}])


def _frame(rows: list[dict[str, Any]]) -> pl.DataFrame:
    frame = pl.DataFrame(rows, schema=REACTIVATION_MECHANISM.schema)
    return frame.with_columns(cs.float().fill_nan(None)).sort("category", nulls_last=True)


def _seed_estimates(
    target: Target, measured: Measured, is_own_p: NDArray[np.bool_], weights_pb: NDArray[np.float32]
) -> tuple[Estimates, NDArray[np.float64] | None, Measured]:
    """Return the estimates of one seed, the share of every head, and the measurements."""
    own_weights_pb = weights_pb[is_own_p]
    cdi_v, cdi_vb = causal_dependence(measured.clean_p[is_own_p], measured.changed_vp[:, is_own_p], own_weights_pb)
    control, control_b = cdi_v[FIRST_CONTROL:].mean(), cdi_vb[FIRST_CONTROL:].mean(axis=0)
    found: Estimates = {
        "cdi": (cdi_v[ZERO], cdi_vb[ZERO]),
        "cdi_resample": (cdi_v[RESAMPLE], cdi_vb[RESAMPLE]),
        "cdi_control": (control, control_b),
        "cdi_excess": (cdi_v[ZERO] - control, cdi_vb[ZERO] - control_b),
    }
    head_share_lh = None
    if measured.parts_xp is not None:
        whole = shares(measured.parts_xp, is_own_p, weights_pb)
        found["contrast"] = (whole.contrast, whole.contrast_b)
        found |= {f"share_{name}": (whole.share_x[x], whole.share_xb[x]) for x, name in enumerate(PARTS)}
        if measured.heads_lh is not None:
            head_share_lh = measured.heads_lh / (whole.contrast if np.isfinite(whole.share_x[0]) else np.nan)
    return found, head_share_lh, measured


def _row(found: Sequence[tuple[Estimates, NDArray[np.float64] | None, Measured]]) -> dict[str, Any]:
    """Average over seeds, with intervals, and count the seeds that agree with the mean."""
    if not found:
        return {"undefined_because": "no_latent"}
    estimates = [one for one, _, _ in found]
    row: dict[str, Any] = {"n_seeds": len(found)}
    for name in estimates[0]:
        row[name] = float(mean_of_defined(np.array([one[name][0] for one in estimates]), 0))
        replicates_b = mean_of_defined(np.stack([one[name][1] for one in estimates]), 0)
        lo, hi = interval(replicates_b) if np.isfinite(row[name]) else (np.nan, np.nan)
        row |= {f"{name}_lo": float(lo), f"{name}_hi": float(hi)}
    fires_v = np.mean([one.fires_vp[:, ~np.isnan(one.clean_p)].mean(axis=1) for _, _, one in found], axis=0)
    row |= {"early_rate": fires_v[ZERO], "control_rate": fires_v[FIRST_CONTROL:].mean()}
    row["n_seeds_agree_cdi"] = sum(np.sign(one["cdi_excess"][0]) == np.sign(row["cdi_excess"]) for one in estimates)
    if "contrast" not in row:
        return row | {"undefined_because": "blocks"}
    names = [f"share_{name}" for name in PARTS]
    if not np.isfinite(row[names[0]]):
        return row | {"undefined_because": "contrast", "n_seeds_agree_parts": 0}
    largest = max(names, key=row.__getitem__)
    row["n_seeds_agree_parts"] = sum(all(one[largest][0] >= one[name][0] for name in names) for one in estimates)
    heads = [share_lh for _, share_lh, _ in found if share_lh is not None]
    if heads:
        listed = top_heads(mean_of_defined(np.stack(heads), 0), found[0][2].layers)
        row["top_heads"] = [one._asdict() for one in listed]
    return row | {"undefined_because": "none"}
