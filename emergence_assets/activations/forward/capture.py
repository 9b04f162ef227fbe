"""Capture the residual stream of all requested layers, with one forward pass per batch of texts.

The rows are defined in `tokens.py`; the caller decides where they are written.

Shape suffixes: b texts of a batch · t positions or rows · d d_model.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from transformers import PreTrainedModel

from emergence_assets.checkpoints.models.blocks import blocks, context_limit, stream_width, vocabulary_size
from emergence_assets.checkpoints.models.stream import model_name, residual_stream, run_up_to
from emergence_assets.texts.tokens import Tokens
from resources.errors import EmergenceError

Append = Callable[[int, str, np.ndarray], None]
"""Function that takes the next rows [any number, d_model] of resid_post, read_out or read_out_mean of a layer, in the
stored data type."""
Picks = Mapping[str, Callable[[Tensor, Tensor], Tensor]]
"""Name of a row dataset to the function that picks its rows from the stream [b, t, d] and the tokens per text [b]."""
STAGED_BYTES = 256 << 20
"""Bytes of rows, over all layers, that are held to be put in order: batches are sorted by length, files are not."""


def capture_checkpoint(
    model: PreTrainedModel,
    tokens: Tokens,
    layers: Sequence[int],
    append: Append,
    dtype: str = "float16",
    batch_size: int = 32,
    device: str | torch.device = "cpu",
    report: Callable[[int, int, str], None] = lambda done, total, note: None,
    *,
    blocks_name: str | None = None,
    staged_bytes: int = STAGED_BYTES,
    training_texts: Sequence[int] | None = None,
    with_probes: bool = True,
) -> None:
    """Capture all rows of all layers and append them in the order of tokens.h5.

    Texts are padded on the right, see `run_up_to`. If a batch exceeds the memory of the device, the batch size is
    halved for the rest of the run.

    Args:
        model: In evaluation mode, on `device`; its head is not run.
        tokens: Training texts become resid_post, probe texts read_out and read_out_mean.
        layers: Block indexes from 0; -1 is the embedding.
        append: Called with the rows.
        dtype: float16, bfloat16 or float32; bfloat16 is passed as bits.
        batch_size: Texts per forward pass; changes results by rounding only.
        device: Device of the model.
        report: Called with texts done, all texts, and a note.
        blocks_name: Module path of the list of blocks; by default it is found.
        staged_bytes: See `STAGED_BYTES`; with more bytes, more texts are sorted by length together.
        training_texts: Indexes of the training texts to run, in this order; by default all.
        with_probes: Whether the probe texts are run.

    Raises:
        EmergenceError: The model has no such layer, a smaller vocabulary or a shorter context than the tokens; its
            values are not finite or overflow `dtype`; or the device does not hold even one text.
        ValueError: The model is in training mode.
    """
    if model.training:
        raise ValueError("the model is in training mode: dropout would make the activations random")
    training_ids = tokens.training_ids
    if training_texts is not None:
        training_ids = tuple(training_ids[text] for text in training_texts)
    probe_ids = tokens.probe_ids if with_probes else ()
    _require_fit(model, (*training_ids, *probe_ids))
    n_training, n_texts = len(training_ids), len(training_ids) + len(probe_ids)
    # As if all layers were captured: the rounding of a row may depend on the texts beside it, and evicted rows of one
    # layer have to come back bit for bit.
    n_layers = max(len(blocks(model, blocks_name)), len(layers))
    max_rows = max(1, staged_bytes // (n_layers * stream_width(model) * getattr(torch, dtype).itemsize))
    batch = _Batch(model, torch.device(device), batch_size, layers, append, dtype, blocks_name)
    with residual_stream(model, layers, blocks_name) as resid, torch.inference_mode():
        every_position = tokens.positions == "all"
        n_rows = [len(ids) - 1 if every_position else 1 for ids in training_ids]
        training_picks: Picks = {"resid_post": _after_first if every_position else _last}
        probe_picks: Picks = {"read_out": _last, "read_out_mean": _mean_after_first}
        for start, stop in _groups(n_rows, max_rows):
            for n_done in batch.run(resid, training_ids[start:stop], training_picks):
                report(start + n_done, n_texts, "training texts")
        for start, stop in _groups([len(probe_picks)] * len(probe_ids), max_rows):
            for n_done in batch.run(resid, probe_ids[start:stop], probe_picks):
                report(n_training + start + n_done, n_texts, "probe texts")


@dataclass
class _Batch:
    """Settings shared by all groups of texts, and the batch size, which may shrink."""

    model: PreTrainedModel
    device: torch.device
    batch_size: int
    layers: Sequence[int]
    append: Append
    dtype: str
    blocks_name: str | None

    def run(self, resid: Mapping[int, Tensor], texts: Sequence[np.ndarray], picks: Picks) -> Iterator[int]:
        """Run texts in batches of similar length, put the picked rows back in order, and append them.

        Yields:
            Number of texts done, after each batch.
        """
        n_tokens = np.array([len(ids) for ids in texts])
        # Longest first: memory peaks in the first batch.
        by_length = np.argsort(-n_tokens, kind="stable")
        n_rows = {
            name: n_tokens - 1 if pick is _after_first else np.ones_like(n_tokens) for name, pick in picks.items()
        }
        first_row = {name: np.cumsum(each) - each for name, each in n_rows.items()}
        # In one block each: rows that stay between the temporaries of the forward passes would fragment the memory, up
        # to several times its size.
        ordered: dict[tuple[int, str], np.ndarray] = {}
        start = 0
        while start < len(texts):
            chosen = by_length[start : start + self.batch_size]
            picked, too_large = [], None
            try:
                n_tokens_b = self._forward([texts[text] for text in chosen], n_tokens[chosen])
                picked = [
                    (layer, name, self._stored(pick(resid[layer], n_tokens_b), layer))
                    for layer in self.layers
                    for name, pick in picks.items()
                ]
            except torch.OutOfMemoryError as error:
                too_large = error.with_traceback(None)  # whose frames would keep the tensors that filled the memory
            if too_large:
                self._shrink(len(chosen), too_large)
                continue
            for layer, name, stored_td in picked:
                if (layer, name) not in ordered:
                    ordered[layer, name] = np.empty((int(n_rows[name].sum()), stored_td.shape[1]), stored_td.dtype)
                ordered[layer, name][_places(first_row[name][chosen], n_rows[name][chosen])] = stored_td
            start += len(chosen)
            if start < len(texts):
                yield start
        for (layer, name), rows_td in ordered.items():
            self.append(layer, name, rows_td)
        yield len(texts)

    def _forward(self, texts: Sequence[np.ndarray], n_tokens: np.ndarray) -> Tensor:
        """Run a batch up to the last layer, while hooks record the layers; returns the tokens per text, [b]."""
        ids_bt = padded_ids(texts).to(self.device)
        n_tokens_b = torch.from_numpy(n_tokens).to(self.device)
        run_up_to(self.model, max(self.layers), ids_bt, n_tokens_b, self.blocks_name)
        return n_tokens_b

    def _shrink(self, n_texts: int, error: torch.OutOfMemoryError) -> None:
        if n_texts == 1:
            raise EmergenceError(
                f"The memory of {self.device} does not hold the forward pass of one text of {model_name(self.model)}.",
                where=model_name(self.model),
                remedy="Lower the context of the study, or run it on a larger device or on the CPU.",
            ) from error
        self.batch_size = max(1, n_texts // 2)
        if self.device.type == "cuda":
            torch.cuda.empty_cache()

    def _stored(self, rows_td: Tensor, layer: int) -> np.ndarray:
        cast_td = rows_td.to(getattr(torch, self.dtype))
        # NaN and infinity show in minimum or maximum: ten times faster than a test of every value.
        if not bool(torch.isfinite(torch.stack(torch.aminmax(cast_td))).all()):
            overflow = bool(torch.isfinite(rows_td).all())
            raise EmergenceError(
                f"The residual stream after layer {layer} of {model_name(self.model)} "
                + (f"overflows {self.dtype}." if overflow else "holds NaN or infinity."),
                where=model_name(self.model),
                remedy="Store activations as bfloat16 or float32."
                if overflow
                else "The checkpoint is damaged, or its dtype too narrow: fetch it again, or run the model in float32.",
            )
        # numpy has no bfloat16: its bits are passed as uint16.
        return (cast_td.view(torch.uint16) if self.dtype == "bfloat16" else cast_td).cpu().numpy()


def padded_ids(texts: Sequence[np.ndarray]) -> Tensor:
    """Return token ids of texts, int64, padded on the right with 0."""
    return pad_sequence([torch.from_numpy(ids.astype(np.int64)) for ids in texts], batch_first=True)


def _places(first: np.ndarray, n_rows: np.ndarray) -> np.ndarray:
    """Return the row numbers of texts that begin at `first`: first, first + 1 … for each."""
    ends = np.cumsum(n_rows)
    return np.repeat(first - (ends - n_rows), n_rows) + np.arange(ends[-1])


def _groups(n_rows: Sequence[int], max_rows: int) -> Iterator[tuple[int, int]]:
    """Yield first and end of neighbouring texts with at most `max_rows` rows together."""
    if not n_rows:
        return
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
    # By index: selection by a mask takes several times as long.
    chosen_t = _is_after_first(resid_btd, n_tokens_b).flatten().nonzero().squeeze(1)
    return resid_btd.flatten(0, 1).index_select(0, chosen_t)


def _last(resid_btd: Tensor, n_tokens_b: Tensor) -> Tensor:
    return resid_btd[torch.arange(len(resid_btd), device=resid_btd.device), n_tokens_b - 1]


def _mean_after_first(resid_btd: Tensor, n_tokens_b: Tensor) -> Tensor:
    left_out = ~_is_after_first(resid_btd, n_tokens_b)[:, :, None]
    # Filled, not multiplied: the first token may be infinite in a narrow dtype, and infinity times zero is NaN.
    return resid_btd.float().masked_fill(left_out, 0).sum(dim=1) / (n_tokens_b - 1)[:, None]


def _require_fit(model: PreTrainedModel, texts: Sequence[np.ndarray]) -> None:
    if not texts:
        return
    largest, longest = max(int(ids.max()) for ids in texts), max(len(ids) for ids in texts)
    n_known = vocabulary_size(model)
    if largest >= n_known or min(int(ids.min()) for ids in texts) < 0:
        raise EmergenceError(
            f"Token id {largest} is outside of the model's vocabulary of {n_known}.",
            where=model_name(model),
            remedy="Tokenise with the tokenizer of this model's family.",
        )
    limit = context_limit(model)
    if limit is not None and longest > limit:
        raise EmergenceError(
            f"A text has {longest} tokens, the model's context is {limit}.",
            where=model_name(model),
            remedy="Lower the context of the study.",
        )
