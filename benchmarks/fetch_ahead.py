"""Run checkpoints of a hub with limited bandwidth, with and without fetching the next one meanwhile.

One worker, as a machine with one GPU has. The bandwidth is such that a download takes about as long as the forward
passes of a checkpoint, where there is the most to gain: nearly half of the time.
"""

import shutil
import statistics
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from transformers import GPTNeoXConfig, GPTNeoXForCausalLM
from transformers.utils.logging import disable_progress_bar

from benchmarks.rounds import Table
from emergence_assets.checkpoints.inspection import measurement_tasks
from emergence_assets.checkpoints.listing import refresh_timeline
from emergence_assets.checkpoints.sources.hub import HubSource
from emergence_assets.checkpoints.sources.of_family import source_from
from emergence_assets.checkpoints.sources.source import CheckpointRef
from emergence_assets.plan.cell import Cell
from emergence_assets.study.study import Study
from emergence_assets.texts.wordnet.corpus import TOKENIZER_PATH
from resources.compute.local_processes import LocalProcesses
from resources.compute.task import Task
from resources.environment import environment_variables
from resources.files.storage import Storage
from tests.hub.server import HubServer

N_CHECKPOINTS, N_PASSES, ROUNDS = 5, 8, 2
D_MODEL, N_LAYERS, VOCABULARY = 256, 6, 2048
MODEL, REPOSITORY = "wide", "someone/wide"


def measure_fetch_ahead() -> Table:
    """Time both ways in alternating rounds, each from an empty cache; medians over the rounds."""
    with tempfile.TemporaryDirectory() as scratch, HubServer() as hub:
        n_bytes = _publish(hub, Path(scratch) / "checkpoints")
        with environment_variables({"HF_ENDPOINT": hub.endpoint}), LocalProcesses(1) as worker:
            tasks = _tasks(Path(scratch))
            _run(worker, tasks[:1])  # imports
            compute_s = _run(worker, tasks[:1])  # from the cache
            hub.bytes_per_second = n_bytes / compute_s
            seconds: dict[str, list[float]] = {"one after the other": [], "the next one meanwhile": []}
            for _ in range(ROUNDS):
                for way, done in seconds.items():
                    shutil.rmtree(Path(scratch) / "data" / "cache", ignore_errors=True)
                    ahead = way == "the next one meanwhile"
                    done.append(_run(worker, tasks if ahead else [replace(task, fetch=None) for task in tasks]))
    table: Table = {way: {"s": statistics.median(done)} for way, done in seconds.items()}
    alone, meanwhile = seconds.values()
    gain = statistics.median(one / other for one, other in zip(alone, meanwhile, strict=True))
    table["the next one meanwhile"] |= {"times as fast": gain, "MB/s": n_bytes / compute_s / 1e6}
    return table


def _publish(hub: HubServer, folder: Path) -> int:
    """Publish random networks as steps of a run; returns the bytes of one."""
    disable_progress_bar()
    config = GPTNeoXConfig(
        vocab_size=VOCABULARY,
        hidden_size=D_MODEL,
        num_hidden_layers=N_LAYERS,
        num_attention_heads=8,
        intermediate_size=4 * D_MODEL,
        max_position_embeddings=64,
    )
    for step in range(N_CHECKPOINTS):
        torch.manual_seed(step)
        GPTNeoXForCausalLM(config).save_pretrained(folder)
        shutil.copyfile(TOKENIZER_PATH, folder / "tokenizer.json")
        hub.add_revision(REPOSITORY, f"step{step}", folder)
    return (folder / "model.safetensors").stat().st_size


def _tasks(scratch: Path) -> Sequence[Task]:
    shape = {"d_model": D_MODEL, "n_layers": N_LAYERS}
    family = {
        "source": "hub",
        "repository": REPOSITORY,
        "models": {MODEL: shape},
        "tokens_per_step": 1,
        "lock": str(scratch / "lock.json"),
    }
    rest = {
        "probe_set": {"source": "wordnet"},
        "activations": {"training_texts": 100},
        "sae": {"n_latents": 64, "k": 4, "n_steps": 10},
    }
    study = Study.model_validate({"name": "fetch", "family": family, "steps": list(range(N_CHECKPOINTS)), **rest})
    storage = Storage(scratch / "data", study.name)
    HubSource(study.family, storage).refresh()  # pyright: ignore[reportArgumentType]
    refresh_timeline(study, storage, MODEL)
    found = measurement_tasks(study, storage, [Cell(MODEL, step) for step in range(N_CHECKPOINTS)])
    names = ("source", "checkpoint")
    return [
        replace(
            task,
            function="benchmarks.fetch_ahead:run_checkpoint",
            arguments={name: task.arguments[name] for name in names},
        )
        for task in found
    ]


def run_checkpoint(source: dict[str, Any], checkpoint: dict[str, Any], report: Any) -> None:
    """Worker: fetch a checkpoint, and run texts through it."""
    origin, ref = source_from(source), CheckpointRef(**checkpoint)
    with origin.fetch(ref, report) as folder, torch.inference_mode():
        model = origin.load(ref, folder, "cpu", torch.float32)
        for _ in range(N_PASSES):
            model.base_model(torch.zeros(64, 64, dtype=torch.long))


def _run(worker: LocalProcesses, tasks: Sequence[Task]) -> float:
    began = time.perf_counter()
    for _ in worker.run(tasks):
        pass
    return time.perf_counter() - began
