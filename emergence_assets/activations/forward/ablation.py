"""Read-outs of texts after a change of the residual stream at the read-out token, at any layer.

A change at the last token of a causal model reaches no earlier position. All other tokens are therefore run once, and
their keys and values are reused for every change: a changed text costs one token instead of all. Changes after
different layers share one pass.

Shape suffixes: b texts of a batch, t positions, r changed texts, d d_model.
"""

import copy
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor
from transformers import DynamicCache, PreTrainedModel

from emergence_assets.checkpoints.models.blocks import blocks
from emergence_assets.checkpoints.models.loading import is_causal
from emergence_assets.checkpoints.models.stream import changed_stream, residual_stream, run_texts
from emergence_assets.checkpoints.models.support import FAILURES, is_same
from resources.errors import EmergenceError


class Changes(NamedTuple):
    """Changes of the residual stream: added vectors, each with its text and block."""

    text_r: Tensor
    """Position of the text in its batch, int64."""
    layer_r: Tensor
    """Block index from 0, int64."""
    added_rd: Tensor
    """Vectors added to the outputs of these blocks."""


@dataclass(frozen=True, eq=False)
class Prefix:
    """Texts of one length, run up to their last token."""

    model: PreTrainedModel
    cache: DynamicCache
    """Keys and values of all tokens but the last."""
    last_b1: Tensor
    """Token id of the last token."""
    blocks_name: str | None = None


def run_prefix(model: PreTrainedModel, ids_bt: Tensor, blocks_name: str | None = None) -> Prefix:
    """Run texts up to their last token.

    Args:
        model: causal, in evaluation mode; its head is not run.
        ids_bt: token ids of texts of one length, at least two, on the model's device.
        blocks_name: module path of the list of blocks; by default it is found.

    Raises:
        EmergenceError: positions of this model attend to later ones, so that no token can be run beforehand.
    """
    if not is_causal(model):
        raise EmergenceError(
            f"{type(model).__name__} is not a causal model: a change at its last token reaches every other token.",
            remedy="changes are run through causal models only",
        )
    cache = DynamicCache(config=model.config)
    with torch.inference_mode():
        model.base_model(input_ids=ids_bt[:, :-1], past_key_values=cache, use_cache=True)
    return Prefix(model, cache, ids_bt[:, -1:], blocks_name)


def reuses_prefix(model: PreTrainedModel, ids_bt: Tensor, blocks_name: str | None = None) -> bool:
    """Return whether the last token alone, after a prefix, gives the residual stream of the whole text.

    It does where every block keeps keys and values. Recurrent blocks may keep a state that each pass changes.

    Args:
        model: in evaluation mode.
        ids_bt: token ids of at least two texts of one length, at least three, on the model's device.
        blocks_name: module path of the list of blocks; by default it is found.
    """
    if not is_causal(model):
        return False
    last = len(blocks(model, blocks_name)) - 1
    with residual_stream(model, (last,), blocks_name) as stream, torch.inference_mode():
        run_texts(model, ids_bt)
        whole_bd = stream[last][:, -1]
    try:
        prefix = run_prefix(model, ids_bt, blocks_name)
        both = [read_outs(prefix, (last,))[last] for _ in range(2)]
    except torch.OutOfMemoryError:
        raise  # not an error of the architecture
    except FAILURES:
        return False
    return all(is_same(found_bd, whole_bd) for found_bd in both)


def read_outs(prefix: Prefix, layers: Sequence[int]) -> dict[int, Tensor]:
    """Return the unchanged residual stream at the last token: layer → [texts, d_model]; the caller's hooks are run."""
    return _last_token(prefix, torch.arange(len(prefix.last_b1), device=prefix.last_b1.device), layers)


def changed_read_outs(
    prefix: Prefix, changes: Changes, layers: Sequence[int], rows_at_once: int = 256
) -> dict[int, Tensor]:
    """Return the residual stream at the last token after changes: layer → [changes, d_model].

    Args:
        prefix: the texts.
        changes: any number of changes; a text may have several.
        layers: layers to return; a changed layer is returned with its change.
        rows_at_once: changes per forward pass; each takes the memory for keys and values of a text.
    """
    parts: dict[int, list[Tensor]] = {layer: [] for layer in layers}
    for start in range(0, len(changes.text_r), rows_at_once):
        part = Changes(*(column[start : start + rows_at_once] for column in changes))
        with _added(prefix, part):
            found = _last_token(prefix, part.text_r, layers)
        for layer in layers:
            parts[layer].append(found[layer])
    nothing_rd = changes.added_rd[:0]
    return {layer: torch.cat(found) if found else nothing_rd for layer, found in parts.items()}


def _last_token(prefix: Prefix, text_r: Tensor, layers: Sequence[int]) -> dict[int, Tensor]:
    model: Any = prefix.model
    # The pass appends the last token's keys and values to this copy; tensors are replaced, not written.
    cache = copy.copy(prefix.cache)
    cache.layers = [copy.copy(layer) for layer in prefix.cache.layers]
    cache.batch_select_indices(text_r)
    with residual_stream(model, layers, prefix.blocks_name) as stream, torch.inference_mode():
        model.base_model(input_ids=prefix.last_b1[text_r], past_key_values=cache, use_cache=True)
        return {layer: stream[layer][:, -1] for layer in layers}


def _added(prefix: Prefix, changes: Changes) -> AbstractContextManager[None]:
    """Add the changes to the outputs of their blocks while the context lasts."""

    def add_to(rows_r: Tensor) -> Callable[[Tensor], Tensor]:
        def add(stream_rtd: Tensor) -> Tensor:
            stream_rtd = stream_rtd.clone()
            stream_rtd[rows_r, -1] += changes.added_rd[rows_r].to(stream_rtd.dtype)
            return stream_rtd

        return add

    layers = changes.layer_r.unique().tolist()
    added = {layer: add_to(torch.nonzero(changes.layer_r == layer).squeeze(1)) for layer in layers}
    return changed_stream(prefix.model, added, prefix.blocks_name)
