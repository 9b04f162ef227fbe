"""Modes of a profile over depth: their number, and whether a second mode is more than noise.

The dip of a profile is the largest value of min(maximum to the left, maximum to the right) minus the value between
them. It is twice the distance, in the supremum norm, to the nearest profile with one mode, as Hartigan and Hartigan
(1985) measure the distance of a distribution from unimodality.

For any profile with one mode plus noise the dip is at most the largest fall or rise of the noise along the layers. Left
of the peak the profile rises, so that a dip there is a fall of the noise; right of the peak it is a rise of the noise.
The distribution of that bound gives a p-value that is valid for every profile with one mode, including flat and
monotone profiles.

Shape suffixes: s series (any leading axes), l layers, b replicates.
"""

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def dip(profile_sl: Floats) -> tuple[Floats, NDArray[np.intp]]:
    """Return depth and position of the deepest dip along the last axis; depth 0 and position 0 without a dip."""
    left = np.maximum.accumulate(profile_sl, axis=-1)
    right = np.flip(np.maximum.accumulate(np.flip(profile_sl, -1), axis=-1), -1)
    depth = np.minimum(left, right) - profile_sl
    position = depth.argmax(axis=-1)
    return np.take_along_axis(depth, position[..., None], -1)[..., 0], position


def largest_swing(noise_sl: Floats) -> Floats:
    """Return the largest fall or rise of the noise from any layer to a later layer: the largest dip with one mode."""
    highest, lowest = (bound.accumulate(noise_sl, axis=-1) for bound in (np.maximum, np.minimum))
    return np.maximum((highest - noise_sl).max(axis=-1), (noise_sl - lowest).max(axis=-1))


def dip_test(profile_sl: Floats, replicates_slb: Floats) -> tuple[Floats, Floats]:
    """Return the p-value of "one mode" and the 95 % quantile of the swing of the noise over replicates.

    Args:
        profile_sl: estimated profiles.
        replicates_slb: bootstrap replicates of the profiles; their deviations from the estimates are the noise.

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
    """Count the modes separated from each other by falls and rises of more than `prominence_s`.

    A mode at the first or the last layer counts like any other.
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
