"""Our trainer as a process that trains in turns, on the same task and by the same clock as those of others."""

import sys
from pathlib import Path

import numpy as np
import torch

from benchmarks.peers_train import Task, Turns
from emergence_assets.saes.model.sae import SAE
from emergence_assets.saes.model.variants import TopK
from emergence_assets.saes.training.batches import Member, Start
from emergence_assets.saes.training.settings import SAERecipe
from emergence_assets.saes.training.training import train_saes

SEED = 0
"""Of the order of the rows: that of the batches which others read."""


def main() -> None:
    """Train as told."""
    folder, reconstructed = Path(sys.argv[1]), Path(sys.argv[2])
    task = Task.read(folder)
    turns = Turns(task.device)
    start = None
    if task.W_enc_nd is not None:
        b_enc_n = task.W_dec_nd.new_zeros(len(task.W_dec_nd))
        start = SAE(task.W_enc_nd, b_enc_n, task.W_dec_nd, task.b_dec_d, task.k)
    # Rows of a file, written to by nobody: copied on writing, so that they need not be copied before.
    member = Member(np.load(folder / "rows.npy", mmap_mode="c"), SEED, start=Start(start) if start else None)
    left = turns.begin()

    def report(*_: object) -> None:
        # Below 200 steps every step is reported: here it waits for its next turn.
        nonlocal left
        left -= 1
        if left == 0:
            turns.end()
            left = turns.begin()

    sae = train_saes([member], recipe_of(task), task.device, report)[0].sae
    held_out_td = torch.from_numpy(np.load(folder / "held_out.npy"))
    parts = [sae.reconstruct(x_td.to(task.device)).cpu() for x_td in held_out_td.split(task.batch_size)]
    np.save(reconstructed, torch.cat(parts).numpy())
    turns.close()


def recipe_of(task: Task) -> SAERecipe:
    """A learning rate that stays the same from the first step on."""
    return SAERecipe(
        activation=TopK(task.k),
        n_latents=len(task.W_dec_nd),
        n_steps=task.n_steps,
        batch_size=task.batch_size,
        learning_rate=task.learning_rate,
        warm_up_steps=0,
        decay_fraction=0.0,
    )


if __name__ == "__main__":
    main()
