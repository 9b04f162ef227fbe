"""Retention of categories in a changed model with fixed SAEs and chosen latents.

    drop of a category = AUROC in the model - AUROC in the changed model, same latent and texts
    retention          = share of categories with a 97.5 % quantile of the drop below 0.02, paired over texts

The test is one of non-inferiority, not of "no significant drop": too few texts must not count as retention.

Shape suffixes: p texts, c categories, b bootstrap replicates.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from emergence_assets.features.statistics.codes import Codes, bootstrap_auroc, sparse_auroc_nc

Floats = NDArray[np.float64]
MARGIN = 0.02
"""Largest drop that counts as none, in AUROC units."""


class Presence(NamedTuple):
    """AUROC of the chosen latent of every category, with bootstrap replicates."""

    p_c: Floats
    p_cb: Floats

    def __sub__(self, other: "Presence") -> "Presence":
        return Presence(self.p_c - other.p_c, self.p_cb - other.p_cb)


def presence_of(
    codes: Codes, category_p: NDArray[np.integer], latent_c: NDArray[np.integer], weights_pb: NDArray[np.float32]
) -> Presence:
    """Return the AUROC of the chosen latent per category, 0.5 for a missing latent (-1), with replicates over texts."""
    entries = codes.entries(np.arange(len(codes.values_pk)))
    every = np.arange(len(latent_c))
    auroc_nc = sparse_auroc_nc(entries, category_p, len(latent_c))
    p_c = np.where(latent_c >= 0, auroc_nc[latent_c, every], 0.5)
    return Presence(p_c, bootstrap_auroc(entries, category_p, latent_c, weights_pb))


def mean_presence(seeds: list[Presence]) -> Presence:
    """Average over SAE seeds."""
    return Presence(np.mean([one.p_c for one in seeds], axis=0), np.mean([one.p_cb for one in seeds], axis=0))


def retained_c(drop: Presence) -> NDArray[np.bool_]:
    """Return whether each category is retained: the 97.5 % quantile of its drop is below `MARGIN`.

    Undefined replicates are left out.

    Args:
        drop: presence in the model minus presence in the changed model.
    """
    with np.errstate(invalid="ignore"):
        return np.nanquantile(drop.p_cb, 0.975, axis=1) < MARGIN


def unexplained(x_pd: NDArray[np.floating], reconstructed_pd: NDArray[np.floating]) -> float:
    """Return the FVU: sum of squared errors over sum of squared deviations from the mean of the same rows."""
    deviation = float(((x_pd - x_pd.mean(axis=0)) ** 2).sum(dtype=np.float64))
    return float(((x_pd - reconstructed_pd) ** 2).sum(dtype=np.float64)) / deviation if deviation else float("nan")
