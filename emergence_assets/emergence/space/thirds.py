"""Early, middle and late layers: which block belongs to which part of the depth, and whether the middle falls.

Shape suffixes: s series, l layers, g parts (early, mid, late), b bootstrap replicates.
"""

from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Cuts = tuple[Fraction, Fraction]
THIRDS: Cuts = (Fraction(1, 3), Fraction(2, 3))
QUARTERS: Cuts = (Fraction(1, 4), Fraction(1, 2))
"""The other cut points: does the verdict hang on where the middle begins and ends?"""
MIN_ENDS = 0.05
"""AUROC units: below it there is nothing at one of the ends that could have come back."""


def part_of_layers(layers: NDArray[np.integer], n_layers: int, cuts: Cuts = THIRDS) -> NDArray[np.int64]:
    """0, 1 or 2 for every block: early, middle or late.

    A block is placed by its centre, (layer + 1/2) / n_layers: six blocks are two, two and two. By their ends they would
    be one, two and three. Fractions are exact: a block on a cut belongs to the part behind it.

    Args:
        layers: blocks, from 0.
        n_layers: blocks of the model.
        cuts: where the middle begins and where it ends.
    """
    parts = [sum(Fraction(2 * int(layer) + 1, 2 * n_layers) >= cut for cut in cuts) for layer in layers]
    return np.array(parts, dtype=np.int64)


def part_weights(layers: NDArray[np.integer], n_layers: int, cuts: Cuts = THIRDS) -> Floats:
    """Weights that average a profile over its early, middle and late layers, parts × layers.

    Returns:
        Rows that sum to 1; NaN for a part without a layer.
    """
    is_in_gl = (part_of_layers(layers, n_layers, cuts) == np.arange(3)[:, None]).astype(np.float64)
    n_g = is_in_gl.sum(axis=1, keepdims=True)
    return np.divide(is_in_gl, n_g, out=np.full(is_in_gl.shape, np.nan), where=n_g > 0)


def part_means(weights_gl: Floats, profile_sl: Floats) -> Floats:
    """Means of profiles over the parts; the parts come first, layers are axis 1: (s, l, …) becomes (g, s, …).

    NaN for a part without a layer.
    """
    means = np.einsum("gl,sl...->gs...", weights_gl, profile_sl, optimize=True)
    means[~np.isfinite(weights_gl).all(axis=1) | (weights_gl.shape[1] == 0)] = np.nan
    return means


def drop(parts_g: Floats) -> Floats:
    """min(early, late) - mid: how far the middle lies below the lower one of the two ends."""
    return np.minimum(parts_g[0], parts_g[2]) - parts_g[1]


def reactivation_index(parts_g: Floats) -> Floats:
    """Drop as a share of min(early, late): 1 where only the middle has nothing; NaN unless both ends are above 0."""
    ends = np.minimum(parts_g[0], parts_g[2])
    return np.divide(drop(parts_g), ends, out=np.full(ends.shape, np.nan), where=ends > 0)
