"""Agreement of two SAEs, by their decoder directions: the share of common latents, and the cosine of matched latents.

Shape suffixes: n latents of one SAE, m latents of the other, d d_model.
"""

import torch
from torch import Tensor

from emergence_assets.saes.model.pre_activations import chunks
from emergence_assets.saes.model.sae import SAE

MIN_COSINE = 0.7
"""Least cosine of a shared latent, as in Paulo and Belrose 2025 (arXiv 2501.16615)."""
MAX_ASSIGNED = 4096
"""Most latents of an SAE that are matched one to one."""


def shared_fraction(one: SAE, other: SAE, counted_n: Tensor | None = None) -> float:
    """Return the share of latents with a mutual nearest neighbour in the other SAE at a cosine of at least 0.7.

    Random directions stay below: at d=96 the nearest of 512 directions has a cosine of about 0.3.

    Args:
        one: SAE whose latents are counted.
        other: SAE of the same width.
        counted_n: mask of the latents that count, bool [n], by default all; inactive latents, for example, still have
            their random directions.

    Returns:
        Share from 0 to 1; NaN if no latent counts.
    """
    nearest_n, cosine_n, nearest_m = nearest_neighbours(one.W_dec_nd, other.W_dec_nd)
    is_shared_n = (nearest_m[nearest_n] == torch.arange(one.n_latents, device=one.device)) & (cosine_n >= MIN_COSINE)
    counted_n = torch.ones_like(is_shared_n) if counted_n is None else counted_n
    return float(is_shared_n[counted_n].double().mean())


def nearest_neighbours(one_nd: Tensor, other_md: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Find the nearest row in `other_md` of each row in `one_nd`, with its cosine, and the reverse without it.

    Args:
        one_nd: rows of unit length.
        other_md: rows of unit length.
    """
    n, m = len(one_nd), len(other_md)
    nearest_n = torch.zeros(n, dtype=torch.int64, device=one_nd.device)
    cosine_n = torch.zeros(n, device=one_nd.device)
    best_m = torch.full((m,), -torch.inf, device=one_nd.device)
    nearest_m = torch.zeros(m, dtype=torch.int64, device=one_nd.device)
    for start, stop in chunks(n, m, one_nd.device):
        cosines_nm = one_nd[start:stop] @ other_md.T
        cosine_n[start:stop], nearest_n[start:stop] = cosines_nm.max(1)
        found_m, place_m = cosines_nm.max(0)
        nearest_m = torch.where(found_m > best_m, place_m + start, nearest_m)
        best_m = torch.maximum(best_m, found_m)
    return nearest_n, cosine_n, nearest_m


def matched_cosine(one: SAE, other: SAE, counted_n: Tensor, counted_m: Tensor) -> float:
    """Return the mean cosine of decoder directions under the best one-to-one assignment (PW-MCC, arXiv 2505.20254).

    Latents without a partner, where one SAE has more of them, are left out.

    Args:
        one: SAE.
        other: SAE of the same width.
        counted_n: mask of the latents of `one` that count, bool [n].
        counted_m: mask of the latents of `other` that count, bool [m].

    Returns:
        Mean cosine; NaN if no latent counts on a side, or more than `MAX_ASSIGNED` do: an assignment of n latents takes
        n³ operations.
    """
    from scipy.optimize import linear_sum_assignment

    one_nd, other_md = one.W_dec_nd[counted_n], other.W_dec_nd[counted_m]
    if not min(len(one_nd), len(other_md)) > 0 or max(len(one_nd), len(other_md)) > MAX_ASSIGNED:
        return float("nan")
    cosines_nm = (one_nd @ other_md.T).cpu().numpy()
    return float(cosines_nm[linear_sum_assignment(cosines_nm, maximize=True)].mean())
