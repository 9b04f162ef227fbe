"""Worker functions that capture the residual streams of a checkpoint into files or into memory."""

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import PreTrainedModel

from emergence_assets.activations.files.background import BackgroundWriter
from emergence_assets.activations.files.layout import STATISTICS_ROWS, ActivationSpec, StorageState
from emergence_assets.activations.files.reading import Rows
from emergence_assets.activations.files.storage_state import evict_rows, restore_rows
from emergence_assets.activations.files.writing import ActivationWriter
from emergence_assets.activations.forward.capture import capture_checkpoint
from emergence_assets.activations.spec import activation_provenance
from emergence_assets.checkpoints.architecture import is_language_model
from emergence_assets.checkpoints.files.folder import architecture_of
from emergence_assets.checkpoints.models.blocks import hook_point_name, stream_width
from emergence_assets.checkpoints.sources.of_family import source_from
from emergence_assets.checkpoints.sources.source import CheckpointRef
from emergence_assets.texts.corpus.identity import corpus_identity
from emergence_assets.texts.probe_set import wordnet_training_texts
from emergence_assets.texts.study_corpus import corpus_documents
from emergence_assets.texts.study_texts import probe_set
from emergence_assets.texts.tokenising import tokenise, tokenise_corpus
from emergence_assets.texts.tokens import Tokens, known_tokens, write_tokens
from resources.compute.accelerator import Accelerator, choose_accelerator
from resources.compute.workers import memory_share
from resources.errors import EmergenceError
from resources.files.atomic import clear_disk_errors
from resources.files.lease import leased
from resources.files.provenance import canonical_json
from resources.files.records import record_of, required_from_json
from resources.hdf5.hdf5 import NUMERIC_TYPES


def capture_layers(
    origin: dict[str, Any],
    layers: dict[str, str],
    required: dict[str, str],
    keep_rows: bool,
    requested_at: str,
    report: Any,
) -> None:
    """Run the checkpoint over all texts once, and write a file per layer unless another run made it meanwhile."""
    with checkpoint_locked(origin), clear_disk_errors(Path(next(iter(layers.values())))):
        layers = {layer: path for layer, path in layers.items() if not _made_since(requested_at, path, required[layer])}
        if not layers:
            return
        with loaded_checkpoint(origin, report) as loaded, contextlib.ExitStack() as open_files:
            writers = {}
            for layer, path in layers.items():
                Path(path).parent.mkdir(parents=True, exist_ok=True)
                record = record_of(required_from_json(required[layer]), origin["facts"])
                attrs = loaded.attrs(int(layer)) | {"provenance": record.to_json()}
                spec = loaded.spec("stored" if keep_rows else "sampled")
                writers[int(layer)] = open_files.enter_context(ActivationWriter(Path(path), spec, attrs))
            with BackgroundWriter(writers) as background:
                texts = None if keep_rows else range(loaded.tokens.n_texts_of(STATISTICS_ROWS))
                loaded.capture(list(writers), background.append, report, training_texts=texts)
            for writer in writers.values():
                writer.commit()


def restore_layers(origin: dict[str, Any], layers: dict[str, str], report: Any) -> None:
    """Capture the rows of evicted files again and restore them bit for bit."""
    first = Path(next(iter(layers.values())))
    with checkpoint_locked(origin), clear_disk_errors(first), loaded_checkpoint(origin, report) as loaded:
        spec = loaded.spec("stored")
        at_once = max(1, memory_share() // (spec.n_rows * spec.row_bytes))
        for start in range(0, len(layers), at_once):
            together = [int(layer) for layer in layers][start : start + at_once]
            for layer, rows in capture_in_memory(loaded, together, report).items():
                restore_rows(Path(layers[str(layer)]), rows)


def evict_file(activation_file: str, lock: str, report: Any) -> int:
    """Evict the rows of one file; returns the bytes freed."""
    path = Path(activation_file)
    with checkpoint_locked({"lock": lock}), clear_disk_errors(path):
        freed = evict_rows(path)
    report(1, 1, "")
    return freed


@contextlib.contextmanager
def checkpoint_locked(origin: Mapping[str, Any]) -> Iterator[None]:
    """Hold the lock of a checkpoint, so that only one run at a time captures its layers and writes their files."""
    with leased(Path(origin["lock"])):
        yield


@dataclass(frozen=True)
class LoadedCheckpoint:
    """A model in memory, with its tokens and the settings of the capture."""

    origin: Mapping[str, Any]
    ref: CheckpointRef
    model: PreTrainedModel
    tokens: Tokens
    accelerator: Accelerator
    folder: Path

    def spec(self, state: StorageState) -> ActivationSpec:
        """Return the shapes, data type and storage state of the file of one layer.

        A sampled file with all rows is an evicted file: its rows can be restored.
        """
        dtype = self.origin["recipe"]["activations"]["dtype"]
        n_rows, n_probes = self.tokens.n_rows, self.tokens.n_probes
        if state == "sampled":
            n_texts = self.tokens.n_texts_of(STATISTICS_ROWS)
            n_sampled = int(self.tokens.training_rows.text_offsets[n_texts])
            n_rows, state = n_sampled, "evicted" if n_sampled == n_rows else state
        return ActivationSpec(n_rows, n_probes, stream_width(self.model), dtype, state)

    def attrs(self, layer: int) -> dict[str, str | int | float]:
        """Return the attributes of the file of one layer that describe its origin."""
        return {
            "model": self.ref.model,
            "step": self.ref.step,
            "layer": layer,
            "hook_point": hook_point_name(self.model, layer, self.origin["recipe"]["blocks"]),
            "checkpoint_sha256": self.origin["weights_sha256"],
            "tokens_fingerprint": self.tokens.fingerprint,
            "tokens_file": Path(self.origin["tokens_file"]).name,
            "expected_d_model": self.origin["expected_d_model"],
        }

    def capture(
        self,
        layers: Sequence[int],
        append: Any,
        report: Any,
        *,
        with_probes: bool = True,
        training_texts: Sequence[int] | None = None,
    ) -> None:
        """Run the model and append its rows; for the arguments see `capture_checkpoint`.

        Raises:
            EmergenceError: see `capture_checkpoint`; names the checkpoint's folder.
        """
        try:
            capture_checkpoint(
                self.model,
                self.tokens,
                layers,
                append,
                self.origin["recipe"]["activations"]["dtype"],
                self.accelerator.capture_batch,
                self.accelerator.device,
                report,
                blocks_name=self.origin["recipe"]["blocks"],
                with_probes=with_probes,
                training_texts=training_texts,
            )
        except EmergenceError as error:
            raise EmergenceError(error.what, where=f"{self.folder} {error.where}", remedy=error.remedy) from error


@contextlib.contextmanager
def loaded_checkpoint(origin: Mapping[str, Any], report: Any) -> Iterator[LoadedCheckpoint]:
    """Load a checkpoint onto the device, fetched if necessary; see `activations.spec.capture_arguments`."""
    accelerator, source = choose_accelerator(), source_from(origin["source"])
    ref = CheckpointRef(**origin["checkpoint"])
    with source.fetch(ref, report) as folder:
        tokens_file = Path(origin["tokens_file"])
        ensure_tokens(tokens_file, folder, origin["recipe"], origin["corpus"], report)
        tokens = known_tokens(tokens_file)
        compute_dtype = accelerator.model_dtype(origin["recipe"]["activations"]["compute_dtype"])
        model = source.load(ref, folder, accelerator.device, getattr(torch, compute_dtype))
        yield LoadedCheckpoint(origin, ref, model, tokens, accelerator, folder)


def capture_in_memory(
    loaded: LoadedCheckpoint, layers: Sequence[int], report: Any, texts: Sequence[int] | None = None
) -> dict[int, Rows]:
    """Capture resid_post of several layers with one forward pass: layer → [rows, d_model].

    Args:
        loaded: The model and its tokens.
        layers: Block indexes from 0; -1 is the embedding.
        report: Called with texts done, all texts, and a note.
        texts: Indexes of training texts; by default all.

    Raises:
        EmergenceError: See `capture_checkpoint`.
    """
    spec, n_rows = loaded.spec("stored"), loaded.tokens.n_rows
    if texts is not None:
        n_rows = int(np.diff(loaded.tokens.training_rows.text_offsets)[list(texts)].sum())
    kind = NUMERIC_TYPES[spec.dtype][1]
    captured = {layer: np.empty((n_rows, spec.d_model), kind) for layer in layers}
    n_filled = dict.fromkeys(layers, 0)

    def append(layer: int, _name: str, block_td: np.ndarray) -> None:
        captured[layer][n_filled[layer] : n_filled[layer] + len(block_td)] = block_td
        n_filled[layer] += len(block_td)

    loaded.capture(layers, append, report, with_probes=False, training_texts=texts)
    return {layer: Rows(rows_td, spec.dtype) for layer, rows_td in captured.items()}


def ensure_tokens(
    path: Path, checkpoint: Path, recipe: Mapping[str, Any], corpus: Mapping[str, Any], report: Any
) -> None:
    """Write the token file of a checkpoint's tokenizer and the texts of a study, unless it exists.

    Args:
        path: the token file.
        checkpoint: folder with the tokenizer.
        recipe: recipe of the activations.
        corpus: see `study_corpus.corpus_arguments`; empty for glosses.
        report: called with bytes of a shard done, all bytes, and a note.

    Raises:
        EmergenceError: the tokenizer cannot be used for the texts of the study, or the corpus cannot be used.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with clear_disk_errors(path), leased(path.with_suffix(".lock")):
        if path.exists():
            return
        kept = recipe["activations"]
        made_from = ("source_sha256", "code")
        declared = {name: value for name, value in recipe["probe_set"].items() if name not in made_from}
        probes = probe_set(canonical_json(declared))
        tokenizer, context = checkpoint / "tokenizer.json", int(recipe["context"])
        is_encoder, begin_token = not is_language_model(architecture_of(checkpoint)), recipe["begin_token"]
        if corpus:
            tokens, counts = tokenise_corpus(
                tokenizer,
                corpus_documents(corpus, report),
                probes.texts,
                context,
                kept["training_tokens"],
                begin_token=begin_token,
                is_encoder=is_encoder,
            )
            write_tokens(path, tokens, {"identity": corpus_identity(recipe), **counts._asdict()})
            return
        tokens = tokenise(
            tokenizer,
            wordnet_training_texts(kept["training_texts"], seed=0, template=probes.template),
            probes.texts,
            context,
            kept["positions"],
            begin_token=begin_token,
            is_encoder=is_encoder,
            max_rows=kept["training_tokens"],
        )
        write_tokens(path, tokens)


def _made_since(requested_at: str, path: str, required: str) -> bool:
    """Return whether another run made this file while this run waited for the lock."""
    stored = activation_provenance(Path(path))
    return stored is not None and stored.created >= requested_at and stored.required == required_from_json(required)
