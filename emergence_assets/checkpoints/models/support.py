"""Check by short forward passes that the blocks of a model write one residual stream. Imports torch.

Architectures are too many to be known by name, so the definition is checked: every block runs once and in order, its
output [texts, positions, d_model] is the hidden state that transformers reports, padding on the right changes no real
position, and in a language model no position depends on later ones.

Shape suffixes: b texts of a batch · t positions · d d_model.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from emergence_assets.checkpoints.models.blocks import blocks, stream_width, vocabulary_size
from emergence_assets.checkpoints.models.fixed_text import fixed_windows
from emergence_assets.checkpoints.models.loading import LEAVE_OUT, is_causal
from emergence_assets.checkpoints.models.stream import EMBEDDING, residual_stream, run_texts
from resources.errors import BrokenCheckpoint, UnsupportedModel

LENGTHS = (12, 7)
"""Tokens of the two texts."""
SAME = 1e-4
"""Largest difference of equal rows, in units of their largest value; rounding in single precision is below 1e-5."""
FAILURES = (
    *(RuntimeError, IndexError, ValueError, TypeError, AttributeError, KeyError, AssertionError, NotImplementedError),
)
"""Errors that a model raises for an input that it does not take."""


def require_supported(model: PreTrainedModel, tokenizer: Path, blocks_name: str | None = None) -> None:
    """Refuse a model whose residual stream cannot be read or would be another one than is studied.

    Args:
        model: in evaluation mode and single precision.
        tokenizer: path of the model's tokenizer.json.
        blocks_name: module path of the list of blocks; by default it is found.

    Raises:
        UnsupportedModel: names the property that is missing.
        BrokenCheckpoint: the tokenizer does not fit the model, or values are not finite.
        EmergenceError: there is no list with the given name.
    """
    ids_bt = fixed_windows(tokenizer, 2 * LENGTHS[0], vocabulary_size(model), LENGTHS[0])[: len(LENGTHS)]
    ids_bt = ids_bt.to(next(model.parameters()).device)
    try:
        with torch.inference_mode():
            problem = _problem(model, ids_bt, blocks_name)
    except torch.OutOfMemoryError:
        raise  # not an error of the checkpoint
    except FAILURES as error:
        problem = f"cannot be run on tokens alone: {type(error).__name__}: {error}"
    if problem:
        what = f"not supported: {type(model).__name__} {problem}"
        raise UnsupportedModel(what, where=tokenizer.parent, remedy=LEAVE_OUT)


def _problem(model: PreTrainedModel, ids_bt: Tensor, blocks_name: str | None) -> str:
    """Return the property that a model lacks; empty if its residual stream can be studied."""
    block_list, (longer, shorter) = blocks(model, blocks_name), LENGTHS
    last, expected = len(block_list) - 1, (*ids_bt.shape, stream_width(model))
    with residual_stream(model, range(EMBEDDING, last + 1), blocks_name) as stream, _order(block_list) as order:
        output = run_texts(model, ids_bt, output_hidden_states=True)
        if order != list(range(len(block_list))):
            return f"runs its {len(block_list)} blocks in another order than once each: {_shown(order)}"
        if other := [tuple(kept.shape) for kept in stream.values() if kept.shape != expected]:
            return f"has blocks whose output is {_sizes(other[0])}, not [texts, positions, d_model] {_sizes(expected)}"
        if unstable := [layer for layer, kept_btd in sorted(stream.items()) if not bool(kept_btd.isfinite().all())]:
            what = f"the residual stream after layer {unstable[0]} holds NaN or infinity"
            raise BrokenCheckpoint(what, where=model.name_or_path, remedy="replace or leave out this checkpoint")
        if not _are_hidden_states(stream, getattr(output, "hidden_states", None), last):
            return (
                "adds something between its blocks: their outputs are not the hidden states that transformers reports"
            )
        whole_btd = stream[last]
        if is_causal(model):
            changed_bt = ids_bt.clone()
            changed_bt[:, -1] = ids_bt[:, 0]
            run_texts(model, changed_bt)
            if not is_same(stream[last][:, : longer - 1], whole_btd[:, : longer - 1]):
                return "is named a language model, but its positions depend on later ones"
        run_texts(model, ids_bt[1:, :shorter])
        alone_btd = stream[last]
        padded_bt, n_tokens_b = ids_bt.clone(), ids_bt.new_tensor(LENGTHS)
        padded_bt[1, shorter:] = 0
        run_texts(model, padded_bt, n_tokens_b)
        if not is_same(stream[last][1:, :shorter], alone_btd):
            return "reads other values from a text that is padded on the right than from the text alone"
    return ""


@contextmanager
def _order(block_list: nn.ModuleList) -> Iterator[list[int]]:
    """Record the indexes of blocks in the order in which they run."""
    order: list[int] = []

    def keep(layer: int) -> Any:
        return lambda *_: order.append(layer)

    with ExitStack() as hooks:
        for layer, block in enumerate(block_list):
            hooks.callback(block.register_forward_hook(keep(layer)).remove)
        yield order


def _are_hidden_states(stream: Mapping[int, Tensor], reported: Sequence[Tensor] | None, last: int) -> bool:
    """Return whether the outputs of all blocks but the last are reported in this order.

    The output of the last block may be reported after the final norm, and the embedding may be left out.
    """
    if reported is None:
        return True
    return any(
        len(reported) >= start + last
        and all(torch.equal(stream[layer], reported[start + layer]) for layer in range(last))
        for start in (0, 1)
    )


def is_same(one: Tensor, other: Tensor) -> bool:
    """Return whether most rows [..., d_model] are equal but for rounding, which can send single rows to another expert.

    Args:
        one: rows in any precision.
        other: rows of the same shape and precision; half precision has a wider `SAME`.
    """
    largest = other.abs().amax(-1).clamp_min(torch.finfo(other.dtype).tiny)
    most = max(SAME, 16 * torch.finfo(other.dtype).eps)
    return float(((one - other).abs().amax(-1) / largest).float().median()) <= most


def _sizes(shape: Sequence[int]) -> str:
    return f"[{', '.join(map(str, shape))}]"


def _shown(order: Sequence[int]) -> str:
    return ", ".join(map(str, order[:8])) + (" …" if len(order) > 8 else "") if order else "none runs"
