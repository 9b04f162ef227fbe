"""Batches of texts of equal length, which need neither padding nor masks.

For passes over few texts that need only read-outs. `capture.py` pads instead, because grouping a whole corpus by exact
length makes many batches of few texts.

Shape suffixes: p texts, b texts of a batch, t positions, d d_model.
"""

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from transformers import PreTrainedModel

from emergence_assets.checkpoints.models.blocks import stream_width
from emergence_assets.checkpoints.models.stream import residual_stream, run_texts


def batches_of_one_length(
    texts: Sequence[np.ndarray], batch_size: int, device: torch.device | str
) -> Iterator[tuple[NDArray[np.intp], Tensor]]:
    """Yield indexes of texts and their token ids [b, t], longest first, so that memory peaks in the first batch."""
    n_tokens = np.array([len(text) for text in texts])
    for length in np.unique(n_tokens)[::-1]:
        alike = np.flatnonzero(n_tokens == length)
        for start in range(0, len(alike), batch_size):
            chosen = alike[start : start + batch_size]
            ids_bt = torch.from_numpy(np.stack([texts[text] for text in chosen]).astype(np.int64))
            yield chosen, ids_bt.to(device)


@torch.inference_mode()
def text_read_outs(
    model: PreTrainedModel,
    texts: Sequence[np.ndarray],
    layers: Sequence[int],
    batch_size: int,
    device: torch.device | str,
    blocks_name: str | None = None,
) -> dict[int, Tensor]:
    """Compute the residual stream at the last token of every text: layer → [p, d] float32, on the device."""
    found = {layer: torch.empty(len(texts), stream_width(model), device=device) for layer in layers}
    with residual_stream(model, layers, blocks_name) as stream:
        for chosen, ids_bt in batches_of_one_length(texts, batch_size, device):
            run_texts(model, ids_bt)
            rows = torch.from_numpy(chosen).to(device)
            for layer in layers:
                found[layer][rows] = stream[layer][:, -1].float()
    return found
