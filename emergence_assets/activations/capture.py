"""One forward pass per batch of texts: the residual stream of all requested layers at once, written row by row.

Belongs here: hooks, batching and the order of rows. Which rows there are is in `tokens.py`, the file in `store.py`.

Shape suffixes: b texts of a batch · t positions or rows · d d_model.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from emergence_assets.activations.store import ActivationWriter
from emergence_assets.activations.tokens import Tokens
from emergence_assets.checkpoints.loading import blocks, is_causal
from emergence_assets.errors import EmergenceError

EMBEDDING = -1
STAGED_BYTES = 256 << 20
"""Rows that wait in memory for their turn, over all layers: batches are sorted by length, files are not."""


@contextmanager
def residual_stream(
    model: PreTrainedModel, layers: Sequence[int], blocks_name: str | None = None
) -> Iterator[dict[int, Tensor]]:
    """Keep what the layers give at each forward pass; the hooks are removed at the end whatever happens.

    Hooks and not `output_hidden_states`, whose last entry is taken after the final layer norm.

    Args:
        model: A decoder or encoder.
        layers: Block indexes from 0; -1 is the embedding, that is, what enters the first block.
        blocks_name: Module path of the list of blocks; by default it is found.

    Yields:
        Layer → tensor [texts, positions, d_model] of the latest forward pass.

    Raises:
        EmergenceError: The model has no such layer.
    """
    block_list = blocks(model, blocks_name)
    if absent := [layer for layer in layers if not EMBEDDING <= layer < len(block_list)]:
        raise EmergenceError(
            f"The model has no layer {absent[0]}: its layers are 0 to {len(block_list) - 1}, and -1 is the embedding.",
            where=_name(model),
            remedy="Correct the layers of the study.",
        )
    kept: dict[int, Tensor] = {}

    def keep_input(_module: nn.Module, args: tuple, kwargs: dict) -> None:
        kept[EMBEDDING] = args[0] if args else kwargs["hidden_states"]

    def keep_output(layer: int) -> Callable[[nn.Module, tuple, Tensor | tuple], None]:
        def keep(_module: nn.Module, _args: tuple, output: Tensor | tuple) -> None:
            kept[layer] = output[0] if isinstance(output, tuple) else output

        return keep

    handles = []
    try:
        for layer in layers:
            if layer == EMBEDDING:
                handles.append(block_list[0].register_forward_pre_hook(keep_input, with_kwargs=True))
            else:
                handles.append(block_list[layer].register_forward_hook(keep_output(layer)))
        yield kept
    finally:
        for handle in handles:
            handle.remove()
        kept.clear()


def capture_checkpoint(
    model: PreTrainedModel,
    tokens: Tokens,
    layers: Sequence[int],
    writers: Mapping[int, ActivationWriter],
    batch_size: int = 32,
    device: str | torch.device = "cpu",
    report: Callable[[int, int, str], None] = lambda done, total, note: None,
    *,
    blocks_name: str | None = None,
    staged_bytes: int = STAGED_BYTES,
) -> None:
    """Append all rows of all layers to the writers, in the order of tokens.h5. The caller commits the writers.

    Texts are padded on the right. A causal model is run without a mask, since no real position sees the padding; an
    encoder's positions see all others, so that it is told which are real.

    Args:
        model: In evaluation mode, on `device`; its head is not run.
        tokens: Training texts become /resid_post, probe texts /read_out and /read_out_mean.
        layers: Block indexes from 0; -1 is the embedding.
        writers: One per layer, fresh, made for the shapes of `tokens`.
        batch_size: Texts per forward pass; changes results by rounding only.
        device: Where the model is.
        report: Called with texts done, all texts, and a note.
        blocks_name: Module path of the list of blocks; by default it is found.
        staged_bytes: See `STAGED_BYTES`; more lets more texts be sorted by length.

    Raises:
        EmergenceError: The model has no such layer, a smaller vocabulary or a shorter context than the tokens, or gives
            values that are not finite (or overflow the dtype of the file).
        ValueError: The model is in training mode, or layers and writers differ.
    """
    if model.training:
        raise ValueError("the model is in training mode: dropout would make the activations random")
    if set(layers) != set(writers):
        raise ValueError(f"layers {sorted(layers)} need one writer each, got {sorted(writers)}")
    _require_fit(model, tokens)
    n_texts, n_training = len(tokens.training_ids) + tokens.n_probes, len(tokens.training_ids)
    row_bytes = max(1, sum(2 * writer.spec.d_model * 4 for writer in writers.values()))
    max_rows = max(1, staged_bytes // row_bytes)
    batch = _Batch(model, torch.device(device), batch_size, writers, is_causal(model))
    with residual_stream(model, layers, blocks_name) as resid, torch.inference_mode():
        every_position = tokens.positions == "all"
        n_rows = [len(ids) - 1 if every_position else 1 for ids in tokens.training_ids]
        for start, stop in _groups(n_rows, max_rows):
            batch.run(resid, tokens.training_ids[start:stop], {"resid_post": _after_first if every_position else _last})
            report(stop, n_texts, "training texts")
        for start, stop in _groups([1] * tokens.n_probes, max_rows):
            batch.run(resid, tokens.probe_ids[start:stop], {"read_out": _last, "read_out_mean": _mean_after_first})
            report(n_training + stop, n_texts, "probe texts")


class _Batch(NamedTuple):
    """What stays the same from one group of texts to the next."""

    model: PreTrainedModel
    device: torch.device
    batch_size: int
    writers: Mapping[int, ActivationWriter]
    causal: bool

    def run(
        self,
        resid: Mapping[int, Tensor],
        texts: Sequence[np.ndarray],
        picks: Mapping[str, Callable[[Tensor, Tensor], Tensor]],
    ) -> None:
        """Run texts in batches of similar length, put the picked rows back in order, and append them."""
        n_tokens = np.array([len(ids) for ids in texts])
        # Longest first: memory peaks at once and not after an hour.
        by_length = np.argsort(-n_tokens, kind="stable")
        staged: dict[tuple[int, str], list[np.ndarray]] = {
            (layer, name): [np.empty(0)] * len(texts) for layer in self.writers for name in picks
        }
        for start in range(0, len(texts), self.batch_size):
            chosen = by_length[start : start + self.batch_size]
            ids_bt = np.zeros((len(chosen), n_tokens[chosen].max()), np.int64)
            for row, text in enumerate(chosen):
                ids_bt[row, : n_tokens[text]] = texts[text]
            n_tokens_b = torch.from_numpy(n_tokens[chosen]).to(self.device)
            inputs = {"input_ids": torch.from_numpy(ids_bt).to(self.device)}
            if self.causal:
                self.model.base_model(**inputs, use_cache=False)
            else:
                positions_t = torch.arange(ids_bt.shape[1], device=self.device)
                self.model.base_model(**inputs, attention_mask=(positions_t < n_tokens_b[:, None]).long())
            for layer, writer in self.writers.items():
                for name, pick in picks.items():
                    stored_td = self._stored(pick(resid[layer], n_tokens_b), layer, writer.spec.dtype)
                    per_text = n_tokens[chosen] - 1 if pick is _after_first else np.ones(len(chosen), np.int64)
                    for text, rows in zip(chosen, np.split(stored_td, np.cumsum(per_text)[:-1]), strict=True):
                        staged[layer, name][text] = rows
        for (layer, name), rows in staged.items():
            self.writers[layer].append(name, np.concatenate(rows))

    def _stored(self, rows_td: Tensor, layer: int, dtype: str) -> np.ndarray:
        cast_td = rows_td.to(getattr(torch, dtype))
        if not torch.isfinite(cast_td).all():
            overflow = bool(torch.isfinite(rows_td).all())
            raise EmergenceError(
                f"The residual stream after layer {layer} of {_name(self.model)} "
                + (f"overflows {dtype}." if overflow else "holds NaN or infinity."),
                where=_name(self.model),
                remedy="Store activations as bfloat16 or float32."
                if overflow
                else "The checkpoint is damaged, or its dtype too narrow: fetch it again, or run the model in float32.",
            )
        # numpy has no bfloat16: its bits go through as they are.
        return (cast_td.view(torch.uint16) if dtype == "bfloat16" else cast_td).cpu().numpy()


def _groups(n_rows: Sequence[int], max_rows: int) -> Iterator[tuple[int, int]]:
    start = filled = 0
    for index, n in enumerate(n_rows):
        if filled and filled + n > max_rows:
            yield start, index
            start, filled = index, 0
        filled += n
    yield start, len(n_rows)


def _is_after_first(resid_btd: Tensor, n_tokens_b: Tensor) -> Tensor:
    positions_t = torch.arange(resid_btd.shape[1], device=resid_btd.device)
    return (positions_t > 0) & (positions_t < n_tokens_b[:, None])


def _after_first(resid_btd: Tensor, n_tokens_b: Tensor) -> Tensor:
    return resid_btd[_is_after_first(resid_btd, n_tokens_b)]


def _last(resid_btd: Tensor, n_tokens_b: Tensor) -> Tensor:
    return resid_btd[torch.arange(len(resid_btd), device=resid_btd.device), n_tokens_b - 1]


def _mean_after_first(resid_btd: Tensor, n_tokens_b: Tensor) -> Tensor:
    left_out = ~_is_after_first(resid_btd, n_tokens_b)[:, :, None]
    # Filled and not multiplied: the first token may be infinite in a narrow dtype, and infinity times zero is NaN.
    return resid_btd.float().masked_fill(left_out, 0).sum(dim=1) / (n_tokens_b - 1)[:, None]


def _require_fit(model: PreTrainedModel, tokens: Tokens) -> None:
    texts = (*tokens.training_ids, *tokens.probe_ids)
    largest, longest = max(int(ids.max()) for ids in texts), max(len(ids) for ids in texts)
    if largest >= model.config.vocab_size or min(int(ids.min()) for ids in texts) < 0:
        raise EmergenceError(
            f"Token id {largest} is outside of the model's vocabulary of {model.config.vocab_size}.",
            where=_name(model),
            remedy="Tokenise with the tokenizer of this model's family.",
        )
    limit = getattr(model.config, "max_position_embeddings", None)
    if limit is not None and longest > limit:
        raise EmergenceError(
            f"A text has {longest} tokens, the model's context is {limit}.",
            where=_name(model),
            remedy="Lower the context of the study.",
        )


def _name(model: PreTrainedModel) -> str:
    return str(getattr(model.config, "name_or_path", "") or type(model).__name__)
