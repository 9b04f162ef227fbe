"""Forward passes in which a layer's activations are replaced, with several replacements in one pass.

Shape suffixes: b texts of a batch, p positions, t replaced positions, d d_model.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from transformers import PreTrainedModel

from emergence_assets.activations.forward.capture import padded_ids
from emergence_assets.checkpoints.models.stream import changed_stream

LOGITS_AT_ONCE = {"cpu": 2**23, "cuda": 2**26}
"""Largest number of logits per batch, over all replacements. On a CPU 32 MB: with 256 MB half of the time goes to page
faults (measured: 93 against 51 s)."""


class Batch(NamedTuple):
    """Texts of similar length, padded on the right; real positions of a causal model do not attend to the padding."""

    ids_bp: Tensor
    """Token ids, int64."""
    is_replaced_bp: Tensor
    """Bool: positions to replace."""
    next_t: Tensor
    """Token that follows each replaced position, -1 if none does."""
    text_b: Tensor
    """Index of each text among all texts."""

    @property
    def text_t(self) -> Tensor:
        """Index of the text of each replaced position, among all texts."""
        return self.text_b[:, None].expand_as(self.ids_bp)[self.is_replaced_bp]


def batches(
    texts: Sequence[np.ndarray], logits_per_position: int, device: torch.device, *, last_only: bool = False
) -> Iterator[Batch]:
    """Yield all texts in batches of similar length, which need little padding; `LOGITS_AT_ONCE` limits their size.

    Args:
        texts: token ids that start with the begin token, which is never replaced.
        logits_per_position: vocabulary size times the number of replacements.
        device: device of the tensors.
        last_only: replace only the last position of a text, else all but the first.
    """
    batch: list[int] = []
    limit = LOGITS_AT_ONCE.get(device.type, LOGITS_AT_ONCE["cuda"])
    for index in sorted(range(len(texts)), key=lambda one: len(texts[one])):
        if batch and (len(batch) + 1) * len(texts[index]) * logits_per_position > limit:
            yield _batch(texts, batch, last_only, device)
            batch = []
        batch.append(index)
    if batch:
        yield _batch(texts, batch, last_only, device)


def _batch(texts: Sequence[np.ndarray], chosen: Sequence[int], last_only: bool, device: torch.device) -> Batch:
    ids_bp = padded_ids([texts[index] for index in chosen])
    positions_p, length_b1 = torch.arange(ids_bp.shape[1]), torch.tensor([[len(texts[index])] for index in chosen])
    is_replaced_bp = (positions_p >= (length_b1 - 1 if last_only else 1)) & (positions_p < length_b1)
    next_bp = torch.where(positions_p < length_b1 - 1, ids_bp.roll(-1, 1), -1)
    tensors = (ids_bp, is_replaced_bp, next_bp[is_replaced_bp], torch.tensor(chosen))
    return Batch(*(one.to(device) for one in tensors))


def replaced_stream(
    model: PreTrainedModel,
    layer: int,
    is_replaced_bp: Tensor,
    n_replacements: int,
    replacements: Callable[[Tensor], Iterable[Tensor]],
    blocks_name: str | None = None,
) -> AbstractContextManager[None]:
    """Replace a layer's activations at some positions, in each forward pass.

    Args:
        model: a decoder; its input must be the same texts once for every replacement, in order.
        layer: block index from 0; -1 is the input of the first block.
        is_replaced_bp: bool; positions to replace in each text.
        n_replacements: number of replacements.
        replacements: function from the activations at these positions [t, d] to their replacements. The blocks before
            the layer compute the same for all of them.
        blocks_name: module path of the list of blocks; by default it is found.
    """

    def replaced(stream_bpd: Tensor) -> Tensor:
        stream_bpd = stream_bpd.clone()
        parts = stream_bpd.chunk(n_replacements)
        for part_bpd, new_td in zip(parts, replacements(parts[0][is_replaced_bp]), strict=True):
            part_bpd[is_replaced_bp] = new_td.to(stream_bpd.dtype)
        return stream_bpd

    return changed_stream(model, {layer: replaced}, blocks_name)
