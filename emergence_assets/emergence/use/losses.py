"""Loss of a language model on texts while single latents are taken out of its residual stream.

A latent is removed at all positions but the first: from the stream x after the layer its contribution z W_dec is
subtracted, with z the activation of the latent on x; everything else stays, including the error of the SAE.

Shape suffixes: r removals, p texts, t changed positions of a batch, n latents.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor
from transformers import PreTrainedModel

from emergence_assets.activations.forward.replaced import Batch, batches, replaced_stream
from emergence_assets.activations.forward.stream import residual_stream
from emergence_assets.saes.model.latents import Latents
from emergence_assets.saes.model.sae import SAE


@dataclass(frozen=True, eq=False)
class Removal:
    """A latent that is taken out of the residual stream."""

    sae: SAE
    latent: int


@dataclass(frozen=True, eq=False)
class Losses:
    """Sums over the tokens of each text, in the order of the texts."""

    clean_p: NDArray[np.float64]
    """Cross-entropy of the unchanged model in nats, of the tokens that follow a changed position."""
    without_rp: NDArray[np.float64]
    """The same without each latent."""
    n_tokens_p: NDArray[np.int64]
    """Tokens whose loss is measured."""
    active_rp: NDArray[np.int64]
    """Positions on which each latent is active."""


@torch.no_grad()
def losses_without(
    model: PreTrainedModel,
    texts: Sequence[np.ndarray],
    layer: int,
    removals: Sequence[Removal],
    blocks_name: str | None = None,
) -> Losses:
    """Measure the loss on each text, of the unchanged model and without each latent.

    Args:
        model: causal model with its head, in evaluation mode.
        texts: token ids that start with the begin token.
        layer: block index from 0, of which the SAEs are; -1 is the input of the first block.
        removals: at least one latent; each is removed by itself. Their SAEs are on the model's device.
        blocks_name: module path of the list of blocks; by default it is found.
    """
    device, n_passes = removals[0].sae.device, len(removals) + 1
    loss_rp = torch.zeros(n_passes, len(texts), dtype=torch.float64, device=device)
    active_rp = torch.zeros(len(removals), len(texts), dtype=torch.int64, device=device)
    n_tokens_p = torch.zeros(len(texts), dtype=torch.int64, device=device)
    for batch in batches(texts, n_passes * model.config.get_text_config().vocab_size, device):

        def replacements(x_td: Tensor, batch: Batch = batch) -> Iterator[Tensor]:
            yield x_td
            for number, (removal, value_t) in enumerate(_values(x_td, removals)):
                active_rp[number].index_add_(0, batch.text_t, (value_t > 0).long())
                yield x_td.float() - value_t[:, None] * removal.sae.W_dec_nd[removal.latent]

        with replaced_stream(model, layer, batch.is_replaced_bp, n_passes, replacements, blocks_name):
            logits = model(input_ids=batch.ids_bp.repeat(n_passes, 1)).logits
        is_followed_t = batch.next_t >= 0
        next_t, text_t = batch.next_t[is_followed_t], batch.text_t[is_followed_t]
        n_tokens_p.index_add_(0, text_t, torch.ones_like(text_t))
        for number, part_bpv in enumerate(logits.chunk(n_passes)):
            loss_t = F.cross_entropy(part_bpv[batch.is_replaced_bp][is_followed_t].float(), next_t, reduction="none")
            loss_rp[number].index_add_(0, text_t, loss_t.double())
    clean_p, *_ = losses = loss_rp.cpu().numpy()
    return Losses(clean_p, losses[1:], n_tokens_p.cpu().numpy(), active_rp.cpu().numpy())


@torch.no_grad()
def latent_energies(
    model: PreTrainedModel,
    texts: Sequence[np.ndarray],
    layer: int,
    saes: Sequence[SAE],
    blocks_name: str | None = None,
) -> list[NDArray[np.float64]]:
    """Sum the squared activations of all latents of each SAE over all positions but the first, [n] per SAE.

    Decoder rows have unit length, so that this is the squared length of everything that the removal of a latent takes
    out of the residual stream. For the arguments see `losses_without`.
    """
    device = saes[0].device
    energy_n = [torch.zeros(sae.n_latents, dtype=torch.float64, device=device) for sae in saes]
    with residual_stream(model, [layer], blocks_name) as stream:
        for batch in batches(texts, model.config.get_text_config().vocab_size, device):
            model(input_ids=batch.ids_bp)
            x_td = stream[layer][batch.is_replaced_bp]
            for sae, total_n in zip(saes, energy_n, strict=True):
                found = sae.encode(x_td)
                total_n.index_add_(0, found.indices_s, found.values_s.double() ** 2)
    return [total_n.cpu().numpy() for total_n in energy_n]


def _values(x_td: Tensor, removals: Sequence[Removal]) -> Iterator[tuple[Removal, Tensor]]:
    """Yield every removal with the activation of its latent [t]; each SAE encodes the stream once."""
    encoded: dict[int, Latents] = {}
    for removal in removals:
        key = id(removal.sae)
        if key not in encoded:
            encoded[key] = removal.sae.encode(x_td)
        found = encoded[key]
        row_s = torch.repeat_interleave(torch.arange(len(x_td), device=x_td.device), found.offsets_t.diff())
        is_here_s = found.indices_s == removal.latent
        yield removal, x_td.new_zeros(len(x_td)).float().index_add_(0, row_s[is_here_s], found.values_s[is_here_s])
