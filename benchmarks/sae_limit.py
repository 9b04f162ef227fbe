"""How much of a training step is the encoder's product, which no exact selection can do without."""

import statistics
import time
from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F

from benchmarks.rounds import Table, told_in_turns
from benchmarks.sae_steps import MIDDLE, SMALL, WIDE, Shape, recipe, rows, trained
from emergence_assets.saes.model.pre_activations import chunks, pre_activations
from emergence_assets.saes.training.batches import Member

N_STEPS = {SMALL: 100, MIDDLE: 10, WIDE: 4}
"""Shape → steps of a training, of which the first does not count."""


def measure_sae_limit() -> Table:
    """Milliseconds, and the share of the product: medians of the rounds, least and most. For a worker."""
    table: Table = {}
    for shape, n_steps in N_STEPS.items():
        d_model, n_latents, _, batch_size = shape
        rows_td = rows(shape)
        x_td = torch.from_numpy(rows_td[:batch_size])
        W_enc_nd = F.normalize(torch.randn(n_latents, d_model, generator=torch.Generator().manual_seed(0)), dim=1)
        b_enc_n = torch.zeros(n_latents)

        def chunked(x_td=x_td, W_enc_nd=W_enc_nd, b_enc_n=b_enc_n) -> None:
            for start, stop in chunks(len(x_td), len(W_enc_nd)):
                pre_activations(x_td[start:stop], W_enc_nd, b_enc_n)

        def by_torch(x_td=x_td, W_enc_nd=W_enc_nd, b_enc_n=b_enc_n) -> None:
            F.linear(x_td, W_enc_nd, b_enc_n)

        jobs = {
            "step": lambda rows_td=rows_td, shape=shape, n=n_steps: _seconds_per_step(rows_td, shape, n),
            "product": lambda job=chunked, n=n_steps: _seconds_each(job, n),
            "torch": lambda job=by_torch, n=n_steps: _seconds_each(job, n),
        }
        costs = told_in_turns(jobs)
        shares = [1 / ratio for ratio in costs.speeds("product", "step")]
        table[f"d={d_model} n={n_latents}"] = {
            "step, ms": 1e3 * costs.cpu("step"),
            "product, ms": 1e3 * costs.cpu("product"),
            "GFLOP/s of it": 2e-9 * batch_size * d_model * n_latents / costs.cpu("product"),
            "F.linear, ms": 1e3 * costs.cpu("torch"),
            "share of the step": statistics.median(shares),
            "least": min(shares),
            "most": max(shares),
        }
    return table


def _seconds_per_step(rows_td: np.ndarray, shape: Shape, n_steps: int) -> float:
    return trained([Member(rows_td, 0)], recipe(shape, n_steps))[1].cpu_seconds / (n_steps - 1)


def _seconds_each(job: Callable[[], object], times: int) -> float:
    began = time.process_time()
    for _ in range(times):
        job()
    return (time.process_time() - began) / times
