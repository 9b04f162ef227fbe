"""Persistence of latents over depth: co-activation of early latents with their matches in the last third.

Three explanations fit an early latent with a match in the last third and none between (`skips_middle`). The latent
may have returned. The SAEs between may have missed it, as they miss most latents of another seed: `p_missed` is the
chance of that. Or two unrelated latents share a label. The persistence lift (column `carry_lift`) separates them:
P(late active | early active) / P(late active). It is measured on split score; the match was chosen on split select.
The control is the same lift of late latents that are active equally often and were not matched.

Shape suffixes: p texts, e pairs, b bootstrap replicates.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from emergence_assets.emergence.lineage.read_latents import ReadSAE, SAEKey
from emergence_assets.emergence.lineage.stability_table import LATENT_CARRY
from emergence_assets.emergence.space.thirds import part_of_layers
from emergence_assets.features.statistics.formulas import bootstrap_weights

N_CONTROLS = 5
"""Late latents of nearest frequency that replace the match, one at a time; the mean of their lifts is the control."""
_EARLY = ["src_layer", "src_sae_seed", "src_latent"]


class _Lift(NamedTuple):
    """Persistence lift of each pair, its 95 % interval, and the number of texts with both latents active."""

    value_e: NDArray[np.float64]
    lo_e: NDArray[np.float64]
    hi_e: NDArray[np.float64]
    n_joint_e: NDArray[np.int64]


def latent_persistence(
    edges: pl.DataFrame,
    stability: pl.DataFrame,
    read: Callable[[SAEKey], ReadSAE],
    layers: list[int],
    n_layers: int,
    n_boot: int = 200,
    boot_seed: int = 0,
) -> pl.DataFrame:
    """Return one row per accepted edge from the first to the last third of the layers; see `LATENT_CARRY`.

    Only the last step is read.

    Args:
        edges: `feature_lineage` of one model.
        stability: `lineage_stability` of the model; source of the ceilings of the middle layers.
        read: returns an SAE of the last step with its activity.
        layers: layers of the study.
        n_layers: number of blocks of the model.
        n_boot: bootstrap replicates over texts.
        boot_seed: seed of the text weights.
    """
    own = edges.filter((pl.col("axis") == "layer") & pl.col("accepted"))
    parts_of_depth = part_of_layers(np.arange(n_layers), n_layers).tolist()
    own = own.with_columns(
        pl.col(f"{side}_layer")
        .replace_strict(range(n_layers), parts_of_depth, return_dtype=pl.Int64)
        .alias(f"{side}_third")
        for side in ("src", "dst")
    ).filter(pl.col("src_third") == 0)
    blocks = np.array([layer for layer in layers if layer >= 0], np.int64)
    middle = blocks[part_of_layers(blocks, n_layers) == 1].tolist()
    between = (
        own.filter(pl.col("dst_third") == 1)
        .group_by(_EARLY, maintain_order=True)
        .agg(n_mid_matched=pl.col("dst_layer").n_unique())
    )
    late = own.filter(pl.col("dst_third") == 2).join(between, on=_EARLY, how="left", maintain_order="left")
    if late.is_empty():
        return LATENT_CARRY.schema.to_frame()
    parts = []
    for part in late.partition_by("src_layer", "src_sae_seed", "dst_layer", "dst_sae_seed", maintain_order=True):
        ends = part.row(0, named=True)
        early, later = (
            read(SAEKey(ends[f"{side}_step"], ends[f"{side}_layer"], ends[f"{side}_sae_seed"]))
            for side in ("src", "dst")
        )
        parts.append(
            part.with_columns(pl.Series(n, v) for n, v in _persistence(part, early, later, n_boot, boot_seed).items())
        )
    return (
        pl.concat(parts)
        .with_columns(
            n_mid_layers=pl.lit(len(middle)),
            p_missed=pl.lit(_missed(stability, middle), pl.Float64),
            n_mid_matched=pl.col("n_mid_matched").fill_null(0),
            # Without a middle layer no latent can skip the middle.
            skips_middle=(pl.col("n_mid_matched").fill_null(0) == 0) & bool(middle),
            n_boot=pl.lit(n_boot),
        )
        .rename({"src_step": "step"})
        .select(pl.col(name).cast(dtype) for name, dtype in LATENT_CARRY.schema.items())
        .sort("src_layer", "dst_layer", "src_sae_seed", "src_latent")
    )


def _missed(stability: pl.DataFrame, middle: list[int]) -> float | None:
    """Return the chance that the SAEs of all middle layers miss an existing latent: product of 1 - seed ceiling."""
    ceilings = stability.filter(
        (pl.col("axis") == "seed") & (pl.col("population") == "firing") & pl.col("layer").is_in(middle)
    ).filter(pl.col("step_from") == pl.col("step_from").max())
    return (
        None if not middle or len(ceilings) < len(middle) else float((1 - ceilings["s_raw"].cast(pl.Float64)).product())
    )


def _persistence(part: pl.DataFrame, early: ReadSAE, later: ReadSAE, n_boot: int, boot_seed: int) -> dict[str, Any]:
    """Return the columns of the edges between two SAEs: category, counts of texts, lift and control lift."""
    early_e = np.searchsorted(early.latents.latent_n, part["src_latent"].to_numpy())
    late_e = np.searchsorted(later.latents.latent_n, part["dst_latent"].to_numpy())
    fires_early, fires_late = early.score.firing().values_pn.tocsc(), later.score.firing().values_pn.tocsc()
    weights_pb = bootstrap_weights(fires_early.shape[0], n_boot, boot_seed)
    measured = _lift(fires_early[:, early_e], fires_late[:, late_e], weights_pb)
    stand_in_ec = _equally_frequent(later.latents.activity.n_active_n, late_e)
    n_stand_in = stand_in_ec.shape[1]
    columns: dict[str, Any] = {
        "category": pl.Series(early.category_n[early_e].tolist(), dtype=pl.String),
        "n_early": np.asarray(fires_early.sum(axis=0))[early_e].astype(int),
        "n_late": np.asarray(fires_late.sum(axis=0))[late_e].astype(int),
        "n_joint": measured.n_joint_e,
    }
    controls = None
    if n_stand_in:
        repeated = fires_early[:, np.repeat(early_e, n_stand_in)]
        controls = _lift(repeated, fires_late[:, stand_in_ec.ravel()], weights_pb, n_stand_in)
    for name, lift in (("carry_lift", measured), ("carry_control", controls)):
        for ending, values in zip(
            ("", "_lo", "_hi"), lift[:3] if lift else [np.full(len(early_e), np.nan)] * 3, strict=True
        ):
            columns[name + ending] = pl.Series(values, dtype=pl.Float64).fill_nan(None)
    return columns


def _lift(early_pe: Any, late_pe: Any, weights_pb: NDArray[np.float32], n_mean: int = 1) -> _Lift:
    """Return the lift of each pair of columns with its bootstrap interval; NaN if either latent is never active.

    With `n_mean` above 1, the mean of each group of `n_mean` neighbouring pairs is returned.
    """
    both_pe = early_pe.multiply(late_pe).tocsc()
    all_pb = np.column_stack([np.ones(len(weights_pb), dtype=np.float32), weights_pb])
    n_b = all_pb.sum(axis=0, dtype=np.float64)
    early_eb, late_eb, both_eb = ((part.T @ all_pb).astype(np.float64) for part in (early_pe, late_pe, both_pe))
    with np.errstate(divide="ignore", invalid="ignore"):
        lift_eb = both_eb * n_b / (early_eb * late_eb)
    lift_eb[~np.isfinite(lift_eb)] = np.nan
    lift_eb = lift_eb.reshape(-1, n_mean, lift_eb.shape[1]).mean(axis=1)
    lo_e, hi_e = np.full(len(lift_eb), np.nan), np.full(len(lift_eb), np.nan)
    defined = np.isfinite(lift_eb).sum(axis=1) > 1
    if defined.any():
        lo_e[defined], hi_e[defined] = np.nanquantile(lift_eb[defined, 1:], (0.025, 0.975), axis=1)
    return _Lift(lift_eb[:, 0], lo_e, hi_e, both_eb[:, 0].round().astype(np.int64))


def _equally_frequent(n_active_n: NDArray[np.int64], late_e: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return for every late latent the nearest others by frequency on split select, pairs × controls."""
    n = min(N_CONTROLS, len(n_active_n) - 1)
    distance_en = np.abs(n_active_n[None] - n_active_n[late_e, None]).astype(np.float64)
    distance_en[np.arange(len(late_e)), late_e] = np.inf
    return np.argsort(distance_en, axis=1, kind="stable")[:, :n]
