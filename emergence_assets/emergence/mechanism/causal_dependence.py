"""How far a late latent depends on an early one: what is left of it when the early one is taken away.

    CDI = 1 - E[z_late | the early latent changed] / E[z_late]      over the category's texts.

1: the late latent is silent without the early one; 0: it does not notice; below 0: it is held down by it. The change is
made in the residual stream after the early layer, at the read-out token alone: z_early times the latent's decoder row
is subtracted and everything else, the SAE's error too, stays. At the read-out and nowhere else because that is where
both latents were chosen and, by default, the only place that the SAEs were trained on: at other tokens their codes mean
nothing. What passes from an early latent through other tokens is not seen.

Controls: the same with other latents that fire as often on these texts (any direction of the size would do it), and
with the latent's own value on another text instead of zero (resample-ablation: a stream that the model knows).

Shape suffixes: v changes, p texts, b bootstrap replicates, n latents.
"""

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating]
MIN_ACTIVE = 5
"""Texts of the category that the late latent has to be active on: a share of nearly nothing has no limit."""


def causal_dependence(
    clean_p: Floats, changed_vp: Floats, weights_pb: Floats
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """CDI of every change, and under text weights.

    Args:
        clean_p: late latent activation of every text of the category; texts on which the early latent is silent count.
        changed_vp: the same after each change.
        weights_pb: how often each text counts in each replicate.

    Returns:
        [v] and [v, b]; NaN where the late latent is active on fewer than `MIN_ACTIVE` texts.
    """
    if (clean_p > 0).sum() < MIN_ACTIVE:
        return np.full(len(changed_vp), np.nan), np.full((len(changed_vp), weights_pb.shape[1]), np.nan)
    clean_p, changed_vp = clean_p.astype(np.float64), changed_vp.astype(np.float64)
    with np.errstate(divide="ignore", invalid="ignore"):
        cdi_vb = 1 - (changed_vp @ weights_pb) / (clean_p @ weights_pb)
    return 1 - changed_vp.sum(axis=1) / clean_p.sum(), np.where(np.isfinite(cdi_vb), cdi_vb, np.nan)


def equally_frequent(rate_n: Floats, latent: int, n_wanted: int) -> NDArray[np.intp]:
    """The latents whose firing rates are nearest to that of one: as many texts are changed as with itself.

    Args:
        rate_n: share of the category's texts on which each latent fires; silent ones change nothing and are left out.
        latent: the one that they are compared with, itself left out.
        n_wanted: fewer are returned where fewer fire.
    """
    distance_n = np.abs(rate_n - rate_n[latent])
    nearest_n = np.argsort(distance_n, kind="stable")
    return nearest_n[(rate_n[nearest_n] > 0) & (nearest_n != latent)][:n_wanted]
