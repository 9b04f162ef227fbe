"""Fidelity: predictions of the model with an SAE's reconstruction in place of a layer's output.

The SAE's training positions are replaced: all but the first, or only the last. Predictions at these positions are
compared with those of the unchanged model; the mean activation at the same positions is the worst case.

Shape suffixes: b texts of a batch, p positions, t replaced positions, d d_model, v vocabulary.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from transformers import PreTrainedModel

from emergence_assets.activations.forward.capture import padded_ids
from emergence_assets.activations.forward.stream import changed_stream
from emergence_assets.saes.model.sae import SAE

LOGITS_AT_ONCE = 2**26
"""Logits per batch, over all replacements: 256 MB in single precision."""


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
    changes: list[Callable[[Tensor], Tensor]] = [
        lambda x_td: x_td,
        lambda x_td: mean_d.to(x_td.dtype).expand_as(x_td),
        *(lambda x_td, sae=sae: sae.reconstruct(x_td).to(x_td.dtype) for sae in saes),
    ]
    kl = torch.zeros(len(changes), dtype=torch.float64, device=device)
    loss = torch.zeros(len(changes), dtype=torch.float64, device=device)
    n_tokens = n_followed = 0
    for batch in _batches(texts, len(changes) * model.config.vocab_size):
        ids_bp, is_replaced_bp, next_t = _padded(batch, last_only, device)
        # All replacements in one forward pass; the blocks before the layer compute the same for all of them.
        with replaced_stream(model, layer, is_replaced_bp, changes, blocks_name):
            logits = model(input_ids=ids_bp.repeat(len(changes), 1)).logits
        is_followed_t = next_t >= 0
        log_probs = [part[is_replaced_bp].float().log_softmax(-1) for part in logits.chunk(len(changes))]
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


def _batches(texts: Sequence[np.ndarray], logits_per_position: int) -> Iterator[list[np.ndarray]]:
    """Yield batches of texts of similar length, which need little padding; `LOGITS_AT_ONCE` limits their size."""
    batch: list[np.ndarray] = []
    for text in sorted(texts, key=len):
        if batch and (len(batch) + 1) * len(text) * logits_per_position > LOGITS_AT_ONCE:
            yield batch
            batch = []
        batch.append(text)
    if batch:
        yield batch


def _padded(texts: Sequence[np.ndarray], last_only: bool, device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    """Return ids padded on the right, the mask of replaced positions [b, p], and the next token of each (-1 if none).

    Real positions of a causal model do not attend to the padding.
    """
    ids_bp = padded_ids(texts)
    positions_p, length_b1 = torch.arange(ids_bp.shape[1]), torch.tensor([[len(text)] for text in texts])
    is_replaced_bp = (positions_p >= (length_b1 - 1 if last_only else 1)) & (positions_p < length_b1)
    next_bp = torch.where(positions_p < length_b1 - 1, ids_bp.roll(-1, 1), -1)
    return ids_bp.to(device), is_replaced_bp.to(device), next_bp[is_replaced_bp].to(device)


def replaced_stream(
    model: PreTrainedModel,
    layer: int,
    is_replaced_bp: Tensor,
    changes: Sequence[Callable[[Tensor], Tensor]],
    blocks_name: str | None = None,
) -> AbstractContextManager[None]:
    """Replace a layer's activations at some positions, in each forward pass.

    Args:
        model: a decoder; its input must be the same texts once for every change, in order.
        layer: block index from 0; -1 is the input of the first block.
        is_replaced_bp: bool; positions to replace in each text.
        changes: functions from the activations at these positions [t, d] to their replacements.
        blocks_name: module path of the list of blocks; by default it is found.
    """

    def replaced(stream_bpd: Tensor) -> Tensor:
        stream_bpd = stream_bpd.clone()
        for change, part_bpd in zip(changes, stream_bpd.chunk(len(changes)), strict=True):
            part_bpd[is_replaced_bp] = change(part_bpd[is_replaced_bp])
        return stream_bpd

    return changed_stream(model, {layer: replaced}, blocks_name)
