"""A valley between two peaks, anywhere in the depth: located on one half of the texts, measured on the other.

Profiles are averaged over windows of neighbouring layers, a sixth of the depth wide, so that one odd layer of many is
no valley. The place is that of the deepest dip on split select: a window with the highest window before it and the
highest one after it. The depth of this valley on split score is free of the choice, but for what both halves share:
the SAEs of a layer. Their noise is in the interval, and `benchmarks/reactivation_rules.py` measures the false rate.

Shape suffixes: s series, l layers, w windows, b bootstrap replicates.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
WINDOWS_PER_DEPTH = 6
"""Windows that the layers are divided into; with six layers a window is one layer."""


class Valleys(NamedTuple):
    """Windows of the peak before a valley, of the valley, and of the return after it, by series."""

    peak_s: NDArray[np.intp]
    valley_s: NDArray[np.intp]
    return_s: NDArray[np.intp]


def window_width(n_layers_read: int) -> int:
    """Return the number of layers in a window, for the layers that a study reads."""
    return max(1, round(n_layers_read / WINDOWS_PER_DEPTH))


def windowed(profile_sl: Floats) -> Floats:
    """Average profiles over all windows of neighbouring layers: (s, l, …) becomes (s, w, …), one per first layer."""
    width = window_width(profile_sl.shape[1])
    return np.lib.stride_tricks.sliding_window_view(profile_sl, width, axis=1).mean(axis=-1)


def locate_valleys(select_sw: Floats, width: int) -> Valleys:
    """Find the deepest valley of each profile; windows of a valley and its peaks share no layer.

    Args:
        select_sw: windowed profiles on split select, finite.
        width: layers in a window.
    """
    n_windows = select_sw.shape[1]
    inner = np.arange(width, n_windows - width)
    if not len(inner):
        nowhere = np.zeros(len(select_sw), np.intp)
        return Valleys(nowhere, nowhere, nowhere)
    highest_before = np.maximum.accumulate(select_sw, axis=1)[:, inner - width]
    highest_after = np.maximum.accumulate(select_sw[:, ::-1], axis=1)[:, ::-1][:, inner + width]
    valley_s = inner[(np.minimum(highest_before, highest_after) - select_sw[:, inner]).argmax(axis=1)]
    window_w = np.arange(n_windows)
    before = np.where(window_w <= valley_s[:, None] - width, select_sw, -np.inf)
    after = np.where(window_w >= valley_s[:, None] + width, select_sw, -np.inf)
    return Valleys(before.argmax(axis=1), valley_s, after.argmax(axis=1))


def valley_depth(profile_sw: Floats, at: Valleys) -> tuple[Floats, Floats]:
    """Return min(peak, return) - valley at given windows, and that minimum; for (s, w) or (s, w, b)."""
    rows = np.arange(len(profile_sw))
    ends = np.minimum(profile_sw[rows, at.peak_s], profile_sw[rows, at.return_s])
    return ends - profile_sw[rows, at.valley_s], ends
