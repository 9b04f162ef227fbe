"""Rows on which the SAEs of a layer are trained and measured: from the disk, from memory, or computed slab by slab."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from emergence_assets.activations.files.batches import ShuffledRows, Source
from emergence_assets.activations.files.layout import ActivationSpec
from emergence_assets.activations.files.reading import Rows, open_rows, read_spec
from emergence_assets.activations.files.row_order import SLAB_BYTES
from emergence_assets.activations.files.storage_state import require_same_rows
from emergence_assets.activations.forward.row_stream import RowStream
from emergence_assets.activations.forward.worker import LoadedCheckpoint, capture_in_memory, loaded_checkpoint
from emergence_assets.saes.held_out import held_out_texts, is_held_out, training_texts
from emergence_assets.saes.training.batches import SAEJob, WarmStart
from emergence_assets.texts.tokens import Tokens, known_tokens
from resources.compute.workers import memory_share
from resources.errors import EmergenceError

MASSIVE_RULE = "norm_10x_median_v1"
MASSIVE_FACTOR = 10.0
"""A row has massive activations if its L2 norm is more than this multiple of the median norm of the rows of its layer:
by rule `MASSIVE_RULE`. Such rows (arXiv 2402.17762) are few, of the same tokens, and hold most of the squared error."""


@dataclass(frozen=True, eq=False)
class LayerRows:
    """Rows of one layer of a checkpoint."""

    layer: int
    training: Source
    """Rows, of which `kept_t` are trained on; computed rows are all trained on."""
    held_out: Rows
    """Rows on which SAEs are measured."""
    kept_t: np.ndarray | None = None
    """Mask of the rows to train on, bool; None for all."""
    text_starts: np.ndarray | None = None
    """First row of every text among the rows that are trained on."""
    mixing_rows: int | None = None
    """Rows that are shuffled together; see `SAESettings.mixing_rows`."""
    norm_limit: float | None = None
    """Largest L2 norm of a row; larger rows are left out."""
    massive_share: float = 0.0
    """Share of the rows of the first slab that are left out for their norm."""
    loaded: LoadedCheckpoint | None = None
    """The checkpoint, while it is in memory because its rows are computed."""

    def job(self, seed: int, warm_start: WarmStart | None = None) -> SAEJob:
        """Return the data of one SAE."""
        return SAEJob(self.training, seed, self.kept_t, warm_start, self.text_starts, self.norm_limit, self.mixing_rows)

    def without_massive(self) -> "LayerRows":
        """Leave out rows with massive activations by the rule `MASSIVE_RULE`, from training and from held-out rows.

        The rows of the first slab give the median.
        """
        norms_t = torch.cat([torch.linalg.vector_norm(part.float(), dim=1).cpu() for part in self._parts()])
        limit = MASSIVE_FACTOR * float(norms_t.median())
        is_massive_t = torch.linalg.vector_norm(self.held_out.tensor().float(), dim=1).numpy() > limit
        kept = self.held_out if is_massive_t.all() else Rows(self.held_out.array[~is_massive_t], self.held_out.dtype)
        share = float((norms_t > limit).float().mean())
        return replace(self, norm_limit=limit, massive_share=share, held_out=kept)

    def first_slab(self, n_rows: int | None = None) -> np.ndarray:
        """Return at most `n_rows` training rows, evenly spaced in the first slab: [rows, d_model], float32."""
        total = sum(map(len, self._parts()))
        step = 1 if n_rows is None else max(1, -(-total // n_rows))
        parts, passed = [], 0
        for part_td in self._parts():
            parts.append(part_td[-passed % step :: step].cpu().float().numpy())
            passed += len(part_td)
        return np.concatenate(parts)

    def _parts(self) -> Iterator[Tensor]:
        shuffled = ShuffledRows(
            self.training,
            1,
            0,
            kept_t=self.kept_t,
            slab_bytes=slab_bytes_of(self.mixing_rows, self.training),
            text_starts=self.text_starts,
            norm_limit=self.norm_limit,
        )
        return shuffled.first_slab()


def rows_of_layer(layer: int, rows: Rows, tokens: Tokens, mixing_rows: int | None = None) -> LayerRows:
    """Split rows of all training texts into rows to train on and held-out rows."""
    is_held_out_t = is_held_out(tokens)
    n_rows = np.diff(tokens.training_rows.text_offsets)[training_texts(tokens)]
    starts = np.concatenate([[0], np.cumsum(n_rows)[:-1]])
    return LayerRows(layer, rows, Rows(rows.array[is_held_out_t], rows.dtype), ~is_held_out_t, starts, mixing_rows)


def stacks(
    origin: Mapping[str, Any],
    files: Mapping[int, Path],
    mixing_rows: int | None,
    report: Any,
    at_once: int | None = None,
) -> Iterator[list[LayerRows]]:
    """Yield the rows of layers that are trained together: stored rows at once, others with as few passes as possible.

    Layers whose rows are not on the disk are computed: all rows at once if they are shuffled as a whole, else slab by
    slab. As many layers as memory holds are computed with one forward pass.

    Args:
        origin: See `activations.spec.capture_arguments`.
        files: Activation file by layer.
        mixing_rows: See `SAESettings.mixing_rows`.
        report: Called with texts done, all texts, and a note.
        at_once: Maximum number of layers that are trained together; see `stack_size.py`.

    Raises:
        EmergenceError: A file is damaged, memory does not hold one layer, or the rows of a file were others.
    """
    stored = [layer for layer, path in files.items() if read_spec(path).storage_state == "stored"]
    computed = [layer for layer in files if layer not in stored]
    if stored:
        tokens = known_tokens(Path(origin["tokens_file"]))
        for start in range(0, len(stored), at_once or len(stored)):
            together = stored[start : start + (at_once or len(stored))]
            rows = {layer: open_rows(files[layer], "resid_post", verify=True) for layer in together}
            yield [rows_of_layer(layer, one, tokens, mixing_rows) for layer, one in rows.items()]
    if not computed:
        return
    with loaded_checkpoint(origin, report) as loaded:
        spec = loaded.spec("stored")
        n_held = row_memory(loaded.tokens, spec, mixing_rows)
        budget = memory_share()
        if n_held > budget:
            raise EmergenceError(
                f"The rows of one layer take {n_held} bytes of memory, and this worker may use {budget}.",
                where=f"{loaded.ref.model} step {loaded.ref.step}",
                remedy="lower sae.mixing_rows, set EMERGENCE_WORKERS to fewer workers, or keep the rows on the disk "
                "with activations.retention",
            )
        n_together = min(budget // n_held, at_once or len(computed))
        for start in range(0, len(computed), n_together):
            together = computed[start : start + n_together]
            if is_shuffled_as_a_whole(loaded.tokens, spec, mixing_rows):
                yield _in_memory(loaded, together, files, mixing_rows, report)
            else:
                yield _streamed(loaded, together, mixing_rows, report)


def is_shuffled_as_a_whole(tokens: Tokens, spec: ActivationSpec, mixing_rows: int | None) -> bool:
    """Return whether all training rows fit into one slab, so that they are computed once, whatever the epochs."""
    n_rows = np.diff(tokens.training_rows.text_offsets)[training_texts(tokens)].sum()
    return int(n_rows) <= (mixing_rows or SLAB_BYTES // spec.row_bytes)


def row_memory(tokens: Tokens, spec: ActivationSpec, mixing_rows: int | None) -> int:
    """Return the bytes that one layer of a stack holds in memory while it is computed: a slab, and held-out rows."""
    n_held_out = int(np.diff(tokens.training_rows.text_offsets)[held_out_texts(tokens)].sum())
    as_a_whole = is_shuffled_as_a_whole(tokens, spec, mixing_rows)
    n_mixed = spec.n_rows if as_a_whole else mixing_rows or SLAB_BYTES // spec.row_bytes
    return (n_held_out + n_mixed) * spec.row_bytes


def slab_bytes_of(mixing_rows: int | None, source: Source) -> int:
    """Return the bytes of a slab of these rows; computed rows have their own."""
    if mixing_rows is None or not isinstance(source, Rows):
        return SLAB_BYTES
    return mixing_rows * source.row_bytes


def _in_memory(
    loaded: LoadedCheckpoint, layers: Sequence[int], files: Mapping[int, Path], mixing_rows: int | None, report: Any
) -> list[LayerRows]:
    captured = capture_in_memory(loaded, layers, report)
    for layer, rows in captured.items():
        if read_spec(files[layer]).storage_state == "evicted":
            require_same_rows(files[layer], rows)
    split = [rows_of_layer(layer, rows, loaded.tokens, mixing_rows) for layer, rows in captured.items()]
    return [replace(one, loaded=loaded) for one in split]


def _streamed(loaded: LoadedCheckpoint, layers: Sequence[int], mixing_rows: int | None, report: Any) -> list[LayerRows]:
    tokens, spec = loaded.tokens, loaded.spec("stored")
    texts = training_texts(tokens)

    def compute(chosen: Sequence[int], append: Any) -> None:
        loaded.capture(
            layers,
            lambda layer, _name, rows_td: append(layer, rows_td),
            lambda *_: None,
            with_probes=False,
            training_texts=chosen,
        )

    held_out = capture_in_memory(loaded, layers, report, held_out_texts(tokens).tolist())
    stream = RowStream(
        layers,
        texts,
        np.diff(tokens.training_rows.text_offsets)[texts],
        spec.d_model,
        spec.dtype,
        (mixing_rows or SLAB_BYTES // spec.row_bytes) * spec.row_bytes,
        compute,
    )
    return [LayerRows(layer, stream.of_layer(layer), held_out[layer], loaded=loaded) for layer in layers]
