"""Loss of a language model on texts while single latents are taken out of its residual stream.

A latent is removed at all positions but the first: from the stream x after the layer its contribution z W_dec is
subtracted, with z the activation of the latent on x; everything else stays, including the error of the SAE.

Shape suffixes: r removals, p texts, q pairs of a removal and a text, b pairs of a batch, t positions, n latents, d
d_model, v vocabulary.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor
from transformers import PreTrainedModel

from emergence_assets.activations.forward.replaced import Batch, batches
from emergence_assets.checkpoints.models.blocks import vocabulary_size
from emergence_assets.checkpoints.models.stream import changed_stream, residual_stream
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

    A text on which a latent is never active keeps its loss and costs no forward pass.

    Args:
        model: causal model with its head, in evaluation mode.
        texts: token ids that start with the begin token.
        layer: block index from 0, of which the SAEs are; -1 is the input of the first block.
        removals: at least one latent; each is removed by itself. Their SAEs are on the model's device.
        blocks_name: module path of the list of blocks; by default it is found.
    """
    device, vocab_size = removals[0].sae.device, vocabulary_size(model)
    clean_p = torch.zeros(len(texts), dtype=torch.float64, device=device)
    n_tokens_p = torch.zeros(len(texts), dtype=torch.int64, device=device)
    value_rpt = torch.zeros(len(removals), len(texts), max(map(len, texts)), device=device)
    with residual_stream(model, [layer], blocks_name) as stream:
        for batch in batches(texts, vocab_size, device):
            _add_losses(clean_p, model(input_ids=batch.ids_bp).logits, batch)
            n_tokens_p.index_add_(0, batch.text_t, (batch.next_t >= 0).long())
            position_t = batch.is_replaced_bp.nonzero()[:, 1]
            for value_pt, value_t in zip(
                value_rpt, _values(stream[layer][batch.is_replaced_bp], removals), strict=True
            ):
                value_pt[batch.text_t, position_t] = value_t
    active_rp = (value_rpt > 0).sum(2)
    removal_q, text_q = active_rp.nonzero(as_tuple=True)
    without_q = torch.zeros(len(text_q), dtype=torch.float64, device=device)
    for batch in batches([texts[text] for text in text_q.tolist()], vocab_size, device):
        removal_b, text_b = removal_q[batch.text_b], text_q[batch.text_b]
        value_bt = value_rpt[removal_b, text_b, : batch.ids_bp.shape[1]]
        decoder_bd = torch.stack([removals[r].sae.W_dec_nd[removals[r].latent] for r in removal_b.tolist()])

        def less(x_btd: Tensor, value_bt: Tensor = value_bt, decoder_bd: Tensor = decoder_bd) -> Tensor:
            return (x_btd.float() - value_bt[:, :, None] * decoder_bd[:, None]).to(x_btd.dtype)

        with changed_stream(model, {layer: less}, blocks_name):
            _add_losses(without_q, model(input_ids=batch.ids_bp).logits, batch)
    without_rp = clean_p.repeat(len(removals), 1)
    without_rp[removal_q, text_q] = without_q
    return Losses(*(one.cpu().numpy() for one in (clean_p, without_rp, n_tokens_p, active_rp)))


def _add_losses(total_p: Tensor, logits_btv: Tensor, batch: Batch) -> None:
    """Add the cross-entropy of every token that follows a replaced position to the total of its text."""
    is_followed_t = batch.next_t >= 0
    logits_tv = logits_btv[batch.is_replaced_bp][is_followed_t].float()
    loss_t = F.cross_entropy(logits_tv, batch.next_t[is_followed_t], reduction="none")
    total_p.index_add_(0, batch.text_t[is_followed_t], loss_t.double())


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
        for batch in batches(texts, vocabulary_size(model), device):
            model(input_ids=batch.ids_bp)
            x_td = stream[layer][batch.is_replaced_bp]
            for sae, total_n in zip(saes, energy_n, strict=True):
                found = sae.encode(x_td)
                total_n.index_add_(0, found.indices_s, found.values_s.double() ** 2)
    return [total_n.cpu().numpy() for total_n in energy_n]


def _values(x_td: Tensor, removals: Sequence[Removal]) -> Iterator[Tensor]:
    """Yield the activations of the latent of every removal [t]; each SAE encodes the stream once."""
    encoded: dict[int, Latents] = {}
    for removal in removals:
        key = id(removal.sae)
        if key not in encoded:
            encoded[key] = removal.sae.encode(x_td)
        found = encoded[key]
        row_s = torch.repeat_interleave(torch.arange(len(x_td), device=x_td.device), found.offsets_t.diff())
        is_here_s = found.indices_s == removal.latent
        yield x_td.new_zeros(len(x_td)).float().index_add_(0, row_s[is_here_s], found.values_s[is_here_s])
