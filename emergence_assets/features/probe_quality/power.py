"""Statistical power of a number of texts: standard errors, smallest rises, probabilities that a rule accepts."""

from functools import lru_cache, partial

import numpy as np
from numpy.typing import NDArray

from emergence_assets.features.statistics.formulas import Z_95, hypergeometric_tail

AUROC = 0.75
"""Presence for which the standard error is stated."""
N_CHECKPOINTS = 13
RATES = ((0.10, 0.01), (0.15, 0.01), (0.20, 0.02), (0.30, 0.03), (0.50, 0.10))
"""TPR and FPR of the latents in the table of chances."""
POWER = 0.8
MIN_RISE = 0.05
"""Smallest rise in AUROC, however many texts there are."""
Z_POWER = 0.8416
"""Normal quantile of `POWER`."""
N_LATE = 3
"""Last checkpoints whose mean is compared with the first."""
UNLIKELY = 1e-7
"""Counts with a smaller probability are left out of sums."""


def auroc_standard_error(n_positive: int, n_negative: int, auroc: float = AUROC) -> float:
    """Compute the standard error of an AUROC (Hanley and McNeil 1982, eq. 1); NaN without positives or negatives."""
    if min(n_positive, n_negative) < 1:
        return float("nan")
    both_above, both_below = auroc / (2 - auroc), 2 * auroc**2 / (1 + auroc)
    spread = (n_positive - 1) * (both_above - auroc**2) + (n_negative - 1) * (both_below - auroc**2)
    return float(np.sqrt((auroc * (1 - auroc) + spread) / (n_positive * n_negative)))


@lru_cache(maxsize=4096)
def acceptance_chance(
    tpr: float, fpr: float, n_select: tuple[int, int], n_score: tuple[int, int], max_p: float
) -> float:
    """Compute the probability that `lift_fdr_v1` accepts a latent; exact if all its activations are equal.

    Args:
        tpr: probability that the latent is active on a text of the category.
        fpr: probability that the latent is active on another text.
        n_select: number of texts of the category, and of others, on split select.
        n_score: number of texts of the category, and of others, on split score.
        max_p: largest p-value with q below 0.05: 0.05 / n_latents if as many latents are found as there are categories,
            0.05 / (n_latents · n_categories) if this latent is the only one.
    """
    if min(*n_select, *n_score) < 2:
        return 0.0
    chance = 1.0
    on_select = partial(_accepted_on_select, max_p=max_p)
    for (n_c, n_o), accepted in ((n_select, on_select), (n_score, _accepted_on_score)):
        k_c, p_c = _likely_counts(n_c, tpr)
        k_o, p_o = _likely_counts(n_o, fpr)
        chance *= float(p_c @ accepted(k_c[:, None], k_o[None, :], n_c, n_o) @ p_o)
    return chance


def _accepted_on_select(
    k_c: NDArray[np.int64], k_o: NDArray[np.int64], n_c: int, n_o: int, max_p: float
) -> NDArray[np.float64]:
    p = hypergeometric_tail(k_c, n_c + n_o, n_c, k_c + k_o)
    tpr = k_c / n_c
    return ((p < max_p) & (_lift(k_c, k_o, n_c, n_o) >= 3) & (k_c >= 5) & (tpr >= 0.10)).astype(np.float64)


def _accepted_on_score(k_c: NDArray[np.int64], k_o: NDArray[np.int64], n_c: int, n_o: int) -> NDArray[np.float64]:
    tpr, fpr = k_c / n_c, k_o / n_o
    # DeLong's variance if activations are 0 or 1: every placement is one of two values that differ by 1/2.
    variance = (tpr * (1 - tpr) / (n_c - 1) + fpr * (1 - fpr) / (n_o - 1)) / 4
    lower = 0.5 + (tpr - fpr) / 2 - Z_95 * np.sqrt(variance)
    return ((_lift(k_c, k_o, n_c, n_o) >= 2) & (k_c >= 3) & (lower > 0.5)).astype(np.float64)


def _lift(k_c: NDArray[np.int64], k_o: NDArray[np.int64], n_c: int, n_o: int) -> NDArray[np.float64]:
    return (k_c / n_c) / np.maximum(k_o / n_o, 1 / (n_c + n_o))


def _likely_counts(n: int, rate: float) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    from scipy.stats import binom

    low, high = (int(x) for x in binom.ppf((UNLIKELY, 1 - UNLIKELY), n, rate))
    k = np.arange(low, high + 1)
    return k, np.asarray(binom.pmf(k, n, rate))


def smallest_rise(standard_error: float, n_checkpoints: int = N_CHECKPOINTS) -> float:
    """Compute the rise of presence over training that is found with probability 0.8; never below 0.05.

    A rise is found if the 95 % interval of the mean of the last three checkpoints minus the first lies above 0, the
    criterion of emergence without its corrections. Checkpoints are assumed independent; in fact they share their texts,
    which can only increase the power.

    Args:
        standard_error: standard error of one presence.
        n_checkpoints: number of checkpoints; with fewer than four, all but the first are compared with it.

    Returns:
        Difference of AUROCs; infinite with one checkpoint.
    """
    if n_checkpoints < 2:
        return float("inf")
    n_late = min(N_LATE, n_checkpoints - 1)
    return max(MIN_RISE, (Z_95 + Z_POWER) * standard_error * float(np.sqrt(1 + 1 / n_late)))
