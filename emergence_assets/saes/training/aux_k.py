"""AuxK: dead latents learn to reconstruct the residual of the others (Gao et al. 2024, arXiv 2406.04093, A.2).

Shape suffixes: g members, t tokens, d d_model, n latents, m dead latents.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from emergence_assets.saes.model.latents import decode_latents, joined
from emergence_assets.saes.model.pre_activations import chunks, pre_activations
from emergence_assets.saes.model.selection import select_top_k
from emergence_assets.saes.model.stack import Parameters
from emergence_assets.saes.training.sparse_gradients import SparseGradients, sparse_gradients
from emergence_assets.study.sae import AuxK


class Revival(NamedTuple):
    """Gradients of the auxiliary loss of one member."""

    member: int
    dead_m: Tensor
    """Indices of the dead latents."""
    gradients: SparseGradients
    """Gradients of the dead latents only."""


def revivals(
    centred_gtd: Tensor, residual_gtd: Tensor, parameters: Parameters, dead: Sequence[Tensor], aux: AuxK
) -> list[Revival]:
    """Compute gradients of coefficient · ½ Σ‖ê - e‖² / n_tokens, with e = x - x̂ constant, of members with dead latents.

    Args:
        centred_gtd: input of the encoder.
        residual_gtd: x̂ - x of the whole dictionary.
        parameters: parameters of the stack; may change afterwards.
        dead: indices of each member's dead latents, [m].
        aux: settings of AuxK.
    """
    n_tokens, d_model = centred_gtd.shape[1:]
    found = []
    for g, dead_m in enumerate(dead):
        if len(dead_m) == 0:
            continue
        W_enc_md, b_enc_m = parameters.W_enc_gnd[g][dead_m], parameters.b_enc_gn[g][dead_m]
        W_dec_md = parameters.W_dec_gnd[g][dead_m]
        k = min(aux.k or max(1, d_model // 2), len(dead_m))
        latents = joined(
            [
                select_top_k(pre_activations(centred_gtd[g, start:stop], W_enc_md, b_enc_m), k)
                for start, stop in chunks(n_tokens, len(dead_m), centred_gtd.device)
            ]
        )
        pull_td = decode_latents(latents, W_dec_md).add_(residual_gtd[g]).mul_(aux.coefficient / n_tokens)
        found.append(Revival(g, dead_m, sparse_gradients(latents, pull_td, centred_gtd[g], W_dec_md)))
    return found


def dead_latents(last_fired_gn: Tensor, since_step: int) -> list[Tensor]:
    """List the latents of each member that were not active since a step; waits for the device."""
    return [torch.nonzero(is_dead_n).view(-1) for is_dead_n in last_fired_gn < since_step]
