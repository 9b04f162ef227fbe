"""How long latents last: survival over checkpoints and half-life, in decades of steps.

The share that is still there after several checkpoints is the product of the shares that pass from one to the next
(Kaplan and Meier 1958, with entry whenever a latent appears: everybody who is there at a checkpoint is at risk).

Shape suffixes: t transitions between neighbouring checkpoints, b draws.
"""

import numpy as np
from numpy.typing import NDArray


def decades(step: NDArray[np.integer]) -> NDArray[np.float64]:
    """log10(step + 1): the time in which half-lives are told."""
    return np.log10(np.asarray(step, dtype=np.float64) + 1)


def survival(share_tb: NDArray[np.floating]) -> NDArray[np.float64]:
    """Share of those there at the first checkpoint that are still there after each transition.

    Counts from the first transition whose share is defined (not nan); after a gap it is nan. Shares above 1, which
    ratios of noisy numbers can have, count as 1.
    """
    share = np.minimum(np.asarray(share_tb, dtype=np.float64), 1)
    begun = np.maximum.accumulate(np.isfinite(share), axis=0)
    return np.where(begun, np.cumprod(np.where(begun, share, 1), axis=0), np.nan)


def half_lives(share_tb: NDArray[np.floating], x_t: NDArray[np.floating]) -> NDArray[np.float64]:
    """From the start of each transition, decades until half are gone; inf where more than half outlast the data.

    Args:
        share_tb: shares that pass each transition, nan where undefined.
        x_t: time of all checkpoints, one more than there are transitions, see `decades`.

    Returns:
        Transitions × draws; nan where an undefined share comes before half are gone. Within a transition the loss is
        taken as even in log survival.
    """
    share = np.clip(np.asarray(share_tb, dtype=np.float64), 1e-12, 1)
    n, width = len(share), np.diff(x_t)
    found = np.full(share.shape, np.inf)
    for start in range(n):
        left, open_b = np.full(share.shape[1], np.log(0.5)), np.ones(share.shape[1], dtype=bool)
        for t in range(start, n):
            loss = np.log(share[t])
            # comparisons with nan are false: an undefined share ends the search without an answer
            ends = open_b & (loss <= left)
            with np.errstate(divide="ignore", invalid="ignore"):
                found[start, ends] = (x_t[t] - x_t[start] + width[t] * left / loss)[ends]
            found[start, open_b & np.isnan(loss)] = np.nan
            open_b &= ~ends & ~np.isnan(loss)
            left = left - loss
    return found
