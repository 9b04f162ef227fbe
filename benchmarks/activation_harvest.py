"""Harvesting all layers into files against the same forward passes that keep nothing; one pass for all layers against one each."""

import contextlib
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from transformers import GPTNeoXConfig, GPTNeoXForCausalLM

from benchmarks.rounds import Table, measured_in_turns
from emergence_assets.activations.background import BackgroundWriter
from emergence_assets.activations.capture import capture_checkpoint, residual_stream
from emergence_assets.activations.layout import ActivationSpec
from emergence_assets.activations.tokens import Tokens
from emergence_assets.activations.writing import ActivationWriter

D_MODEL, N_LAYERS, CONTEXT, VOCABULARY = 256, 6, 256, 2000
BATCH_SIZE = 32
N_TEXTS = 256
N_TEXTS_OF_MANY_PASSES = 64
PASSES = "forward passes, nothing kept"
TOGETHER = "all layers in one pass"


def measure_activation_harvest() -> Table:
    """CPU seconds, and more of them than the plain passes take."""
    torch.set_num_threads(1)
    model = _model()
    layers = list(range(N_LAYERS))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        tokens = _texts(N_TEXTS)
        one_pass = {
            PASSES: lambda: _forward_only(model, tokens, layers),
            "rows picked and cast, thrown away": lambda: capture_checkpoint(
                model, tokens, layers, lambda layer, name, block: None, batch_size=BATCH_SIZE
            ),
            "rows written, hashed and counted": lambda: _harvest(model, tokens, layers, folder),
        }
        table = _rows(one_pass, PASSES, tokens.n_rows, rounds=3)
        few = _texts(N_TEXTS_OF_MANY_PASSES)
        many_passes = {
            TOGETHER: lambda: _harvest(model, few, layers, folder),
            "one pass per layer": lambda: [_harvest(model, few, [layer], folder) for layer in layers],
        }
        return table | _rows(many_passes, TOGETHER, few.n_rows, rounds=3)


def _rows(jobs: dict, against: str, n_rows: int, rounds: int) -> Table:
    costs = measured_in_turns(jobs, rounds)
    return {
        f"{n_rows} tokens, {N_LAYERS} layers, d={D_MODEL}: {job}": {
            "CPU s": costs.cpu(job),
            "wall s": costs.wall(job),
            f"CPU for that of '{against}'": 1 / costs.speed(job, against),
        }
        for job in jobs
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
    """Texts of 20 to `CONTEXT` tokens, and one probe text."""
    rng = np.random.default_rng(0)
    lengths = rng.integers(20, CONTEXT + 1, n_texts)
    ids = tuple(rng.integers(0, VOCABULARY, length).astype(np.int32) for length in lengths)
    names = tuple(f"text {number}" for number in range(n_texts))
    return Tokens(names, ids, ("probe",), (ids[0],), "all", CONTEXT)


def _forward_only(model: GPTNeoXForCausalLM, tokens: Tokens, layers: Sequence[int]) -> None:
    """The passes of `capture_checkpoint`: texts sorted by length, longest first, padded on the right."""
    with residual_stream(model, layers), torch.inference_mode():
        for texts in (sorted(tokens.training_ids, key=len, reverse=True), list(tokens.probe_ids)):
            for start in range(0, len(texts), BATCH_SIZE):
                batch = texts[start : start + BATCH_SIZE]
                ids_bt = np.zeros((len(batch), len(batch[0])), np.int64)
                for row, ids in enumerate(batch):
                    ids_bt[row, : len(ids)] = ids
                model.base_model(input_ids=torch.from_numpy(ids_bt), use_cache=False)


def _harvest(model: GPTNeoXForCausalLM, tokens: Tokens, layers: Sequence[int], folder: Path) -> None:
    spec = ActivationSpec(tokens.n_rows, tokens.n_probes, D_MODEL)
    with contextlib.ExitStack() as open_files:
        writers = {
            layer: open_files.enter_context(ActivationWriter(folder / f"layer={layer}.h5", spec, {"layer": layer}))
            for layer in layers
        }
        with BackgroundWriter(writers) as background:
            capture_checkpoint(model, tokens, layers, background.append, batch_size=BATCH_SIZE)
        for writer in writers.values():
            writer.commit()
