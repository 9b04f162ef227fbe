"""Train SAEs on rows that a model computes meanwhile, against rows that were captured into memory before.

Both see the same rows in the same order, so that their SAEs are equal bit for bit. Time of the stream is compared with
capture and training from memory; memory with what was stated before.
"""

import resource
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import GPTNeoXConfig, GPTNeoXForCausalLM

from benchmarks.rounds import Table
from emergence_assets.activations.files.reading import Rows
from emergence_assets.activations.forward.capture import capture_checkpoint
from emergence_assets.activations.forward.row_stream import RowStream
from emergence_assets.saes.held_out import held_out_texts, training_texts
from emergence_assets.saes.layers.layer_rows import LayerRows, rows_of_layer
from emergence_assets.saes.layers.make import LayerInputs, make_saes
from emergence_assets.saes.layers.memory import stream_memory
from emergence_assets.study.sae import SAESettings
from emergence_assets.texts.tokens import Tokens
from resources.compute.local_processes import LocalProcesses
from resources.compute.task import Task

D_MODEL, N_LAYERS, CONTEXT, N_CONTEXTS, VOCABULARY = 256, 6, 128, 1200, 4096
TEXTS = 64
"""Texts of a forward pass."""
SETTINGS = SAESettings(k=16, n_latents=2048, n_steps=130, batch_size=1024, mixing_rows=20_000, seeds=[0, 1])
ROUNDS = 3
WAYS = ("from memory", "streamed")


def measure_sae_stream() -> Table:
    """Measure seconds and memory of both ways, each in a process of its own, alternating; medians over the rounds."""
    found: dict[str, list[dict[str, float]]] = {way: [] for way in WAYS}
    for _ in range(ROUNDS):
        for way in WAYS:
            with LocalProcesses(1) as process:
                task = Task("benchmarks.sae_stream:train", {"way": way}, way)
                found[way] += [answer for _, answer in process.run([task])]
    table: Table = {}
    for way in WAYS:
        table[way] = {
            name: float(np.median([one[name] for one in found[way]])) for name in found[way][0] if name != "fvu"
        }
    ratios = [one["CPU s"] / other["CPU s"] for one, other in zip(found["streamed"], found["from memory"], strict=True)]
    table["streamed"]["CPU, of from memory (aim: 1.05)"] = float(np.median(ratios))
    of_stated = [one["peak MB"] / one["stated MB"] for one in found["streamed"]]
    table["streamed"]["peak, of stated (aim: 0.9 to 1.1)"] = float(np.median(of_stated))
    assert found["streamed"][0]["fvu"] == found["from memory"][0]["fvu"]
    return table


def train(way: str, report: Any) -> dict[str, float]:
    """Worker: train the SAEs of all layers and seeds one way."""
    torch.set_num_threads(1)
    model, tokens = _model(), _tokens()
    body = CONTEXT - 1
    with torch.inference_mode():
        model(torch.zeros(1, 2, dtype=torch.long))  # libraries are loaded at the first pass
    before = resident()
    began, n_computed = time.process_time(), 0

    def compute(texts: Any, append: Callable[[int, np.ndarray], None]) -> None:
        nonlocal n_computed
        n_computed += len(texts) * body
        capture_checkpoint(
            model,
            tokens,
            range(N_LAYERS),
            lambda layer, _name, rows_td: append(layer, rows_td),
            batch_size=TEXTS,
            with_probes=False,
            training_texts=texts,
        )

    layers = _streamed(tokens, compute) if way == "streamed" else _in_memory(tokens, compute)
    made = make_saes([LayerInputs(one) for one in layers], list(SETTINGS.seeds), SETTINGS, "cpu", lambda *_: None)
    n_rows = N_CONTEXTS * body
    stated = stream_memory(SETTINGS, n_rows, D_MODEL, N_LAYERS, 2 * D_MODEL, TEXTS * CONTEXT).total
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 - before
    answer = {
        "CPU s": time.process_time() - began,
        "peak MB": peak / 1e6,
        "rows through the model, of all": n_computed / n_rows,
        "fvu": sum(one["fvu"] for found in made for one in found.metrics),
    }
    return answer | ({"stated MB": stated / 1e6} if way == "streamed" else {})


def resident() -> int:
    """Return the resident bytes of this process."""
    return int(Path("/proc/self/statm").read_text("ascii").split()[1]) * resource.getpagesize()


def _in_memory(tokens: Tokens, compute: Any) -> list[LayerRows]:
    parts: dict[int, list[np.ndarray]] = {layer: [] for layer in range(N_LAYERS)}
    compute(range(N_CONTEXTS), lambda layer, rows_td: parts[layer].append(rows_td))
    return [
        rows_of_layer(layer, Rows(np.concatenate(parts.pop(layer)), "float16"), tokens, SETTINGS.mixing_rows)
        for layer in range(N_LAYERS)
    ]


def _streamed(tokens: Tokens, compute: Any) -> list[LayerRows]:
    held: dict[int, list[np.ndarray]] = {layer: [] for layer in range(N_LAYERS)}
    compute(held_out_texts(tokens).tolist(), lambda layer, rows_td: held[layer].append(rows_td))
    texts = training_texts(tokens)
    slab_bytes = int(SETTINGS.mixing_rows or 0) * 2 * D_MODEL
    n_rows = np.full(len(texts), CONTEXT - 1)
    stream = RowStream(range(N_LAYERS), texts, n_rows, D_MODEL, "float16", slab_bytes, compute)
    return [
        LayerRows(layer, stream.of_layer(layer), Rows(np.concatenate(held[layer]), "float16"))
        for layer in range(N_LAYERS)
    ]


def _model() -> GPTNeoXForCausalLM:
    torch.manual_seed(0)
    config = GPTNeoXConfig(
        vocab_size=VOCABULARY,
        hidden_size=D_MODEL,
        num_hidden_layers=N_LAYERS,
        num_attention_heads=8,
        intermediate_size=4 * D_MODEL,
        max_position_embeddings=CONTEXT,
        initializer_range=0.05,
    )
    return GPTNeoXForCausalLM(config).eval().requires_grad_(False)


def _tokens() -> Tokens:
    draw = np.random.default_rng(0)
    ids = tuple(draw.integers(0, VOCABULARY, CONTEXT).astype(np.int32) for _ in range(N_CONTEXTS))
    return Tokens(tuple(map(str, range(N_CONTEXTS))), ids, ("p",), ids[:1], "all", CONTEXT)
