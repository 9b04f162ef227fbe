"""Survival of latents over checkpoints and their half-life, in decades of steps.

The share of latents left after several checkpoints is the product of the shares that pass from each checkpoint to the
next (Kaplan and Meier 1958, with entry whenever a latent appears: every latent present at a checkpoint is at risk).

Shape suffixes: t transitions between neighbouring checkpoints, b draws.
"""

import numpy as np
from numpy.typing import NDArray


def decades(step: NDArray[np.integer]) -> NDArray[np.float64]:
    """Return log10(step + 1), the time axis of half-lives."""
    return np.log10(np.asarray(step, dtype=np.float64) + 1)


def survival(share_tb: NDArray[np.floating]) -> NDArray[np.float64]:
    """Return the share of the latents of the first checkpoint that is left after each transition.

    Survival starts at the first transition with a defined share (not NaN) and is NaN after an undefined share. Shares
    above 1, possible for ratios of noisy numbers, count as 1.
    """
    share = np.minimum(np.asarray(share_tb, dtype=np.float64), 1)
    begun = np.maximum.accumulate(np.isfinite(share), axis=0)
    return np.where(begun, np.cumprod(np.where(begun, share, 1), axis=0), np.nan)


def half_lives(share_tb: NDArray[np.floating], x_t: NDArray[np.floating]) -> NDArray[np.float64]:
    """Return the decades from the start of each transition until half of the latents are lost.

    Args:
        share_tb: shares that pass each transition; NaN if undefined.
        x_t: times of all checkpoints, one more than transitions; see `decades`.

    Returns:
        Transitions × draws; inf if more than half outlast the data, NaN if an undefined share comes before half are
        lost. Within a transition log survival is taken as linear in time.
    """
    share = np.clip(np.asarray(share_tb, dtype=np.float64), 1e-12, 1)
    n, width = len(share), np.diff(x_t)
    found = np.full(share.shape, np.inf)
    for start in range(n):
        left, open_b = np.full(share.shape[1], np.log(0.5)), np.ones(share.shape[1], dtype=bool)
        for t in range(start, n):
            loss = np.log(share[t])
            # Comparisons with NaN are false: an undefined share ends the search, and the result is NaN.
            ends = open_b & (loss <= left)
            with np.errstate(divide="ignore", invalid="ignore"):
                found[start, ends] = (x_t[t] - x_t[start] + width[t] * left / loss)[ends]
            found[start, open_b & np.isnan(loss)] = np.nan
            open_b &= ~ends & ~np.isnan(loss)
            left = left - loss
    return found
