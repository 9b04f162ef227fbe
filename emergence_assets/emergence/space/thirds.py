"""Early, middle and late layers: assignment of blocks to parts of the depth, and means over them.

Shape suffixes: s series, l layers, g parts (early, mid, late).
"""

from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
THIRDS = (Fraction(1, 3), Fraction(2, 3))


def part_of_layers(layers: NDArray[np.integer], n_layers: int) -> NDArray[np.int64]:
    """Return the part of every block: 0 early, 1 middle, 2 late.

    A block is placed by its centre, (layer + 1/2) / n_layers: six blocks are split two, two and two. By their ends they
    would be split one, two and three. Fractions are exact: a block on a cut belongs to the part behind it.

    Args:
        layers: block indexes, from 0.
        n_layers: number of blocks of the model.
    """
    parts = [sum(Fraction(2 * int(layer) + 1, 2 * n_layers) >= cut for cut in THIRDS) for layer in layers]
    return np.array(parts, dtype=np.int64)


def part_weights(layers: NDArray[np.integer], n_layers: int) -> Floats:
    """Return weights that average a profile over its early, middle and late layers, parts × layers.

    Returns:
        Rows that sum to 1; NaN for a part without a layer.
    """
    is_in_gl = (part_of_layers(layers, n_layers) == np.arange(3)[:, None]).astype(np.float64)
    n_g = is_in_gl.sum(axis=1, keepdims=True)
    return np.divide(is_in_gl, n_g, out=np.full(is_in_gl.shape, np.nan), where=n_g > 0)


def part_means(weights_gl: Floats, profile_sl: Floats) -> Floats:
    """Average profiles over the parts: (s, l, …) becomes (g, s, …).

    The mean of a part without a layer is NaN.
    """
    means = np.einsum("gl,sl...->gs...", weights_gl, profile_sl, optimize=True)
    means[~np.isfinite(weights_gl).all(axis=1) | (weights_gl.shape[1] == 0)] = np.nan
    return means
