"""The deepest valley of a profile over depth, wherever it lies, and how often permuted layers have as deep a one.

This asks without cut points what `thirds.py` asks with them. Layers are permuted, so that the spread between
layers, whatever it comes from, is the yardstick; it needs many layers to tell anything: six have too few orders.

Shape suffixes: s series, l layers, p permutations.
"""

import numpy as np
from numpy.typing import NDArray

from emergence_assets.emergence.space.modes import dip

Floats = NDArray[np.float64]
N_PERMUTATIONS = 999
_SEED = 0
_SERIES_AT_ONCE = 64
"""Bounds what the permuted profiles of all series take: 64 series of 36 layers are 18 MB."""


def smoothed_valley(profile_sl: Floats) -> list[int | None]:
    """Position of the deepest valley of each profile, averaged over neighbouring layers; None without one."""
    if profile_sl.shape[1] < 3:
        return [None] * len(profile_sl)
    depth_s, position_s = dip(_smooth(profile_sl))
    return [int(at) if depth > 0 else None for depth, at in zip(depth_s, position_s, strict=True)]


def valley_p(profile_sl: Floats) -> Floats:
    """P-value of the valley's depth among permuted layers, at least 1 / 1000; NaN below three layers."""
    n_layers = profile_sl.shape[1]
    p_s = np.full(len(profile_sl), np.nan)
    if n_layers < 3:
        return p_s
    rng = np.random.default_rng([_SEED, n_layers])
    order_pl = rng.permuted(np.tile(np.arange(n_layers), (N_PERMUTATIONS, 1)), axis=1)
    depth_s, _ = dip(_smooth(profile_sl))
    for start in range(0, len(profile_sl), _SERIES_AT_ONCE):
        part = slice(start, start + _SERIES_AT_ONCE)
        # a rounding difference must not make an order deeper than its own copy
        deeper_sp = dip(_smooth(profile_sl[part][:, order_pl]))[0] >= depth_s[part, None] - 1e-12
        p_s[part] = (1 + deeper_sp.sum(axis=1)) / (1 + N_PERMUTATIONS)
    return p_s


def _smooth(profile_sl: Floats) -> Floats:
    """Means over each layer and its neighbours, three in all and about a quarter of many; fewer at the ends.

    A window that does not grow with the number of layers meets as low a mean somewhere in any order.
    """
    n_layers = profile_sl.shape[-1]
    reach = max(1, n_layers // 8)
    sums = np.cumsum(profile_sl, axis=-1)
    sums = np.concatenate([np.zeros((*sums.shape[:-1], 1)), sums], axis=-1)
    at = np.arange(n_layers)
    first, end = np.maximum(at - reach, 0), np.minimum(at + reach + 1, n_layers)
    return (sums[..., end] - sums[..., first]) / (end - first)
