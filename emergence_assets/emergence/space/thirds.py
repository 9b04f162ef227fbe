"""Early, middle and late layers: assignment of blocks to parts of the depth, and the drop in the middle.

Shape suffixes: s series, l layers, g parts (early, mid, late), b bootstrap replicates.
"""

from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Cuts = tuple[Fraction, Fraction]
THIRDS: Cuts = (Fraction(1, 3), Fraction(2, 3))
QUARTERS: Cuts = (Fraction(1, 4), Fraction(1, 2))
"""Alternative cut points, to test whether the result depends on the bounds of the middle."""
MIN_ENDS = 0.05
"""Gain in AUROC units that both ends must have: below it no presence could have returned."""


def part_of_layers(layers: NDArray[np.integer], n_layers: int, cuts: Cuts = THIRDS) -> NDArray[np.int64]:
    """Return the part of every block: 0 early, 1 middle, 2 late.

    A block is placed by its centre, (layer + 1/2) / n_layers: six blocks are split two, two and two. By their ends they
    would be split one, two and three. Fractions are exact: a block on a cut belongs to the part behind it.

    Args:
        layers: block indexes, from 0.
        n_layers: number of blocks of the model.
        cuts: begin and end of the middle, in relative depth.
    """
    parts = [sum(Fraction(2 * int(layer) + 1, 2 * n_layers) >= cut for cut in cuts) for layer in layers]
    return np.array(parts, dtype=np.int64)


def part_weights(layers: NDArray[np.integer], n_layers: int, cuts: Cuts = THIRDS) -> Floats:
    """Return weights that average a profile over its early, middle and late layers, parts × layers.

    Returns:
        Rows that sum to 1; NaN for a part without a layer.
    """
    is_in_gl = (part_of_layers(layers, n_layers, cuts) == np.arange(3)[:, None]).astype(np.float64)
    n_g = is_in_gl.sum(axis=1, keepdims=True)
    return np.divide(is_in_gl, n_g, out=np.full(is_in_gl.shape, np.nan), where=n_g > 0)


def part_means(weights_gl: Floats, profile_sl: Floats) -> Floats:
    """Average profiles over the parts: (s, l, …) becomes (g, s, …).

    The mean of a part without a layer is NaN.
    """
    means = np.einsum("gl,sl...->gs...", weights_gl, profile_sl, optimize=True)
    means[~np.isfinite(weights_gl).all(axis=1) | (weights_gl.shape[1] == 0)] = np.nan
    return means


def drop(parts_g: Floats) -> Floats:
    """Return min(early, late) - mid: the distance of the middle below the lower end."""
    return np.minimum(parts_g[0], parts_g[2]) - parts_g[1]


def reactivation_index(parts_g: Floats) -> Floats:
    """Return drop / min(early, late): 1 if the middle gains nothing; NaN unless both ends are above 0."""
    ends = np.minimum(parts_g[0], parts_g[2])
    return np.divide(drop(parts_g), ends, out=np.full(ends.shape, np.nan), where=ends > 0)
