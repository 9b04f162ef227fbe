"""Rows of `feature_use`: how much more the loss rises on a category's own texts, beside other latents.

Shape suffixes: r removals, p texts, b bootstrap replicates, s seeds.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
import polars.selectors as cs
from numpy.typing import NDArray

from emergence_assets.emergence.presence.replicates import p_not_above_zero
from emergence_assets.emergence.presence.seed_draws import nested_relative_means
from emergence_assets.emergence.use.losses import Losses
from emergence_assets.emergence.use.table import FEATURE_USE
from emergence_assets.features.statistics.formulas import benjamini_hochberg, estimate

Floats = NDArray[np.float64]
TESTED = ("use", "above_control", "above_random")
"""Numbers that have to be above zero: one-sided tests, of which the largest p-value is taken."""
TOLERANCE = 1e-4
"""Rounding of a difference in single precision, in nats per token."""
QUANTITIES = ("rise_own", "rise_other", "use", "use_control", "use_random", "above_control", "above_random")


@dataclass(frozen=True, eq=False)
class Measured:
    """Losses of one category."""

    category: str
    losses: Losses
    """Texts of the category, then other texts."""
    is_own_p: NDArray[np.bool_]
    weights_pb: NDArray[np.float32]
    """Bootstrap weights of the texts."""
    role_r: NDArray[np.str_]
    """Role of each removal: latent, control or random."""
    seed_r: NDArray[np.integer]
    """SAE seed, or number of the random encoder, of each removal."""


def feature_use(keys: Mapping[str, Any], level: str, measured: Sequence[Measured]) -> pl.DataFrame:
    """Return the rows of one level in one layer: each category, then their mean; see `FEATURE_USE`.

    Rises are in nats per token, over all tokens of a side, means over SAE seeds. `use_control` averages the controls of
    a seed, and differences are taken within a seed. The replicates draw texts and seeds, whose deviation is pooled over
    the categories in proportion to their effects (`seed_draws.nested_relative_means`).

    Args:
        keys: model, n_params_nonemb, step, tokens_seen, n_layers, layer and data_version.
        level: label level.
        measured: at least one category, each with a latent of at least one seed.
    """
    points = [_by_seed(one) for one in measured]
    values = {name: np.array([each[name][0].mean() for each in points]) for name in QUANTITIES}
    n_seeds = np.array([len(each["use"][0]) for each in points])
    replicates = {
        name: nested_relative_means(
            np.concatenate([each[name][1] for each in points]),
            np.concatenate([each[name][0] for each in points]),
            n_seeds,
            (keys["model"], keys["step"], keys["layer"], level, name),
        )
        for name in QUANTITIES
    }
    rows = [_facts(one) | _interval_columns(values, replicates, [n]) for n, one in enumerate(measured)]
    every = list(range(len(rows)))
    means = {name: float(np.mean([row[name] for row in rows])) for name in ("loss", "active", "active_other")}
    controls = [row["active_control"] for row in rows if np.isfinite(row["active_control"])]
    rows.append(
        {
            "aggregate": "mean",
            "category": None,
            "n_categories": len(rows),
            **{name: sum(row[name] for row in rows) for name in ("n_texts", "n_other_texts")},
            **means,
            "active_control": np.mean(controls) if controls else np.nan,
            **{name: min(row[name] for row in rows) for name in ("n_seeds", "n_boot")},
            "n_seeds_agree": _agreeing_means(points),
            **_interval_columns(values, replicates, every),
        }
    )
    frame = pl.DataFrame(rows).with_columns(
        *(pl.lit(value).alias(name) for name, value in keys.items()), category_level=pl.lit(level)
    )
    p_value = np.max([_p_value(values[name], replicates[name]) for name in TESTED], axis=0)
    p_mean = np.max([_p_value(values[name].mean(), replicates[name].mean(axis=0)[None])[0] for name in TESTED])
    corrected = pl.Series(np.append(benjamini_hochberg(p_value), p_mean))
    frame = frame.with_columns(p_value=pl.Series(np.append(p_value, p_mean)), q=corrected)
    frame = frame.with_columns(cs.float().fill_nan(None))
    return frame.select(pl.col(name).cast(dtype) for name, dtype in FEATURE_USE.schema.items())


def wrong_differences(rows: pl.DataFrame) -> int:
    """Count the rows in which a difference is not the difference of its two numbers."""
    terms = (
        ("use", "rise_own", "rise_other"),
        ("above_control", "use", "use_control"),
        ("above_random", "use", "use_random"),
    )
    is_wrong = [
        ((pl.col(name) - (pl.col(whole) - pl.col(part))).abs() > TOLERANCE).fill_null(False)
        for name, whole, part in terms
    ]
    return rows.filter(pl.any_horizontal(is_wrong)).height


def _p_value(value: Any, replicates: Floats) -> Floats:
    return p_not_above_zero(np.atleast_1d(value), replicates)


def _by_seed(one: Measured) -> dict[str, tuple[Floats, Floats]]:
    """Return every quantity by SAE seed, as estimates [s] and replicates [s, b]."""
    own_r, own_rb = _rises(one, one.is_own_p)
    other_r, other_rb = _rises(one, ~one.is_own_p)
    use = own_r - other_r, own_rb - other_rb
    is_latent = one.role_r == "latent"
    found = {"rise_own": (own_r[is_latent], own_rb[is_latent]), "rise_other": (other_r[is_latent], other_rb[is_latent])}
    found["use"] = (use[0][is_latent], use[1][is_latent])
    seeds, drawn = one.seed_r[is_latent], one.seed_r[one.role_r == "random"]
    for role in ("control", "random"):
        # Random encoders stand beside SAEs in turn: both are draws, so that any pairing is as good.
        numbers = seeds if role == "control" or not len(drawn) else np.resize(drawn, len(seeds))
        each = [(one.role_r == role) & (one.seed_r == number) for number in numbers]
        point_s = np.array([use[0][here].mean() if here.any() else np.nan for here in each])
        replicates_sb = np.stack(
            [use[1][here].mean(axis=0) if here.any() else np.full_like(use[1][0], np.nan) for here in each]
        )
        found[f"use_{role}"] = point_s, replicates_sb
        found[f"above_{role}"] = found["use"][0] - point_s, found["use"][1] - replicates_sb
    return found


def _rises(one: Measured, where_p: NDArray[np.bool_]) -> tuple[Floats, Floats]:
    """Return the rise of the loss per token over some texts, estimates [r] and replicates [r, b]."""
    losses, weights_pb = one.losses, one.weights_pb[where_p].astype(np.float64)
    more_rp = (losses.without_rp - losses.clean_p)[:, where_p]
    tokens_p = losses.n_tokens_p[where_p]
    with np.errstate(divide="ignore", invalid="ignore"):
        return more_rp.sum(axis=1) / tokens_p.sum(), (more_rp @ weights_pb) / (tokens_p @ weights_pb)


def _facts(one: Measured) -> dict[str, Any]:
    """Return the columns of a category that have no interval."""
    losses, own_p = one.losses, one.is_own_p
    active = {role: losses.active_rp[one.role_r == role] for role in ("latent", "control")}
    positions_p = losses.n_tokens_p + 1
    point_s, _ = _by_seed(one)["above_control"]
    return {
        "aggregate": "none",
        "category": one.category,
        "n_categories": 1,
        "n_texts": int(own_p.sum()),
        "n_other_texts": int((~own_p).sum()),
        "loss": losses.clean_p[own_p].sum() / losses.n_tokens_p[own_p].sum(),
        "active": _share(active["latent"], positions_p, own_p),
        "active_other": _share(active["latent"], positions_p, ~own_p),
        "active_control": _share(active["control"], positions_p, own_p),
        "n_seeds": int((one.role_r == "latent").sum()),
        "n_seeds_agree": int((point_s > 0).sum()),
        "n_boot": one.weights_pb.shape[1],
    }


def _share(active_rp: NDArray[np.int64], positions_p: NDArray[np.int64], where_p: NDArray[np.bool_]) -> float:
    if not len(active_rp):
        return float("nan")
    return float(active_rp[:, where_p].sum(axis=1).mean() / positions_p[where_p].sum())


def _interval_columns(
    values: Mapping[str, Floats], replicates: Mapping[str, Floats], rows: list[int]
) -> dict[str, Any]:
    """Return every quantity with its interval, mean over some categories."""
    columns: dict[str, Any] = {}
    for name in QUANTITIES:
        columns |= estimate(name, float(values[name][rows].mean()), replicates[name][rows].mean(axis=0))
    return columns


def _agreeing_means(points: Sequence[Mapping[str, tuple[Floats, Floats]]]) -> int:
    """Count the seeds whose above_control, averaged over the categories with as many seeds, is above zero."""
    n_seeds = min(len(each["above_control"][0]) for each in points)
    return int((np.mean([each["above_control"][0][:n_seeds] for each in points], axis=0) > 0).sum())
