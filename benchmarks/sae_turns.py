"""Run our trainer as a process that trains in turns, with the task and clock of the other libraries."""

import sys
from pathlib import Path

import numpy as np
import torch

from benchmarks.peers_train import Task, Turns
from emergence_assets.saes.model.sae import SAE
from emergence_assets.saes.training.batches import SAEJob, WarmStart
from emergence_assets.saes.training.options import TrainingOptions
from emergence_assets.saes.training.training import train_saes
from emergence_assets.study.sae import SAESettings

CONSTANT_RATE = TrainingOptions(warm_up_steps=0, decay_fraction=0.0)
SEED = 0
"""Seed of the order of the rows; the other libraries have the same batches."""


def main() -> None:
    """Train on request."""
    folder, reconstructed = Path(sys.argv[1]), Path(sys.argv[2])
    task = Task.read(folder)
    turns = Turns(task.device)
    start = None
    if task.W_enc_nd is not None:
        b_enc_n = task.W_dec_nd.new_zeros(len(task.W_dec_nd))
        start = SAE(task.W_enc_nd, b_enc_n, task.W_dec_nd, task.b_dec_d, task.k)
    # Copy-on-write, so that the rows need no copy; no code writes to them.
    job = SAEJob(np.load(folder / "rows.npy", mmap_mode="c"), SEED, warm_start=WarmStart(start) if start else None)
    left = turns.begin()

    def report(*_: object) -> None:
        # Below 200 steps every step is reported: the process waits here for its next turn.
        nonlocal left
        left -= 1
        if left == 0:
            turns.end()
            left = turns.begin()

    sae = train_saes([job], settings_of(task), task.device, report, options=CONSTANT_RATE)[0].sae
    held_out_td = torch.from_numpy(np.load(folder / "held_out.npy"))
    parts = [sae.reconstruct(x_td.to(task.device)).cpu() for x_td in held_out_td.split(task.batch_size)]
    np.save(reconstructed, torch.cat(parts).numpy())
    turns.close()


def settings_of(task: Task) -> SAESettings:
    """Return the settings of the task, with a constant learning rate."""
    return SAESettings(
        k=task.k,
        n_latents=len(task.W_dec_nd),
        n_steps=task.n_steps,
        batch_size=task.batch_size,
        learning_rate=task.learning_rate,
    )


if __name__ == "__main__":
    main()
