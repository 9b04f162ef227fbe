"""Gradients of encoder and decoder from active latents only: a few passes over the slots, sorted by latent.

Shape suffixes: t tokens, d d_model, n latents, s slots, b bags (each holds all or some slots of a token).
"""

from typing import NamedTuple

import numpy as np
import scipy.sparse
import torch
import torch.nn.functional as F
from torch import Tensor

from emergence_assets.saes.model.latents import Latents


class ByLatent(NamedTuple):
    """Slots of a batch, sorted by latent; the order within a latent is kept."""

    slots_s: Tensor
    """Index of each slot in the batch."""
    bags_s: Tensor
    """Bag of each slot."""
    latents_s: Tensor
    """Latent of each slot."""
    offsets_n: Tensor
    """Start of each latent's slots."""

    def sum(self, rows_bd: Tensor, weights_s: Tensor, rows_of_s: Tensor | None = None) -> Tensor:
        """Sum weighted rows over each latent's slots, [n, d]; deterministic, because the order is fixed on GPUs too."""
        rows_of_s = self.bags_s if rows_of_s is None else rows_of_s
        return F.embedding_bag(rows_of_s, rows_bd, self.offsets_n, mode="sum", per_sample_weights=weights_s)


class SparseGradients(NamedTuple):
    """Gradients with respect to encoder and decoder; each is computed on call, because few are needed at once.

    With a the activations, g = [a > 0] (pull · W_dec rows): dW_dec = aᵀ pull, dW_enc = gᵀ centred, db_enc = Σ g.
    """

    by_latent: ByLatent
    """Order of the slots."""
    values_s: Tensor
    """Activations, sorted by latent."""
    slopes_s: Tensor
    """Gradient of each slot's activation, sorted by latent, also of inactive slots."""
    pull_bd: Tensor
    """Gradient with respect to the sum of each bag's slots."""
    centred_td: Tensor
    """Input of the encoder."""

    def b_enc_n(self) -> Tensor:
        """Compute the gradient of the encoder's bias."""
        return self.sum_over_slots(self._open_slopes_s())

    def W_enc_nd(self) -> Tensor:
        """Compute the gradient of the encoder."""
        return self.by_latent.sum(self.centred_td, self._open_slopes_s(), self._tokens_s())

    def W_dec_nd(self) -> Tensor:
        """Compute the gradient of the decoder."""
        return self.by_latent.sum(self.pull_bd, self.values_s)

    def has_fired_n(self) -> Tensor:
        """Return whether each latent is active on some token."""
        return self.sum_over_slots(self.values_s) > 0

    def sum_over_slots(self, weights_s: Tensor) -> Tensor:
        """Sum of one number per slot over each latent's slots, [n]."""
        ones_t1 = self.centred_td.new_ones(self.centred_td.shape[0], 1)
        return self.by_latent.sum(ones_t1, weights_s, self._tokens_s()).view(-1)

    def _open_slopes_s(self) -> Tensor:
        return torch.where(self.values_s > 0, self.slopes_s, 0.0)

    def _tokens_s(self) -> Tensor:
        bags_per_token = self.pull_bd.shape[0] // self.centred_td.shape[0]
        return self.by_latent.bags_s if bags_per_token == 1 else self.by_latent.bags_s // bags_per_token


def sparse_gradients(latents: Latents, pull_bd: Tensor, centred_td: Tensor, W_dec_nd: Tensor) -> SparseGradients:
    """Apply the chain rule through decoder, selection and encoder.

    Args:
        latents: latents of bags, with the same number of bags per token; a slot of value 0 has no gradient.
        pull_bd: gradient with respect to the sum of each bag's slots.
        centred_td: input of the encoder.
        W_dec_nd: decoder; may change afterwards.
    """
    by_latent = group_by_latent(latents, W_dec_nd.shape[0])
    values_s = latents.values_s.index_select(0, by_latent.slots_s)
    # The product of decoder row and pull for each slot, in the order of latents: decoder rows are read once, in order.
    slopes_s = torch.ops.aten._embedding_bag_per_sample_weights_backward(
        W_dec_nd, pull_bd, by_latent.bags_s, by_latent.offsets_n, by_latent.latents_s, 0
    )
    return SparseGradients(by_latent, values_s, slopes_s, pull_bd, centred_td)


def group_by_latent(latents: Latents, n_latents: int) -> ByLatent:
    """Sort the slots of a batch by latent."""
    if latents.indices_s.device.type == "cpu" and len(latents.indices_s) < 2**31:
        return _grouped_by_counting(latents, n_latents)
    return grouped_by_sorting(latents, n_latents)


def _grouped_by_counting(latents: Latents, n_latents: int) -> ByLatent:
    # CSR to CSC takes one counting pass: 0.05 ms, where sorting 16384 numbers takes 0.7 ms.
    columns = scipy.sparse.csr_matrix(
        (
            np.arange(len(latents.indices_s), dtype=np.int32),
            latents.indices_s.numpy().astype(np.int32),
            latents.offsets_t.numpy().astype(np.int32),
        ),
        shape=(latents.n_tokens, n_latents),
    ).tocsc()
    latents_s = np.repeat(np.arange(n_latents, dtype=np.int32), np.diff(columns.indptr))
    parts = (columns.data, columns.indices, latents_s, columns.indptr[:-1])
    return ByLatent(*(torch.from_numpy(part) for part in parts))


def grouped_by_sorting(latents: Latents, n_latents: int) -> ByLatent:
    """Sort the slots of a batch by latent, without waiting for the device."""
    indices_s, offsets_b = latents.indices_s, latents.offsets_t
    n_slots, n_bags, device = len(indices_s), latents.n_tokens, indices_s.device
    latents_s, slots_s = indices_s.sort(stable=True)
    bags_s = torch.repeat_interleave(torch.arange(n_bags, device=device), offsets_b.diff(), output_size=n_slots)
    offsets_n = torch.searchsorted(latents_s, torch.arange(n_latents, device=device))
    return ByLatent(slots_s, bags_s.index_select(0, slots_s), latents_s, offsets_n)
