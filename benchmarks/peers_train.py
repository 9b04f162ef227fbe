"""Train one library for `sae_peers.py`, some steps per request.

Runs in `.peers` as `python peers_train.py SYSTEM FOLDER RECONSTRUCTED`. Imports nothing of this project, whose own
trainer uses `Turns` and `Task` too, so that the same clock measures both.

Shape suffixes: p steps · t rows · d d_model · n latents.
"""

import importlib
import json
import os
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from torch import Tensor


class Trainer(Protocol):
    """Trainer of a library."""

    def step(self, x_td: Tensor) -> None:
        """Run one optimiser step."""
        ...

    def reconstruct(self, x_td: Tensor) -> Tensor:
        """Reconstruct rows."""
        ...


@dataclass(frozen=True)
class Task:
    """Settings of all trainers: learning rate and first parameters, unless each library has its own start."""

    W_dec_nd: Tensor
    """Unit rows; the encoder is its transpose times a length, without bias."""
    b_dec_d: Tensor
    """Mean of the rows."""
    encoder_length: float | None
    """None leaves the first parameters to the library."""
    k: int
    learning_rate: float
    n_steps: int
    batch_size: int
    device: str

    @property
    def W_enc_nd(self) -> Tensor | None:
        """First encoder rows; None leaves the start to the library."""
        return None if self.encoder_length is None else self.W_dec_nd * self.encoder_length

    @classmethod
    def read(cls, folder: Path) -> "Task":
        """Read the folder that `sae_peers.py` fills."""
        settings = json.loads((folder / "settings.json").read_text())
        W_dec_nd, b_dec_d = (
            torch.from_numpy(np.load(folder / f"{name}.npy")).to(settings["device"]) for name in ("W_dec", "b_dec")
        )
        return cls(W_dec_nd, b_dec_d, **settings)


class Turns:
    """Requests for numbers of steps on standard input, answered with seconds on standard output.

    Args:
        device: CPU seconds of this process are measured on a CPU, wall-clock seconds on a GPU.
    """

    def __init__(self, device: str):
        self._on_gpu = device != "cpu"
        # Libraries print when they are imported, so answers have a file descriptor of their own.
        self._answers = os.fdopen(os.dup(sys.stdout.fileno()), "w")
        os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
        self._began = 0.0

    def begin(self) -> int:
        """Wait for a number of steps; 0 ends the training."""
        n_steps = int(sys.stdin.readline() or 0)
        self._began = self._seconds()
        return n_steps

    def end(self) -> None:
        """Answer with the seconds of the steps."""
        self._answers.write(f"{self._seconds() - self._began}\n")
        self._answers.flush()

    def close(self) -> None:
        """Answer with the peak bytes of GPU memory."""
        self._answers.write(f"{torch.cuda.max_memory_allocated() if self._on_gpu else 0}\n")
        self._answers.flush()

    def _seconds(self) -> float:
        if not self._on_gpu:
            return time.process_time()
        torch.cuda.synchronize()
        return time.perf_counter()


def main() -> None:
    """Train on request."""
    system, folder, reconstructed = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3])
    torch.set_num_threads(1)
    torch.manual_seed(0)
    task = Task.read(folder)
    turns = Turns(task.device)
    trainer: Trainer = importlib.import_module(f"peers_train_{system}").trainer(task)
    batches_ptd = np.load(folder / "batches.npy", mmap_mode="r")
    done = 0
    while n_steps := turns.begin():
        for batch_td in batches_ptd[done : done + n_steps]:
            trainer.step(torch.from_numpy(np.array(batch_td)).to(task.device))
        done += n_steps
        turns.end()
    held_out_td = torch.from_numpy(np.load(folder / "held_out.npy")).to(task.device)
    with torch.no_grad():
        parts = [trainer.reconstruct(x_td).float().cpu() for x_td in held_out_td.split(task.batch_size)]
    np.save(reconstructed, torch.cat(parts).numpy())
    turns.close()


if __name__ == "__main__":
    main()
