"""Modes of a profile over depth: how many humps it has, and whether a second one is more than noise.

The dip of a profile is the depth of its deepest valley: the largest min(higher side left, higher side right) minus the
value between them. It is twice the distance, in the supremum norm, to the nearest profile with one hump, as Hartigan
and Hartigan (1985) measure how far a distribution is from one with a single mode.

For any profile with one hump plus noise the dip is at most the largest fall or rise of the noise along the layers: left
of the peak the profile rises, so that a valley there is a fall of the noise, and right of it a rise. The distribution
of that bound gives a p-value that holds for every profile with one hump, flat and monotone ones among them.

Shape suffixes: s series (any leading axes), l layers, b replicates.
"""

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def dip(profile_sl: Floats) -> tuple[Floats, NDArray[np.intp]]:
    """Depth of the deepest valley and its position along the last axis; depth 0, position 0 without a valley."""
    left = np.maximum.accumulate(profile_sl, axis=-1)
    right = np.flip(np.maximum.accumulate(np.flip(profile_sl, -1), axis=-1), -1)
    depth = np.minimum(left, right) - profile_sl
    position = depth.argmax(axis=-1)
    return np.take_along_axis(depth, position[..., None], -1)[..., 0], position


def largest_swing(noise_sl: Floats) -> Floats:
    """Largest fall or rise of the noise from any layer to any later one: what a dip is at most without a valley."""
    highest, lowest = (bound.accumulate(noise_sl, axis=-1) for bound in (np.maximum, np.minimum))
    return np.maximum((highest - noise_sl).max(axis=-1), (noise_sl - lowest).max(axis=-1))


def dip_test(profile_sl: Floats, replicates_slb: Floats) -> tuple[Floats, Floats]:
    """P-value of "one hump", and the swing of the noise that 95 % of the replicates stay below.

    Args:
        profile_sl: estimates.
        replicates_slb: bootstrap replicates of the same profiles; their deviations from the estimates are the noise.

    Returns:
        p_s (at least 1 / (b + 1)) and swing_s; NaN where most replicates are undefined.
    """
    noise_sbl = np.moveaxis(replicates_slb - profile_sl[..., None], -1, -2)
    swing_sb = largest_swing(noise_sbl)
    known = np.isfinite(swing_sb)
    n_known = known.sum(axis=-1)
    enough = (2 * n_known > swing_sb.shape[-1]) & np.isfinite(profile_sl).all(axis=-1)
    depth_s, _ = dip(profile_sl)
    p_s = np.full(depth_s.shape, np.nan)
    swing_s = np.full(depth_s.shape, np.nan)
    p_s[enough] = (1 + (known & (swing_sb >= depth_s[..., None])).sum(axis=-1)[enough]) / (1 + n_known[enough])
    swing_s[enough] = np.nanquantile(swing_sb[enough], 0.95, axis=-1)
    return p_s, swing_s


def count_modes(profile_sl: Floats, prominence_s: Floats) -> NDArray[np.int64]:
    """Humps that are separated from each other by falls and rises of more than `prominence`.

    A hump at the first or the last layer counts like any other.
    """
    shape = profile_sl.shape[:-1]
    n_modes, falling = np.ones(shape, dtype=np.int64), np.zeros(shape, dtype=bool)
    extreme = profile_sl[..., 0].copy()
    for layer in range(1, profile_sl.shape[-1]):
        value = profile_sl[..., layer]
        turns_down = ~falling & (extreme - value > prominence_s)
        turns_up = falling & (value - extreme > prominence_s)
        n_modes += turns_up
        extreme = np.where(
            turns_down | turns_up, value, np.where(falling, np.minimum(extreme, value), np.maximum(extreme, value))
        )
        falling = (falling | turns_down) & ~turns_up
    return n_modes
