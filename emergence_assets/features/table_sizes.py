"""How large the tables of a cell become: predicted from labels and sparsity, before a latent was trained."""

import functools
import math

RATE_SPREAD = 1.63
"""Standard deviation of the logarithm of how often latents are active; fitted to the embedded studies, 2026-11-25."""
MIN_ACTIVE = 3
"""Pairs with fewer active texts of the category on split select have no row."""
PAIR_BYTES, ROW_BYTES, TABLE_BYTES = 52.0, 20.0, 9_000
"""Of compressed parquet: a pair, a category without its replicates, and what any table takes."""
REPLICATE_BYTES = 3.75
"""float32, which hardly compresses."""
COUNT_BYTES, ACCEPTED_BYTES, ACCEPTED_SHARE = 0.8, 150.0, 0.1
"""Of compressed parquet: a category's counts under one rule and control, a categorical latent; how many there are."""
COUNTS_TABLE_BYTES, ACCEPTED_TABLE_BYTES = 4_200, 6_500
"""What their tables take without rows."""
N_RULES = 3
N_CONTROLS = 2
"""Every category has a row for the measurement and one for shuffled labels."""
QUANTILES = 200


@functools.cache
def expected_pairs(category_sizes: tuple[int, ...], n_latents: int, k: int) -> float:
    """Pairs of latent and category with enough active texts to be a row, of one SAE.

    Latents are active at log-normal rates with mean k / n_latents, half of the texts are on split select.
    """
    from scipy.stats import norm, poisson

    spread = [norm.ppf((index + 0.5) / QUANTILES) for index in range(QUANTILES)]
    rates = [min(1.0, k / n_latents * math.exp(RATE_SPREAD * z - RATE_SPREAD**2 / 2)) for z in spread]
    shares = [poisson.sf(MIN_ACTIVE - 1, [size / 2 * rate for rate in rates]).mean() for size in category_sizes]
    return n_latents * float(sum(shares))


def latent_stats_bytes(n_pairs: float) -> float:
    """A latent_stats table of so many pairs."""
    return TABLE_BYTES + PAIR_BYTES * n_pairs


def presence_bytes(n_categories: int, n_bootstrap: int, n_seeds: int) -> float:
    """A presence table of so many categories, measured with so many SAE seeds, with their replicates.

    The dense probe has replicates of the measurement only; those of further seeds are equal and compressed away.
    """
    n_rows = N_CONTROLS * n_seeds * n_categories
    return TABLE_BYTES + ROW_BYTES * n_rows + REPLICATE_BYTES * n_bootstrap * (n_rows + n_categories)


def rule_counts_bytes(n_categories: int) -> float:
    """A table of counts of so many categories, seeds counted apart."""
    return COUNTS_TABLE_BYTES + N_RULES * N_CONTROLS * COUNT_BYTES * n_categories


def categorical_latents_bytes(n_latents: float) -> float:
    """A table of the categorical ones of so many latents, seeds counted apart, over all levels."""
    return ACCEPTED_TABLE_BYTES + ACCEPTED_BYTES * ACCEPTED_SHARE * n_latents
