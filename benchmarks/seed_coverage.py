"""Coverage of 95 % intervals of presence where categories are measured with few SAE seeds."""

from typing import Any

import numpy as np

from emergence_assets.emergence.presence.seed_draws import nested_means
from emergence_assets.features.statistics.formulas import interval

N_CATEGORIES, N_REPLICATES = 49, 200
SPREADS = ((0.03, 0.028), (0.02, 0.04), (0.03, 0.0))
"""Standard deviations of an AUROC over texts and over SAE seeds: those of subjects, of domains, and without seeds."""


def measure_seed_coverage() -> dict[str, Any]:
    """Simulate cells of 49 categories; a row per number of seeds and spread."""
    return {
        f"{n_seeds} seeds, texts {of_texts}, seeds {of_seed}": {
            "coverage": round(coverage(n_seeds, of_texts, of_seed, n_cells=400), 3)
        }
        for n_seeds in (2, 4, 6)
        for of_texts, of_seed in SPREADS
    }


def coverage(n_seeds: int, of_texts: float, of_seed: float, n_cells: int) -> float:
    """Return the share of 95 % intervals that contain the true AUROC.

    Half of the variance of texts is shared by the seeds of a cell, and half is each seed's own.
    """
    rng = np.random.default_rng([n_seeds, n_cells])
    shape, own = (n_cells * N_CATEGORIES, n_seeds), of_texts / np.sqrt(2)
    shared = own * rng.normal(size=(shape[0], 1))
    values = 0.7 + shared + own * rng.normal(size=shape) + of_seed * rng.normal(size=shape)
    drawn = own * rng.normal(size=(shape[0], 1, N_REPLICATES)) + own * rng.normal(size=(*shape, N_REPLICATES))
    replicates = values[..., None] + drawn
    cells = [("model", cell, 0) for cell in range(n_cells) for _ in range(N_CATEGORIES)]
    found = nested_means(
        replicates.reshape(-1, N_REPLICATES),
        values.ravel(),
        np.full(shape[0], n_seeds),
        cells,
        [("none", "subject")] * shape[0],
    )
    low, high = interval(found)
    return float(((low <= 0.7) & (high >= 0.7)).mean())
