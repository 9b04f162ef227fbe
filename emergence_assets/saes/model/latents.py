"""Active latents of tokens as a sparse array: one slot per active latent, in the order of tokens.

Shape suffixes: t tokens, s slots, d d_model, n latents, k slots of a token.
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor


class Latents(NamedTuple):
    """Active latents of a batch of tokens; a slot of value zero is inactive."""

    values_s: Tensor
    """Latent activations, not negative."""
    indices_s: Tensor
    """Latent indices, int64, ascending within a token, without duplicates."""
    offsets_t: Tensor
    """Start of each token's slots, and at the end the number of all slots: [tokens + 1], int64."""

    @property
    def n_tokens(self) -> int:
        """Number of tokens."""
        return len(self.offsets_t) - 1

    def padded(self) -> tuple[Tensor, Tensor]:
        """Return values and latent indices as [t, k], with k the largest number of slots of a token; padded with 0."""
        counts_t = self.offsets_t.diff()
        k = int(counts_t.max()) if self.n_tokens else 0
        is_slot_tk = torch.arange(k, device=counts_t.device) < counts_t[:, None]
        values_tk = self.values_s.new_zeros(self.n_tokens, k).masked_scatter_(is_slot_tk, self.values_s)
        indices_tk = self.indices_s.new_zeros(self.n_tokens, k).masked_scatter_(is_slot_tk, self.indices_s)
        return values_tk, indices_tk

    def dense(self, n_latents: int) -> Tensor:
        """Return all activations [t, n], nearly all of them zero."""
        rows_s = torch.repeat_interleave(
            torch.arange(self.n_tokens, device=self.offsets_t.device), self.offsets_t.diff()
        )
        dense_tn = self.values_s.new_zeros(self.n_tokens, n_latents)
        dense_tn[rows_s, self.indices_s] = self.values_s
        return dense_tn


def equal_counts(n_tokens: int, k: int, device: torch.device) -> Tensor:
    """Return offsets of tokens that have k slots each."""
    return torch.arange(0, n_tokens * k + 1, k, device=device)


def joined(parts: list[Latents]) -> Latents:
    """Join the latents of several batches."""
    if len(parts) == 1:
        return parts[0]
    starts, n_slots = [], 0
    for part in parts:
        starts.append(part.offsets_t[:-1] + n_slots)
        n_slots += len(part.values_s)
    return Latents(
        torch.cat([part.values_s for part in parts]),
        torch.cat([part.indices_s for part in parts]),
        torch.cat([*starts, starts[0].new_full((1,), n_slots)]),
    )


def decode_latents(latents: Latents, W_dec_nd: Tensor) -> Tensor:
    """Sum decoder directions weighted by activation, [t, d]; reads only the active rows."""
    return F.embedding_bag(
        latents.indices_s,
        W_dec_nd,
        latents.offsets_t,
        per_sample_weights=latents.values_s,
        mode="sum",
        include_last_offset=True,
    )
