"""Capture all layers into files, compared with forward passes that keep nothing; in one pass, or one per layer.

Capturing adds a few percent to a forward pass, less than passes vary. It is measured on a model whose blocks copy their
input, and divided by the duration of the real model's passes.
"""

import contextlib
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from transformers import GPTNeoXConfig, GPTNeoXForCausalLM

from benchmarks.rounds import Job, Table, measure_alternating
from emergence_assets.activations.files.background import BackgroundWriter
from emergence_assets.activations.files.layout import ActivationSpec
from emergence_assets.activations.files.writing import ActivationWriter
from emergence_assets.activations.forward.capture import STAGED_BYTES, capture_checkpoint
from emergence_assets.checkpoints.models.blocks import blocks
from emergence_assets.checkpoints.models.stream import residual_stream
from emergence_assets.texts.tokens import Tokens

D_MODEL, N_LAYERS, CONTEXT, VOCABULARY = 256, 6, 256, 2000
BATCH_SIZE = 32
N_TEXTS = 256
N_TEXTS_OF_MANY_PASSES = 64
ONE_GROUP = 1 << 40
"""Staged bytes that sort all texts by length together, as in the plain passes."""
PASSES = "forward passes, nothing kept"
PICKED, WRITTEN = "rows picked and cast, thrown away", "rows written, hashed and counted"
GROUPED = "the same, texts sorted within groups"
TOGETHER, APART = "all layers in one pass", "one pass per layer"


def measure_activation_capture() -> Table:
    """Measure CPU seconds, and their ratio to the CPU seconds of the plain passes."""
    torch.set_num_threads(1)
    model, copying, layers = _model(), _model(), list(range(N_LAYERS))
    for block in blocks(copying):
        block.forward = lambda hidden_states, *args, **kwargs: hidden_states.clone()  # pyright: ignore[reportAttributeAccessIssue]
    tokens, few = _texts(N_TEXTS), _texts(N_TEXTS_OF_MANY_PASSES)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        whole = measure_alternating(_jobs(model, tokens, layers, folder), rounds=3)
        parts = measure_alternating(_jobs(copying, tokens, layers, folder), rounds=5)
        passes = measure_alternating(
            {
                TOGETHER: lambda: _capture(model, few, layers, folder),
                APART: lambda: [_capture(model, few, [layer], folder) for layer in layers],
            },
            rounds=3,
        )
    forward = whole.cpu(PASSES)
    table: Table = {
        job: {
            "CPU s": whole.cpu(job),
            "wall s": whole.wall(job),
            "CPU relative to plain passes": 1 / whole.speed(job, PASSES),
            "added, CPU s": parts.cpu(job) - parts.cpu(PASSES),
            "added, share of a pass (aim: 0.03)": (parts.cpu(job) - parts.cpu(PASSES)) / forward,
        }
        for job in (PASSES, PICKED, WRITTEN, GROUPED)
    }
    for job in (TOGETHER, APART):
        ratio = 1 / passes.speed(job, TOGETHER)
        table[job] = {"CPU s": passes.cpu(job), "wall s": passes.wall(job), "CPU relative to one pass": ratio}
    return {
        f"{(few if job in (TOGETHER, APART) else tokens).n_rows} tokens, {N_LAYERS} layers, d={D_MODEL}: {job}": columns
        for job, columns in table.items()
    }


def _jobs(model: GPTNeoXForCausalLM, tokens: Tokens, layers: Sequence[int], folder: Path) -> dict[str, Job]:
    def keep_nothing(_layer: int, _name: str, _block_td: np.ndarray) -> None:
        pass

    return {
        PASSES: lambda: _forward_only(model, tokens, layers),
        PICKED: lambda: capture_checkpoint(
            model, tokens, layers, keep_nothing, batch_size=BATCH_SIZE, staged_bytes=ONE_GROUP
        ),
        WRITTEN: lambda: _capture(model, tokens, layers, folder, ONE_GROUP),
        GROUPED: lambda: _capture(model, tokens, layers, folder),
    }


def _model() -> GPTNeoXForCausalLM:
    torch.manual_seed(0)
    config = GPTNeoXConfig(
        vocab_size=VOCABULARY,
        hidden_size=D_MODEL,
        num_hidden_layers=N_LAYERS,
        num_attention_heads=4,
        intermediate_size=4 * D_MODEL,
        max_position_embeddings=CONTEXT,
    )
    return GPTNeoXForCausalLM(config).eval()


def _texts(n_texts: int) -> Tokens:
    """Make texts of 20 to `CONTEXT` tokens, and one probe text."""
    rng = np.random.default_rng(0)
    lengths = rng.integers(20, CONTEXT + 1, n_texts)
    ids = tuple(rng.integers(0, VOCABULARY, length).astype(np.int32) for length in lengths)
    names = tuple(f"text {number}" for number in range(n_texts))
    return Tokens(names, ids, ("probe",), (ids[0],), "all", CONTEXT)


def _forward_only(model: GPTNeoXForCausalLM, tokens: Tokens, layers: Sequence[int]) -> None:
    """Run the passes of `capture_checkpoint`: texts sorted by length, longest first, padded on the right."""
    with residual_stream(model, layers), torch.inference_mode():
        for texts in (sorted(tokens.training_ids, key=len, reverse=True), list(tokens.probe_ids)):
            for start in range(0, len(texts), BATCH_SIZE):
                batch = texts[start : start + BATCH_SIZE]
                ids_bt = np.zeros((len(batch), len(batch[0])), np.int64)
                for row, ids in enumerate(batch):
                    ids_bt[row, : len(ids)] = ids
                model.base_model(input_ids=torch.from_numpy(ids_bt), use_cache=False)


def _capture(
    model: GPTNeoXForCausalLM, tokens: Tokens, layers: Sequence[int], folder: Path, staged_bytes: int = STAGED_BYTES
) -> None:
    spec = ActivationSpec(tokens.n_rows, tokens.n_probes, D_MODEL)
    with contextlib.ExitStack() as open_files:
        writers = {
            layer: open_files.enter_context(ActivationWriter(folder / f"layer={layer}.h5", spec, {"layer": layer}))
            for layer in layers
        }
        with BackgroundWriter(writers) as background:
            capture_checkpoint(
                model, tokens, layers, background.append, batch_size=BATCH_SIZE, staged_bytes=staged_bytes
            )
        for writer in writers.values():
            writer.commit()
