"""Memory of a training from a stream, stated before it begins: rows, SAEs and batches of all layers of a checkpoint."""

from typing import NamedTuple

from emergence_assets.activations.files.row_order import SLAB_BYTES
from emergence_assets.activations.forward.capture import STAGED_BYTES
from emergence_assets.plan.disk_forecast import format_bytes
from emergence_assets.saes.held_out import EVALUATION_ROWS, EVALUATION_SHARE
from emergence_assets.study.sae import SAESettings
from emergence_assets.study.study import Study

FLOAT = 4
"""Bytes of a number of the training."""
CHUNK_BYTES = 16 * 2**20
"""Bytes of the pre-activations that are held at a time, see `model.pre_activations`."""
CHUNKS = 4
"""Such blocks at a time: pre-activations, their k largest, and copies."""
BATCH_COPIES = 4
"""Copies of a batch: scaled rows, centred rows, residuals, and one temporary."""
SLOT_BYTES = 80
"""Bytes for each active latent of a batch: indices, values, their gradients, and the sorted order of both."""
FORWARD_WIDTHS = 14
"""Temporaries of a forward pass, in widths of the residual stream for each token: the inner layer of an MLP twice,
queries, keys, values, and a few copies of the stream."""


class StreamMemory(NamedTuple):
    """Bytes of a training from a stream, beside the model and the libraries."""

    rows: int
    """Slabs and held-out rows of all layers."""
    saes: int
    """Parameters, moments of Adam, and one gradient of all SAEs."""
    batches: int
    """Batches of all SAEs, and rows on their way."""
    forward: int
    """Temporaries of a forward pass, with the streams of all layers."""

    @property
    def total(self) -> int:
        """All of these bytes."""
        return sum(self)

    def describe(self, model: str) -> str:
        """Describe the memory of a worker that streams a model."""
        return (
            f"memory of a worker that streams {model}, beside model and libraries: {format_bytes(self.total)} "
            f"(rows {format_bytes(self.rows)}, SAEs {format_bytes(self.saes)}), if all its layers are one stack"
        )


def stream_memory(
    settings: SAESettings,
    n_rows: int,
    d_model: int,
    n_layers: int,
    row_bytes: int,
    tokens_at_once: int,
) -> StreamMemory:
    """State the memory of a checkpoint whose SAEs are trained from a stream, all layers and seeds at once.

    Args:
        settings: settings of the SAEs.
        n_rows: training rows of a layer, held-out rows included.
        d_model: width of the residual stream.
        n_layers: layers that are trained together.
        row_bytes: bytes of a row as it is stored.
        tokens_at_once: tokens of a forward pass: texts of a batch times the context.
    """
    n_held_out = min(n_rows // EVALUATION_SHARE, EVALUATION_ROWS)
    n_mixed = min(n_rows, settings.mixing_rows or SLAB_BYTES // row_bytes)
    n_saes, n_weights = n_layers * len(settings.seeds), settings.n_latents * d_model
    parameters = 2 * n_weights + settings.n_latents + d_model
    n_tokens = n_saes * settings.batch_size
    batches = n_tokens * (BATCH_COPIES * d_model * FLOAT + settings.k * SLOT_BYTES) + CHUNKS * CHUNK_BYTES
    staged = min(STAGED_BYTES, n_layers * n_mixed * row_bytes)
    return StreamMemory(
        n_layers * (n_mixed + n_held_out) * row_bytes,
        n_saes * (3 * parameters + n_weights) * FLOAT,
        batches + staged,
        tokens_at_once * (n_layers + FORWARD_WIDTHS) * d_model * FLOAT,
    )


def largest_stream(study: Study, n_rows: int, texts_at_once: int) -> tuple[str, StreamMemory]:
    """Return the model of a study whose stream takes the most memory, and that memory.

    Args:
        study: study whose rows are streamed.
        n_rows: training rows of a layer.
        texts_at_once: texts of a forward pass.
    """
    n_bytes = FLOAT if study.activations.dtype == "float32" else FLOAT // 2
    stated = {}
    for model in study.models:
        d_model, n_layers = study.family.models[model].d_model, len(study.layers_of(model))
        tokens_at_once = texts_at_once * study.family.context
        stated[model] = stream_memory(study.sae, n_rows, d_model, n_layers, n_bytes * d_model, tokens_at_once)
    largest = max(stated, key=lambda model: stated[model].total)
    return largest, stated[largest]
