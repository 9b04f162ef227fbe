"""Logit lens: what a direction of the residual stream adds to the model's output.

nostalgebraist 2020, "interpreting GPT: the logit lens". A direction goes through the final norm and the unembedding, as
if it were the whole stream; what the norm gives for no stream at all is subtracted.

Shape suffixes: n directions, d d_model, v vocabulary.
"""

from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from emergence_assets.checkpoints.models.blocks import blocks, hook_point_name
from emergence_assets.checkpoints.models.stream import residual_stream

TOLERANCE = 1e-2
"""Largest difference of the model's own logits from those of norm and unembedding, of the range of the logits."""


class LogitLens:
    """Final norm and unembedding of a model; made by `logit_lens`."""

    def __init__(self, norm: nn.Module, unembedding: nn.Module):
        self._norm, self._unembedding = norm, unembedding
        weight = next(unembedding.parameters())
        self._dtype, self.device = weight.dtype, weight.device

    @torch.no_grad()
    def logits(self, direction_nd: Tensor) -> Tensor:
        """Return what directions add to the logits [n, v], float32."""
        both = torch.stack([direction_nd, torch.zeros_like(direction_nd)]).to(self._dtype)
        added, nothing = self._unembedding(self._norm(both)).float()
        return added - nothing


@torch.no_grad()
def logit_lens(model: PreTrainedModel, ids_t: Tensor, blocks_name: str | None = None) -> LogitLens | None:
    """Find the final norm and the unembedding of a model, and check them on a text; None where there is no such pair.

    Args:
        model: in evaluation mode.
        ids_t: token ids of a short text, on the model's device.
        blocks_name: module path of the list of blocks; by default it is found.
    """
    unembedding = model.get_output_embeddings()
    if unembedding is None:
        return None
    last = len(blocks(model, blocks_name)) - 1
    with residual_stream(model, [last], blocks_name) as stream:
        output: Any = model(input_ids=ids_t[None])
        resid_td = stream[last][0]
    if getattr(output, "logits", None) is None:
        return None
    logits_tv = output.logits[0].float()
    allowed = TOLERANCE * float(logits_tv.max() - logits_tv.min())
    for norm in _norms_behind_blocks(model, blocks_name):
        try:
            found_tv = unembedding(norm(resid_td)).float()
        except (RuntimeError, TypeError):  # a norm of another width or with more inputs
            continue
        if found_tv.shape == logits_tv.shape and bool((found_tv - logits_tv).abs().max() <= allowed):
            return LogitLens(norm, unembedding)
    return None


def _norms_behind_blocks(model: PreTrainedModel, blocks_name: str | None) -> list[nn.Module]:
    """List the modules that stand beside the list of blocks, and nothing in place of a norm."""
    path = hook_point_name(model, 0, blocks_name).rpartition(".")[0].rpartition(".")[0]
    holder = model.get_submodule(path)
    beside = [module for _, module in holder.named_children() if not isinstance(module, nn.ModuleList | nn.Embedding)]
    return [*beside, nn.Identity()]
