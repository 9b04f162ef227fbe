"""TopK: the k largest pre-activations of a token, negative ones as zero (Gao et al. 2024, arXiv 2406.04093).

Shape suffixes: g members of a stack, t tokens, d d_model, n latents, k active latents.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from emergence_assets.saes.model.latents import Latents, equal_counts
from emergence_assets.saes.model.pre_activations import chunks
from emergence_assets.saes.model.selection import select_top_k
from emergence_assets.saes.model.stack import Parameters
from emergence_assets.saes.variants.variant import Encoded, Variant, select_by_chunks


@dataclass(frozen=True)
class TopK(Variant):
    """TopK with exactly k latents per token."""

    exactly_k = True
    description = "its k largest pre-activations, negative ones as zero"

    def encode(self, centred_gtd: Tensor, parameters: Parameters, guess_g: Tensor | None = None) -> Encoded:
        """Select the k largest of every token."""
        if centred_gtd.device.type != "cpu":
            return Encoded(top_k_together(centred_gtd, parameters, self.k))
        return Encoded(select_by_chunks(centred_gtd, parameters, lambda pre_tn, _: select_top_k(pre_tn, self.k)))

    def trained_selection(self, parameters: Parameters, threshold_p: Tensor) -> tuple[int | None, Tensor | None]:
        """Return k."""
        return self.k, None


def top_k_together(centred_gtd: Tensor, parameters: Parameters, k: int) -> Latents:
    """Multiply and select for all members at once, in chunks of tokens, without waiting for the device."""
    n_members, n_tokens, _ = centred_gtd.shape
    n_latents, device = parameters.n_latents, centred_gtd.device
    values_gtk = torch.empty(n_members, n_tokens, k, device=device, dtype=centred_gtd.dtype)
    indices_gtk = torch.empty(n_members, n_tokens, k, dtype=torch.int64, device=device)
    for start, stop in chunks(n_tokens, n_members * n_latents, device):
        pre_gtn = torch.baddbmm(
            parameters.b_enc_gn[:, None], centred_gtd[:, start:stop], parameters.W_enc_gnd.transpose(1, 2)
        )
        values, indices = pre_gtn.topk(k, dim=-1, sorted=False)
        indices, order = indices.sort(dim=-1)
        values_gtk[:, start:stop], indices_gtk[:, start:stop] = values.gather(-1, order).relu_(), indices
    indices_gtk += torch.arange(0, n_members * n_latents, n_latents, device=device)[:, None, None]
    return Latents(values_gtk.view(-1), indices_gtk.view(-1), equal_counts(n_members * n_tokens, k, device))
