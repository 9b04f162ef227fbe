"""The most memory that a training takes, against what it is said to take."""

import itertools

import torch

from benchmarks.rounds import Table, measured_by_a_worker, peak_anonymous_bytes
from benchmarks.sae_steps import MIDDLE, WIDE, Shape, recipe
from emergence_assets.saes.model.pre_activations import chunks
from emergence_assets.saes.training.training import train_sae

N_STEPS = 6
N_ROWS = (8192, 65_536)
"""Few and many: moments of the input take memory by the row."""
MB = 1e6


def measure_sae_memory() -> Table:
    """Peaks, and the ratio to parameters, gradients and two moments, a chunk of pre-activations, a batch."""
    table: Table = {}
    for shape, n_rows in itertools.product((MIDDLE, WIDE), N_ROWS):
        d_model, n_latents, _, batch_size = shape
        start, stop = next(iter(chunks(batch_size, n_latents)))
        parts = {
            "parameters x 4, MB": 16 * (2 * n_latents * d_model + n_latents + d_model),
            "a chunk, MB": 4 * (stop - start) * n_latents,
            "a batch, MB": 4 * batch_size * d_model,
        }
        # Each in a fresh process: what one has freed another would use again.
        peak = measured_by_a_worker("benchmarks.sae_memory:peak_bytes", shape, n_rows)
        table[f"d={d_model} n={n_latents}, {n_rows} rows"] = {
            "peak, MB": peak / MB,
            **{name: n_bytes / MB for name, n_bytes in parts.items()},
            "peak for their sum": peak / sum(parts.values()),
        }
    return table


def peak_bytes(shape: Shape, n_rows: int) -> int:
    """Of one training; rows are in memory before, so that they do not count."""
    d_model = shape[0]
    # Nothing is freed in making them that training could use again.
    rows_td = torch.empty(n_rows, d_model).normal_(generator=torch.Generator().manual_seed(0))
    train_sae(rows_td[:64], recipe((d_model, 64, 4, 64), 2), 0)  # brings in what the libraries need for themselves
    with peak_anonymous_bytes() as peak:
        train_sae(rows_td, recipe(shape, N_STEPS), 0)
    return peak[0]
