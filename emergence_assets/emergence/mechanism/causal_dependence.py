"""Causal dependence index (CDI) of a late latent on an early latent: the part of its activation lost by ablation.

    CDI = 1 - E[z_late | early latent changed] / E[z_late]      over the category's texts.

CDI 1: the late latent is silent without the early latent. CDI 0: it does not change. CDI below 0: the early latent
suppresses it. The change is made in the residual stream after the early layer, at the read-out token only: z_early
times the latent's decoder row is subtracted; everything else stays, including the SAE's error. Only the read-out token
is changed because both latents were chosen there and, by default, the SAEs were trained on this token alone: their
codes at other tokens are not meaningful. Effects of an early latent through other tokens are not measured.

Controls: ablation of other latents that fire as often on these texts (is any direction of this size enough?), and the
latent's value on another text instead of zero (resample ablation: a residual stream that the model knows).

Shape suffixes: v changes, p texts, b bootstrap replicates, n latents.
"""

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating]
MIN_ACTIVE = 5
"""Active texts of the category below which the CDI is undefined: a share of almost zero is unbounded."""


def causal_dependence(
    clean_p: Floats, changed_vp: Floats, weights_pb: Floats
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Compute the CDI of every change, as estimate and for each replicate.

    Args:
        clean_p: activation of the late latent on every text of the category, including texts on which the early latent
            is silent.
        changed_vp: activation of the late latent after each change.
        weights_pb: weight of each text in each bootstrap replicate.

    Returns:
        Arrays [v] and [v, b]; NaN if the late latent is active on fewer than `MIN_ACTIVE` texts.
    """
    if (clean_p > 0).sum() < MIN_ACTIVE:
        return np.full(len(changed_vp), np.nan), np.full((len(changed_vp), weights_pb.shape[1]), np.nan)
    clean_p, changed_vp = clean_p.astype(np.float64), changed_vp.astype(np.float64)
    with np.errstate(divide="ignore", invalid="ignore"):
        cdi_vb = 1 - (changed_vp @ weights_pb) / (clean_p @ weights_pb)
    return 1 - changed_vp.sum(axis=1) / clean_p.sum(), np.where(np.isfinite(cdi_vb), cdi_vb, np.nan)


def equally_frequent(rate_n: Floats, latent: int, n_wanted: int) -> NDArray[np.intp]:
    """Return the latents with firing rates nearest to that of `latent`, so that as many texts are changed.

    Args:
        rate_n: share of the category's texts on which each latent fires; silent latents change nothing and are left
            out.
        latent: the reference latent, itself left out.
        n_wanted: number of latents; fewer are returned if fewer fire.
    """
    distance_n = np.abs(rate_n - rate_n[latent])
    nearest_n = np.argsort(distance_n, kind="stable")
    return nearest_n[(rate_n[nearest_n] > 0) & (nearest_n != latent)][:n_wanted]
