"""Train the same SAE as other libraries do: equal start, batches, order, learning rate and clock.

Every library trains with its own trainer in a process of the environment that `make peers` makes, one thread each, some
steps per round. Two further starts measure the error alone.
"""

import contextlib
import itertools
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.planted_rows import planted_rows
from benchmarks.prerequisites import check_device, peers_python
from benchmarks.rounds import Seconds, Table, measure_alternating
from benchmarks.sae_turns import SEED
from emergence_assets.activations.files.batches import ShuffledRows
from resources.compute.worker_environment import WORKER_ENVIRONMENT
from resources.errors import EmergenceError

D_MODEL, K, BATCH_SIZE = 512, 32, 2048
N_ROWS, N_HELD_OUT, N_ATOMS = 200_000, 8192, 4096
OURS = "ours"
SYSTEMS = {"sae_lens": "SAELens", "sparsify": "sparsify", "dictionary_learning": "dictionary_learning"}
"""Name in `peers_train_*.py` → row of the table."""


@dataclass(frozen=True)
class Training:
    """Size of a dictionary, its start and the length of its training."""

    n_latents: int
    learning_rate: float
    steps_per_turn: int
    rounds: int
    """Number of rounds; 0 measures the error alone."""
    encoder_length: float | None = 1.0
    """Length of the encoder rows at the start; None leaves the start to each library."""

    @property
    def n_steps(self) -> int:
        """Number of all steps, including the first turn, which is not counted."""
        return self.steps_per_turn * (self.rounds + 1)


TRAININGS = (
    Training(4096, 2e-3, steps_per_turn=5, rounds=9),
    Training(16_384, 1e-3, steps_per_turn=2, rounds=4),
    # An encoder of unit rows reconstructs more than the input; it has to shrink first, which takes most of the steps.
    Training(4096, 2e-3, steps_per_turn=50, rounds=0, encoder_length=0.5),
    Training(4096, 2e-3, steps_per_turn=50, rounds=0, encoder_length=None),
)


def measure_sae_peers(peers: Path, device: str = "cpu") -> Table:
    """Measure tokens per second, speed of ours relative to the others, and FVU on held-out rows after equal tokens.

    Args:
        peers: environment of the other libraries.
        device: device of all trainings; CPU seconds are measured on a CPU, wall-clock seconds on a GPU.

    Raises:
        EmergenceError: there is no such environment or device.
    """
    check_device(device)
    python = peers_python(peers)
    table: Table = {}
    rows_td = planted_rows(N_ROWS + N_HELD_OUT, D_MODEL, N_ATOMS)
    for training in TRAININGS:
        with tempfile.TemporaryDirectory() as name:
            _fill(Path(name), rows_td, training, device)
            table |= _compared(Path(name), python, training, device)
    return table


def _fill(folder: Path, rows_td: NDArray[np.float32], training: Training, device: str) -> None:
    """Write the files that `peers_train.Task` reads, and the rows that our trainer reads."""
    train_td, held_out_td = rows_td[:N_ROWS], rows_td[N_ROWS:]
    W_dec_nd = np.random.default_rng(1).standard_normal((training.n_latents, D_MODEL), dtype=np.float32)
    shuffled = ShuffledRows(torch.from_numpy(train_td), BATCH_SIZE, SEED)
    batches = [batch_td.numpy() for batch_td in itertools.islice(shuffled.batches(), training.n_steps)]
    np.save(folder / "rows.npy", train_td)
    np.save(folder / "held_out.npy", held_out_td)
    np.save(folder / "batches.npy", np.stack(batches))
    np.save(folder / "W_dec.npy", W_dec_nd / np.linalg.norm(W_dec_nd, axis=1, keepdims=True))
    np.save(folder / "b_dec.npy", train_td.mean(0, dtype=np.float64).astype(np.float32))
    settings = {
        "k": K,
        "learning_rate": training.learning_rate,
        "n_steps": training.n_steps,
        "batch_size": BATCH_SIZE,
        "device": device,
        "encoder_length": training.encoder_length,
    }
    (folder / "settings.json").write_text(json.dumps(settings), encoding="utf-8")


def _compared(folder: Path, python: str, training: Training, device: str) -> Table:
    commands = {OURS: [sys.executable, "-m", "benchmarks.sae_turns"]}
    script = str(Path(__file__).with_name("peers_train.py"))
    commands |= {title: [python, script, system] for system, title in SYSTEMS.items()}
    with contextlib.ExitStack() as stack:
        workers = {
            title: stack.enter_context(_worker(title, command, folder, device)) for title, command in commands.items()
        }
        jobs = {title: partial(worker.train, training.steps_per_turn) for title, worker in workers.items()}
        costs = measure_alternating(jobs, training.rounds)
        found = {title: worker.finished() for title, worker in workers.items()}
    held_out_td = np.load(folder / "held_out.npy")
    lengths = {None: "own starts", 1.0: "unit encoder"}
    started = lengths.get(training.encoder_length, f"encoder of length {training.encoder_length}")
    table: Table = {}
    for title, (reconstruction_td, gpu_bytes) in found.items():
        row = table[f"n={training.n_latents}, {training.n_steps} steps, {started}: {title}"] = {}
        row["FVU held out"] = f"{unexplained(held_out_td, reconstruction_td):.4f}"
        if not training.rounds:
            continue
        speeds = costs.speeds(OURS, title)
        tokens = training.steps_per_turn * BATCH_SIZE
        row["tokens/CPU-s" if device == "cpu" else "tokens/s"] = f"{tokens / costs.cpu(title):,.0f}"
        row |= {"ours is faster by": statistics.median(speeds), "least": min(speeds), "most": max(speeds)}
        if device != "cpu":
            row["GPU memory, GB"] = gpu_bytes / 1e9
    return table


def unexplained(x_td: NDArray[np.float32], reconstruction_td: NDArray[np.float32]) -> float:
    """Compute Σ‖x - x̂‖² / Σ‖x - mean‖², with the mean over these rows."""
    wide_td = x_td.astype(np.float64)
    return float(np.square(wide_td - reconstruction_td).sum() / np.square(wide_td - wide_td.mean(0)).sum())


@contextlib.contextmanager
def _worker(title: str, command: Sequence[str], folder: Path, device: str) -> Iterator["_Worker"]:
    environment = {**os.environ, **WORKER_ENVIRONMENT}
    if device == "cpu":
        environment["SPARSIFY_DISABLE_TRITON"] = "1"  # its kernels are for GPUs
    reconstructed, log = folder / f"{title}.npy", folder / f"{title}.log"
    with log.open("wb") as errors:
        process = subprocess.Popen(
            [*command, str(folder), str(reconstructed)],
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
        )
    try:
        yield _Worker(process, reconstructed, log)
    finally:
        process.kill()
        process.wait()


@dataclass(frozen=True)
class _Worker:
    """A training process; `peers_train.Turns` is its counterpart."""

    process: "subprocess.Popen[str]"
    reconstructed: Path
    log: Path

    def train(self, n_steps: int) -> Seconds:
        """Train for further steps; the process measures one kind of seconds, which stands for both."""
        seconds = self._ask(n_steps)
        return Seconds(seconds, seconds)

    def finished(self) -> tuple[NDArray[np.float32], int]:
        """Reconstruction of the held-out rows, and peak bytes of GPU memory."""
        n_bytes = int(self._ask(0))
        return np.load(self.reconstructed), n_bytes

    def _ask(self, n_steps: int) -> float:
        stdin, stdout = self.process.stdin, self.process.stdout
        assert stdin is not None
        assert stdout is not None
        with contextlib.suppress(BrokenPipeError):
            stdin.write(f"{n_steps}\n")
            stdin.flush()
        answer = stdout.readline()
        if not answer:
            raise EmergenceError(
                f"A trainer ended early: {self.log.read_text(encoding='utf-8', errors='replace')[-2000:]}",
                where=self.log.stem,
                remedy="read its output above; `make peers` makes the environment of the other libraries",
            )
        return float(answer)
