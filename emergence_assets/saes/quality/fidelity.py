"""Fidelity: predictions of the model with an SAE's reconstruction in place of a layer's output.

The SAE's training positions are replaced: all but the first, or only the last. Predictions at these positions are
compared with those of the unchanged model; the mean activation at the same positions is the worst case.

Shape suffixes: b texts of a batch, p positions, t replaced positions, d d_model, v vocabulary.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from transformers import PreTrainedModel

from emergence_assets.activations.forward.replaced import batches, replaced_stream
from emergence_assets.checkpoints.models.blocks import vocabulary_size
from emergence_assets.saes.model.sae import SAE


@dataclass(frozen=True)
class Fidelity:
    """Shares of divergence and loss that an SAE recovers; the fields are columns of `metrics.json`."""

    kl_recovered: float | None
    """1 - KL(model ‖ with SAE) / KL(model ‖ with mean), summed over the replaced positions; 1 is best, 0 as bad as the
    mean. None if the mean changes nothing, or the model predicts no tokens."""
    loss_recovered: float | None
    """(L_mean - L_sae) / (L_mean - L), L the cross-entropy of the next tokens; None if no token follows."""
    fidelity_tokens: int | None
    """Number of replaced positions; None if fidelity was not measured."""


NOT_MEASURED = Fidelity(None, None, None)


@torch.no_grad()
def measure_fidelity(
    model: PreTrainedModel,
    texts: Sequence[np.ndarray],
    layer: int,
    saes: Sequence[SAE],
    mean_d: Tensor,
    *,
    last_only: bool,
    blocks_name: str | None = None,
) -> list[Fidelity]:
    """Run a language model with a layer's own output, with its mean, and with the reconstruction of each SAE.

    Args:
        model: with its head, causal, in evaluation mode.
        texts: token ids that start with the begin token, which is never replaced.
        layer: block index from 0; -1 is the input of the first block.
        saes: of this layer, on the model's device.
        mean_d: mean activation of the layer.
        last_only: replace only the last position of a text, else all but the first.
        blocks_name: module path of the list of blocks; by default it is found.
    """
    device = mean_d.device
    n_replacements = len(saes) + 2

    def replacements(x_td: Tensor) -> Iterator[Tensor]:
        yield x_td
        yield mean_d.to(x_td.dtype).expand_as(x_td)
        yield from (sae.reconstruct(x_td) for sae in saes)

    kl = torch.zeros(n_replacements, dtype=torch.float64, device=device)
    loss = torch.zeros(n_replacements, dtype=torch.float64, device=device)
    n_tokens = n_followed = 0
    for batch in batches(texts, n_replacements * vocabulary_size(model), device, last_only=last_only):
        with replaced_stream(model, layer, batch.is_replaced_bp, n_replacements, replacements, blocks_name):
            logits = model(input_ids=batch.ids_bp.repeat(n_replacements, 1)).logits
        next_t = batch.next_t
        is_followed_t = next_t >= 0
        log_probs = [part[batch.is_replaced_bp].float().log_softmax(-1) for part in logits.chunk(n_replacements)]
        for number, changed_tv in enumerate(log_probs):
            kl[number] += kl_divergence(log_probs[0], changed_tv)
            loss[number] += F.nll_loss(changed_tv[is_followed_t], next_t[is_followed_t], reduction="sum")
        n_tokens += len(next_t)
        n_followed += int(is_followed_t.sum())
    clean, ablated, *with_sae = loss.tolist()
    _, kl_ablated, *kl_sae = kl.tolist()
    return [
        Fidelity(
            kl_recovered=1 - own_kl / kl_ablated if kl_ablated > 0 else None,
            loss_recovered=(ablated - own) / (ablated - clean) if n_followed and ablated != clean else None,
            fidelity_tokens=n_tokens,
        )
        for own_kl, own in zip(kl_sae, with_sae, strict=True)
    ]


def kl_divergence(log_p_tv: Tensor, log_q_tv: Tensor) -> Tensor:
    """Return the sum over tokens of KL(p || q) in nats, at least 0.

    Each term is p (q / p - 1 - log(q / p)), which sums to the divergence because p and q sum to 1. The terms are not
    negative. Those of p log(p / q) are of both signs, and between nearly equal distributions their sum is rounding.
    """
    d_tv = log_q_tv - log_p_tv
    return (log_p_tv.exp() * (d_tv.expm1() - d_tv).clamp(min=0)).sum()
