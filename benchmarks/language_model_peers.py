"""Train SAEs on the residual stream of a pretrained language model as other libraries do: six layers, two seeds.

All read one set of packed contexts in one order of steps and have one learning rate; each has its own start. SAELens
trains one SAE per run: one is measured on fewer tokens, and its seconds count twelve times. Seconds are CPU seconds of
one thread with everything that a library does for a token: forward pass, buffers, steps.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tokenizers import Tokenizer

from benchmarks.peers_stream import Settings, fvu
from benchmarks.prerequisites import peers_python
from benchmarks.rounds import Table
from emergence_assets.activations.files.reading import Rows
from emergence_assets.activations.forward.capture import capture_checkpoint
from emergence_assets.activations.forward.row_stream import RowStream
from emergence_assets.checkpoints.models.loading import load_model
from emergence_assets.saes.layers.layer_rows import LayerRows
from emergence_assets.saes.layers.make import LayerInputs, make_saes
from emergence_assets.study.sae import SAESettings
from emergence_assets.texts.probe_set import wordnet_training_texts
from emergence_assets.texts.tokens import Tokens
from resources.compute.worker_environment import WORKER_ENVIRONMENT
from resources.errors import EmergenceError

CONTEXT, HELD_OUT_CONTEXTS, FORWARD_CONTEXTS = 128, 32, 8
SETTINGS = Settings(
    model="",
    layers=(4, 9, 14, 19, 24, 29),
    seeds=(0, 1),
    n_latents=4096,
    k=32,
    learning_rate=2e-3,
    batch_size=1024,
    n_steps=32,
)
SAE_LENS_STEPS = 8
ROUNDS = 2
OURS = "ours"
MODEL = Path(".pretrained/smollm2-135m/step2000")
"""SmolLM2-135M, which `make pretrained` brings."""


def measure_language_model_peers(peers: Path) -> Table:
    """Measure tokens per CPU second of all twelve SAEs, and their mean FVU on held-out contexts after equal tokens.

    Args:
        peers: environment of the other libraries.

    Raises:
        EmergenceError: there is no such environment or model.
    """
    python = peers_python(peers)
    if not (MODEL / "model.safetensors").exists():
        raise EmergenceError("The model is not there.", where=MODEL, remedy="type `make pretrained`")
    seconds: dict[str, list[float]] = {OURS: [], "sparsify": [], "SAELens, twelve times one SAE": []}
    found: dict[str, dict[str, float]] = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        settings = replace(SETTINGS, model=str(MODEL.resolve()))
        _fill(folder, settings)
        script = str(Path(__file__).with_name("peers_stream.py"))
        commands = {
            OURS: [sys.executable, "-m", "benchmarks.language_model_peers", name],
            "sparsify": [python, script, "sparsify", name],
        }
        for _ in range(ROUNDS):
            for system, command in commands.items():
                answer = _answer(command)
                seconds[system].append(answer["cpu_s"] / (settings.n_steps * settings.batch_size))
                found[system] = answer["fvu"]
        _fill(folder, replace(settings, n_steps=SAE_LENS_STEPS))
        answer = _answer([python, script, "sae_lens", name])
        n_saes = len(settings.layers) * len(settings.seeds)
        seconds["SAELens, twelve times one SAE"].append(
            n_saes * answer["cpu_s"] / (SAE_LENS_STEPS * settings.batch_size)
        )
    table: Table = {}
    for system, each in seconds.items():
        table[system] = {"tokens per CPU s, all SAEs": 1 / statistics.median(each)}
        if system != OURS:
            ratios = [other / own for own, other in zip(seconds[OURS], each, strict=False)]
            table[system]["ours is faster by"] = statistics.median(ratios)
        if system in found:
            table[system]["FVU, mean of the SAEs"] = statistics.mean(found[system].values())
    return table


def _answer(command: list[str]) -> dict[str, Any]:
    finished = subprocess.run(command, env=_environment(), stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(finished.stdout.splitlines()[-1])


def _environment() -> dict[str, str]:
    return {**os.environ, **WORKER_ENVIRONMENT, "HF_HUB_OFFLINE": "1"}


def _fill(folder: Path, settings: Settings) -> None:
    """Write settings, packed contexts, and held-out rows of the layers."""
    (folder / "settings.json").write_text(json.dumps(asdict(settings)))
    tokenizer = Tokenizer.from_file(str(Path(settings.model) / "tokenizer.json"))
    n_contexts = settings.n_steps * settings.batch_size // CONTEXT
    texts = wordnet_training_texts(6000, seed=0)["text"].to_list()
    stream = np.array([token for one in tokenizer.encode_batch(texts) for token in one.ids])
    body = stream[: (n_contexts + HELD_OUT_CONTEXTS) * (CONTEXT - 1)].reshape(-1, CONTEXT - 1)
    ids_bt = np.concatenate([np.zeros((len(body), 1), stream.dtype), body], axis=1).astype(np.int32)
    np.save(folder / "ids.npy", ids_bt[:n_contexts])
    if (folder / f"held_out_{settings.layers[0]}.npy").exists():
        return
    for layer, parts in _captured(settings, ids_bt[n_contexts:]).items():
        np.save(folder / f"held_out_{layer}.npy", np.concatenate(parts))


def _captured(settings: Settings, ids_bt: np.ndarray) -> dict[int, list[np.ndarray]]:
    model = load_model(Path(settings.model), "cpu", torch.float32)
    parts: dict[int, list[np.ndarray]] = {layer: [] for layer in settings.layers}
    tokens = _tokens(ids_bt)
    capture_checkpoint(
        model,
        tokens,
        settings.layers,
        lambda layer, _, rows_td: parts[layer].append(rows_td),
        "float32",
        FORWARD_CONTEXTS,
        with_probes=False,
    )
    return parts


def _tokens(ids_bt: np.ndarray) -> Tokens:
    return Tokens(tuple(map(str, range(len(ids_bt)))), tuple(ids_bt), ("p",), tuple(ids_bt[:1]), "all", CONTEXT)


def main() -> None:
    """Train ours, then print CPU seconds, and FVU by layer/seed, as `peers_stream.py` does for the others."""
    torch.set_num_threads(1)
    folder = Path(sys.argv[1])
    settings, ids_bt = Settings.read(folder), np.load(folder / "ids.npy")
    model = load_model(Path(settings.model), "cpu", torch.float32)
    held_out = {layer: np.load(folder / f"held_out_{layer}.npy") for layer in settings.layers}
    began = time.process_time()
    tokens, body = _tokens(ids_bt), CONTEXT - 1

    def compute(texts: Any, append: Any) -> None:
        capture_checkpoint(
            model,
            tokens,
            settings.layers,
            lambda layer, _, rows_td: append(layer, rows_td),
            "float16",
            FORWARD_CONTEXTS,
            with_probes=False,
            training_texts=texts,
        )

    d_model = next(iter(held_out.values())).shape[1]
    texts = np.arange(len(ids_bt))
    stream = RowStream(settings.layers, texts, np.full(len(texts), body), d_model, "float16", 2**30, compute)
    inputs = [
        LayerInputs(LayerRows(layer, stream.of_layer(layer), Rows(rows_td[:body].astype(np.float16), "float16")))
        for layer, rows_td in held_out.items()
    ]
    ours = SAESettings(
        k=settings.k,
        n_latents=settings.n_latents,
        n_steps=settings.n_steps,
        batch_size=settings.batch_size // CONTEXT * body,
        learning_rate=settings.learning_rate,
        massive="keep",
    )
    made = make_saes(inputs, list(settings.seeds), ours, "cpu", lambda *_: None)
    cpu_s = time.process_time() - began
    found = {
        f"{layer}/{seed}": fvu(sae.reconstruct, torch.from_numpy(held_out[layer]))
        for layer, of_layer in zip(settings.layers, made, strict=True)
        for seed, sae in of_layer.saes.items()
    }
    print(json.dumps({"cpu_s": cpu_s, "fvu": found}))


if __name__ == "__main__":
    main()
