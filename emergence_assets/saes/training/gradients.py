"""Loss of a batch and its gradients, without autograd.

With k of n latents active, only k rows of W_dec and of W_enc matter per token, while autograd multiplies dense [t, n]
matrices with a share of k / n nonzero values. Only the product of the encoder stays dense, because exact selection
needs every pre-activation.

The slots of a token form one bag per Matryoshka prefix, or a single bag; each bag has its own pull.

Shape suffixes: g members, t tokens, d d_model, n latents, s slots, b bags, j prefixes.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from emergence_assets.saes.model.latents import Latents, decode_latents
from emergence_assets.saes.model.stack import Parameters
from emergence_assets.saes.training.aux_k import Revival, revivals
from emergence_assets.saes.training.sparse_gradients import SparseGradients, sparse_gradients
from emergence_assets.saes.variants.variant import Variant
from emergence_assets.study.sae import AuxK


class BatchGradients(NamedTuple):
    """Loss and gradients of one batch, and the latents that it activated."""

    squared_error_g: Tensor
    """Σ‖x - x̂‖² over the batch, left on the device."""
    gradients: Iterator[tuple[str, Tensor]]
    """Gradients of the objective by field of `Parameters`, each computed when the iterator reaches it.

    Memory is saved if each is released before the next. Parameters may change in between."""
    has_fired_gn: Tensor
    """Whether each latent is active on some token."""
    threshold_g: Tensor | None
    """See `Encoded.threshold_g`."""


class Dead(NamedTuple):
    """Dead latents, and the settings of their revival."""

    latents: Sequence[Tensor]
    """Indices of the dead latents of each member."""
    aux: AuxK


def loss_and_gradients(
    y_gtd: Tensor,
    parameters: Parameters,
    variant: Variant,
    *,
    prefixes: Sequence[int] = (),
    guess_g: Tensor | None = None,
    dead: Dead | None = None,
) -> BatchGradients:
    """Compute the squared error of a batch and the exact gradients of the objective.

    The objective of a member is ½ Σ‖x̂ - x‖² / n_tokens, averaged over the prefixes, with the whole dictionary as one of
    them; AuxK and some variants add a term.

    With e = x̂ - x, r = e / n_tokens: db_dec = Σ r - db_enc W_enc, the last term for b_dec's part in the input; the
    others are in `sparse_gradients`. With prefixes the r of a latent is the sum over all prefixes that it belongs to.

    Args:
        y_gtd: scaled input.
        parameters: parameters of the stack on scaled input.
        variant: variant of all members.
        prefixes: Matryoshka: ascending sizes of the leading groups of latents, each of which reconstructs alone.
        guess_g: see `Variant.encode`.
        dead: latents to revive.
    """
    n_members, n_tokens, d_model = y_gtd.shape
    n_latents = parameters.n_latents
    centred_gtd = y_gtd - parameters.b_dec_gd[:, None]
    centred_td = centred_gtd.view(-1, d_model)
    encoded = variant.encode(centred_gtd, parameters, guess_g)
    W_dec_nd = parameters.W_dec_gnd.view(-1, d_model)
    n_prefixes = len(prefixes) + 1
    bags = _in_bags(encoded.latents, prefixes, n_latents)
    residual_tjd = decode_latents(bags, W_dec_nd).view(-1, n_prefixes, d_model)
    if n_prefixes > 1:
        residual_tjd = residual_tjd.cumsum(1)
    residual_tjd.sub_(centred_td[:, None])
    residual_gtd = residual_tjd[:, -1].view(n_members, n_tokens, d_model)
    squared_error_g = residual_gtd.square().sum((1, 2))
    revived = [] if dead is None else revivals(centred_gtd, residual_gtd, parameters, dead.latents, dead.aux)
    pull_tjd = residual_tjd.div_(n_tokens)
    if n_prefixes > 1:
        pull_tjd = pull_tjd.div_(n_prefixes).flip(1).cumsum(1).flip(1)
    found = sparse_gradients(bags, pull_tjd.view(-1, d_model), centred_td, W_dec_nd)
    own = variant.own_gradients(encoded, found, parameters, n_tokens)
    return BatchGradients(
        squared_error_g,
        _in_turn(parameters, found, revived, pull_tjd[:, 0].view(n_members, n_tokens, d_model), own),
        found.has_fired_n().view(n_members, n_latents),
        encoded.threshold_g,
    )


def _in_turn(
    parameters: Parameters,
    found: SparseGradients,
    revived: Sequence[Revival],
    pull_gtd: Tensor,
    own: Mapping[str, Tensor],
) -> Iterator[tuple[str, Tensor]]:
    """Yield gradients one by one, first that of b_dec, which needs the encoder before its update."""

    def with_revived(gradient: Tensor, of_dead: Callable[[SparseGradients], Tensor]) -> Tensor:
        for member, dead_m, gradients in revived:
            gradient[member].index_add_(0, dead_m, of_dead(gradients))
        return gradient

    b_enc_gn = with_revived(found.b_enc_n().view_as(parameters.b_enc_gn), SparseGradients.b_enc_n)
    yield "b_dec_gd", pull_gtd.sum(1) - torch.bmm(b_enc_gn[:, None], parameters.W_enc_gnd)[:, 0]
    yield "b_enc_gn", b_enc_gn
    yield from own.items()
    yield "W_dec_gnd", with_revived(found.W_dec_nd().view_as(parameters.W_dec_gnd), SparseGradients.W_dec_nd)
    yield "W_enc_gnd", with_revived(found.W_enc_nd().view_as(parameters.W_enc_gnd), SparseGradients.W_enc_nd)


def _in_bags(latents: Latents, prefixes: Sequence[int], n_latents: int) -> Latents:
    """Split the slots of each token into one bag per prefix, with the whole dictionary as one of them."""
    if not prefixes:
        return latents
    device, n_tokens, n_prefixes = latents.indices_s.device, latents.n_tokens, len(prefixes) + 1
    tokens_s = torch.repeat_interleave(
        torch.arange(n_tokens, device=device), latents.offsets_t.diff(), output_size=len(latents.indices_s)
    )
    bounds = torch.tensor(list(prefixes), device=device)
    bags_s = tokens_s * n_prefixes + torch.bucketize(latents.indices_s % n_latents, bounds, right=True)
    offsets_b = torch.searchsorted(bags_s, torch.arange(n_tokens * n_prefixes + 1, device=device))
    return latents._replace(offsets_t=offsets_b)
