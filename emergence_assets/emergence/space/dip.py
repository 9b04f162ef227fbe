"""The deepest dip of a profile over depth at any position, and how often permuted layers have a dip as deep.

`thirds.py` tests the same drop with fixed cut points; this test has none. The null distribution comes from permuted
layers, so that the dip is compared with the spread between layers, whatever its source. The test needs many layers:
six layers have too few orders.

Shape suffixes: s series, l layers, p permutations.
"""

import numpy as np
from numpy.typing import NDArray

from emergence_assets.emergence.space.modes import dip

Floats = NDArray[np.float64]
N_PERMUTATIONS = 999
_SEED = 0
_SERIES_AT_ONCE = 64
"""Series per batch, to bound the memory of permuted profiles: 64 series of 36 layers take 18 MB."""


def smoothed_dip(profile_sl: Floats) -> list[int | None]:
    """Return the position of the deepest dip of each profile smoothed over neighbouring layers; None without a dip."""
    if profile_sl.shape[1] < 3:
        return [None] * len(profile_sl)
    depth_s, position_s = dip(_smooth(profile_sl))
    return [int(at) if depth > 0 else None for depth, at in zip(depth_s, position_s, strict=True)]


def permutation_p(profile_sl: Floats) -> Floats:
    """Return the p-value of the dip's depth among permuted layers, at least 1 / 1000; NaN below three layers."""
    n_layers = profile_sl.shape[1]
    p_s = np.full(len(profile_sl), np.nan)
    if n_layers < 3:
        return p_s
    rng = np.random.default_rng([_SEED, n_layers])
    order_pl = rng.permuted(np.tile(np.arange(n_layers), (N_PERMUTATIONS, 1)), axis=1)
    depth_s, _ = dip(_smooth(profile_sl))
    for start in range(0, len(profile_sl), _SERIES_AT_ONCE):
        part = slice(start, start + _SERIES_AT_ONCE)
        # A rounding difference must not make an order deeper than its own copy.
        deeper_sp = dip(_smooth(profile_sl[part][:, order_pl]))[0] >= depth_s[part, None] - 1e-12
        p_s[part] = (1 + deeper_sp.sum(axis=1)) / (1 + N_PERMUTATIONS)
    return p_s


def _smooth(profile_sl: Floats) -> Floats:
    """Average each layer with its neighbours.

    A window has three layers, or about a quarter of the layers if that is more. Windows are cut at the ends. A window
    that does not grow with the number of layers would find as low a mean somewhere in any order of many layers.
    """
    n_layers = profile_sl.shape[-1]
    reach = max(1, n_layers // 8)
    sums = np.cumsum(profile_sl, axis=-1)
    sums = np.concatenate([np.zeros((*sums.shape[:-1], 1)), sums], axis=-1)
    at = np.arange(n_layers)
    first, end = np.maximum(at - reach, 0), np.minimum(at + reach + 1, n_layers)
    return (sums[..., end] - sums[..., first]) / (end - first)
