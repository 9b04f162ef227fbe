"""Decomposition of a late latent's pre-activation: the stream after the trough layer, attention, and MLPs.

A latent's pre-activation is linear in the residual stream: encoder row e (input scale folded in, see
`saes.model.stack`) times the stream. The stream after the late layer is the stream after the trough layer plus the
outputs of attention and MLPs between them. Multiplied by e, each of these is a part of the pre-activation, in its
units. The decomposed quantity is the contrast: mean over the category's texts minus mean over all other texts. Biases
and everything common to all texts cancel in it.

    contrast = carried + attention + MLP,   share = part / contrast,   shares sum to 1.

A share below 0 works against the latent; other shares then exceed 1. Shares show the source of a difference, not the
effect of removing it: for that see `causal_dependence.py`.

Shape suffixes: x parts, p texts, b bootstrap replicates, l blocks, h heads.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating]
PARTS = ("carried", "attn", "mlp")
"""Order of the parts: stream after the trough layer, attention between the layers, MLPs between the layers."""
HEAD_SHARE = 0.05
"""Smallest share, of either sign, of a listed head."""


class Shares(NamedTuple):
    """Contrast of one latent and the shares of its parts."""

    contrast: float
    """Mean pre-activation on the category minus that on other texts, in units of the latent."""
    contrast_b: NDArray[np.float64]
    share_x: NDArray[np.float64]
    """Shares in the order of `PARTS`; NaN if the contrast is not significantly above zero."""
    share_xb: NDArray[np.float64]


class HeadShare(NamedTuple):
    """Share of the contrast added by one attention head."""

    layer: int
    head: int
    share: float


def contrasts(
    values_xp: Floats, is_category_p: NDArray[np.bool_], weights_pb: Floats
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Compute mean over the category minus mean over other texts, as estimate and for each replicate.

    Returns:
        Arrays [x] and [x, b]; NaN for a replicate without texts of one side.
    """
    values_xp = values_xp.astype(np.float64)
    own_p, other_p = is_category_p.astype(np.float64), (~is_category_p).astype(np.float64)
    with np.errstate(divide="ignore", invalid="ignore"):
        point_x = values_xp @ own_p / own_p.sum() - values_xp @ other_p / other_p.sum()
        own_pb, other_pb = own_p[:, None] * weights_pb, other_p[:, None] * weights_pb
        replicates_xb = values_xp @ own_pb / own_pb.sum(0) - values_xp @ other_pb / other_pb.sum(0)
    return point_x, replicates_xb


def shares(parts_xp: Floats, is_category_p: NDArray[np.bool_], weights_pb: Floats) -> Shares:
    """Compute the shares of one latent, with bootstrap replicates over texts.

    Shares are undefined (NaN) unless the 2.5 % quantile of the contrast is above zero: a share of a contrast of zero
    has no meaning, and a share of almost zero is unbounded.

    Args:
        parts_xp: e times each part: stream after the trough layer, attention outputs, MLP outputs.
        is_category_p: whether each text belongs to the category.
        weights_pb: weight of each text in each bootstrap replicate.
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
    """List the heads with a share of at least 5 % of either sign, largest first.

    Args:
        share_lh: contrast of each head of the blocks `layers`, divided by that of the latent; NaN or 0 if undefined.
        layers: block indexes.
    """
    sizes_lh = np.nan_to_num(np.abs(share_lh))
    found = [
        HeadShare(layers[position], int(head), float(share_lh[position, head]))
        for position, head in np.argwhere(sizes_lh >= HEAD_SHARE)
    ]
    return sorted(found, key=lambda one: (-abs(one.share), one.layer, one.head))
