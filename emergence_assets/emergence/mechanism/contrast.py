"""Which part of a late latent's pre-activation comes from attention, from MLPs, or was there in the trough layer.

A latent's pre-activation is linear in the residual stream: encoder row e (input scale folded in, see `saes.sae`) times
the stream. The stream after the late layer is that after the trough layer plus what attention and MLPs between them
add, so that e times each of them are parts of the pre-activation, in its units. What is taken apart is the contrast:
mean over the category's texts minus mean over all others, in which biases and all that texts share cancel.

    contrast = carried + attention + MLP,   share = part / contrast,   shares sum to 1.

A share below 0 works against the latent; then others exceed 1. Shares say from where a difference comes, not what would
be left without it: that is `causal_dependence.py`.

Shape suffixes: x parts, p texts, b bootstrap replicates, l blocks, h heads.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating]
PARTS = ("carried", "attn", "mlp")
"""Order of the parts: from the trough layer, attention between, MLPs between."""
HEAD_SHARE = 0.05
"""Heads with a smaller share, of either sign, are not listed."""


class Shares(NamedTuple):
    """Parts of one latent's contrast."""

    contrast: float
    """Mean pre-activation on the category minus on others, in units of the latent."""
    contrast_b: NDArray[np.float64]
    share_x: NDArray[np.float64]
    """In the order of `PARTS`; NaN where the contrast is not above zero beyond doubt."""
    share_xb: NDArray[np.float64]


class HeadShare(NamedTuple):
    """What one head adds to the contrast."""

    layer: int
    head: int
    share: float


def contrasts(
    values_xp: Floats, is_category_p: NDArray[np.bool_], weights_pb: Floats
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean over the category minus mean over other texts, and the same under text weights.

    Returns:
        [x] and [x, b]; NaN in a replicate that drew no text of one side.
    """
    values_xp = values_xp.astype(np.float64)
    own_p, other_p = is_category_p.astype(np.float64), (~is_category_p).astype(np.float64)
    with np.errstate(divide="ignore", invalid="ignore"):
        point_x = values_xp @ own_p / own_p.sum() - values_xp @ other_p / other_p.sum()
        own_pb, other_pb = own_p[:, None] * weights_pb, other_p[:, None] * weights_pb
        replicates_xb = values_xp @ own_pb / own_pb.sum(0) - values_xp @ other_pb / other_pb.sum(0)
    return point_x, replicates_xb


def shares(parts_xp: Floats, is_category_p: NDArray[np.bool_], weights_pb: Floats) -> Shares:
    """The shares of one latent, with bootstrap replicates over texts.

    They are undefined (NaN) where the 2.5 % quantile of the contrast is not above zero: a part of nothing has no
    meaning, and near nothing it has no limit.

    Args:
        parts_xp: e times the stream after the trough layer, times the attention between, times the MLPs between.
        is_category_p: which texts are of the category.
        weights_pb: how often each text counts in each replicate.
    """
    point_x, replicates_xb = contrasts(parts_xp, is_category_p, weights_pb)
    contrast, contrast_b = float(point_x.sum()), replicates_xb.sum(axis=0)
    finite = contrast_b[np.isfinite(contrast_b)]
    if not len(finite) or not np.quantile(finite, 0.025) > 0:
        nothing = np.full_like(point_x, np.nan), np.full_like(replicates_xb, np.nan)
        return Shares(contrast, contrast_b, *nothing)
    with np.errstate(divide="ignore", invalid="ignore"):
        share_xb = np.where(contrast_b > 0, replicates_xb / contrast_b, np.nan)
    return Shares(contrast, contrast_b, point_x / contrast, share_xb)


def top_heads(share_lh: Floats, layers: tuple[int, ...]) -> list[HeadShare]:
    """Heads with a share of at least 5 % of either sign, largest first.

    Args:
        share_lh: contrast of each head divided by the latent's, of blocks `layers`; NaN or 0 where there is none.
        layers: block indexes.
    """
    sizes_lh = np.nan_to_num(np.abs(share_lh))
    found = [
        HeadShare(layers[position], int(head), float(share_lh[position, head]))
        for position, head in np.argwhere(sizes_lh >= HEAD_SHARE)
    ]
    return sorted(found, key=lambda one: (-abs(one.share), one.layer, one.head))
