"""Active latents of a batch in training, for all members of a stack.

Rows are member after member, token after token; latent numbers are those of the stack as one dictionary.

Shape suffixes: g members, t tokens, d d_model, n latents, k active latents.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from emergence_assets.saes.model.latents import Latents, equal_counts, joined
from emergence_assets.saes.model.pre_activations import chunks, pre_activations
from emergence_assets.saes.model.selection import BatchTopKSelector, select_near_or_above, select_top_k
from emergence_assets.saes.model.stack import Parameters
from emergence_assets.saes.model.variants import Activation, BatchTopK, JumpReLU

GUESS = 0.9
"""Of the threshold of the batch before: low enough to be exceeded often enough nearly always."""


class Encoded(NamedTuple):
    """What a batch activates in every member."""

    latents: Latents
    """Of JumpReLU also those just below their threshold, and raw: what `gradients` makes of them is its affair."""
    threshold_g: Tensor | None = None
    """Of BatchTopK: the smallest pre-activation that was taken."""


def encode_stack(
    centred_gtd: Tensor,
    parameters: Parameters,
    activations: Sequence[Activation],
    guess_g: Tensor | None = None,
) -> Encoded:
    """Select latents for a batch from which each member's b_dec was subtracted.

    Args:
        centred_gtd: scaled input.
        parameters: of the stack.
        activations: of each member, all of one kind.
        guess_g: of BatchTopK: threshold of the batch before. Saves time and changes nothing.
    """
    kind = activations[0]
    if isinstance(kind, BatchTopK):
        return _largest_of_batch(centred_gtd, parameters, activations, guess_g)
    if isinstance(kind, JumpReLU):
        return Encoded(_near_or_above(centred_gtd, parameters, kind))
    if centred_gtd.device.type != "cpu":
        return Encoded(top_k_together(centred_gtd, parameters, [one.k for one in activations]))
    parts = []
    for g, activation in enumerate(activations):
        W_enc_nd, b_enc_n = parameters.W_enc_gnd[g], parameters.b_enc_gn[g]
        for start, stop in chunks(centred_gtd.shape[1], parameters.n_latents, centred_gtd.device):
            chunk = select_top_k(pre_activations(centred_gtd[g, start:stop], W_enc_nd, b_enc_n), activation.k)
            parts.append(chunk._replace(indices_s=chunk.indices_s.add_(g * parameters.n_latents)))
    return Encoded(joined(parts))


def top_k_together(centred_gtd: Tensor, parameters: Parameters, ks: Sequence[int]) -> Latents:
    """One product and one selection for all members, in chunks of tokens; no shape has to be asked of the device."""
    n_members, n_tokens, _ = centred_gtd.shape
    n_latents, k = parameters.n_latents, max(ks)
    device = centred_gtd.device
    values_gtk = torch.empty(n_members, n_tokens, k, device=device, dtype=centred_gtd.dtype)
    indices_gtk = torch.empty(n_members, n_tokens, k, dtype=torch.int64, device=device)
    for start, stop in chunks(n_tokens, n_members * n_latents, device):
        pre_gtn = torch.baddbmm(
            parameters.b_enc_gn[:, None], centred_gtd[:, start:stop], parameters.W_enc_gnd.transpose(1, 2)
        )
        values, indices = pre_gtn.topk(k, dim=-1, sorted=min(ks) < k)
        if min(ks) < k:  # members that may use fewer: the rest of their slots is made inactive
            is_slot = torch.arange(k, device=device) < torch.tensor(ks, device=device)[:, None, None]
            values = torch.where(is_slot, values, 0.0)
        indices, order = indices.sort(dim=-1)
        values_gtk[:, start:stop], indices_gtk[:, start:stop] = values.gather(-1, order).relu_(), indices
    indices_gtk += torch.arange(0, n_members * n_latents, n_latents, device=device)[:, None, None]
    return Latents(values_gtk.view(-1), indices_gtk.view(-1), equal_counts(n_members * n_tokens, k, device))


def _near_or_above(centred_gtd: Tensor, parameters: Parameters, activation: JumpReLU) -> Latents:
    # How many there are is asked of the device, member by member: the one variant that waits for it.
    assert parameters.log_threshold_gn is not None
    parts = []
    for g, log_threshold_n in enumerate(parameters.log_threshold_gn):
        threshold_n = log_threshold_n.exp()
        for start, stop in chunks(centred_gtd.shape[1], parameters.n_latents, centred_gtd.device):
            pre_tn = pre_activations(centred_gtd[g, start:stop], parameters.W_enc_gnd[g], parameters.b_enc_gn[g])
            chunk = select_near_or_above(pre_tn, threshold_n, activation.bandwidth)
            parts.append(chunk._replace(indices_s=chunk.indices_s.add_(g * parameters.n_latents)))
    return joined(parts)


def _largest_of_batch(
    centred_gtd: Tensor, parameters: Parameters, activations: Sequence[Activation], guess_g: Tensor | None
) -> Encoded:
    n_tokens, n_latents = centred_gtd.shape[1], parameters.n_latents
    guesses = [0.0] * len(activations) if guess_g is None else guess_g
    parts, thresholds = [], []
    for g, activation in enumerate(activations):
        n_slots = min(activation.k * n_tokens, n_tokens * n_latents)
        member = parameters.member(g)
        if centred_gtd.device.type == "cpu":
            values_s, places_s = _chosen_by_chunks(centred_gtd[g], member, n_slots, GUESS * float(guesses[g]))
        else:
            values_s, places_s = chosen_at_once(centred_gtd[g], member, n_slots)
        rows_s = places_s // n_latents
        starts_t = torch.arange(n_tokens + 1, device=rows_s.device)
        indices_s = places_s - rows_s * n_latents + g * n_latents
        parts.append(Latents(values_s, indices_s, torch.searchsorted(rows_s, starts_t)))
        thresholds.append(values_s.min() if len(values_s) else values_s.new_zeros(()))
    return Encoded(joined(parts), torch.stack(thresholds))


def _chosen_by_chunks(centred_td: Tensor, member: Parameters, n_slots: int, guess: float) -> tuple[Tensor, Tensor]:
    """Values and places of a member's largest, in order of places, never all of its pre-activations at once."""
    largest = BatchTopKSelector(n_slots, guess)
    for start, stop in chunks(centred_td.shape[0], member.n_latents):
        pre_tn = pre_activations(centred_td[start:stop], member.W_enc_gnd[0], member.b_enc_gn[0])
        largest.add(pre_tn, start * member.n_latents)
    found = largest.result()
    if found is None:
        return _chosen_by_chunks(centred_td, member, n_slots, 0.0)
    return torch.from_numpy(found[0]), torch.from_numpy(found[1])


def chosen_at_once(centred_td: Tensor, member: Parameters, n_slots: int) -> tuple[Tensor, Tensor]:
    """Values and places of a member's largest, in order of places, as many whatever the batch: some may be 0."""
    pre = pre_activations(centred_td, member.W_enc_gnd[0], member.b_enc_gn[0]).view(-1)
    # Unsorted, this is a radix selection of the threshold on a GPU.
    places_s = pre.topk(n_slots, sorted=False).indices.sort().values
    return pre[places_s].relu_(), places_s
