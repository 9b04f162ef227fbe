"""What the variants of an SAE cost for TopK's 1."""

import statistics
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from benchmarks.rounds import Table, told_in_turns
from benchmarks.sae_steps import MIDDLE, recipe, rows, trained
from emergence_assets.saes.model.sae import SAE
from emergence_assets.saes.model.variants import BatchTopK, JumpReLU, TopK
from emergence_assets.saes.training.aux_k import AuxK
from emergence_assets.saes.training.batches import Member, Start
from emergence_assets.saes.training.settings import SAERecipe

N_STEPS = 10
N_WEAK = 1024
"""Latents whose encoder is too short to be among the largest: those that AuxK revives."""
TOPK = "TopK"


def measure_sae_variants() -> Table:
    """Milliseconds per step and the ratio to TopK: medians of the rounds, least and most. For a worker."""
    _, n_latents, k, batch_size = MIDDLE
    rows_td = rows(MIDDLE)
    plain = Member(rows_td, 0)
    with_dead = Member(rows_td, 0, start=Start(_with_weak_latents(n_latents, k, rows_td.mean(0))))
    one_batch: dict[str, Any] = {"dead_window_tokens": batch_size}
    trainings: dict[str, tuple[Member, SAERecipe]] = {
        TOPK: (plain, recipe(MIDDLE, N_STEPS)),
        "BatchTopK": (plain, recipe(MIDDLE, N_STEPS, BatchTopK(k))),
        "JumpReLU": (plain, recipe(MIDDLE, N_STEPS, JumpReLU(k))),
        "TopK, prefixes of 128, 512, 2048": (plain, recipe(MIDDLE, N_STEPS, TopK(k, prefixes=(128, 512, 2048)))),
        "TopK, weak latents": (with_dead, recipe(MIDDLE, N_STEPS, **one_batch)),
        "the same with AuxK": (with_dead, recipe(MIDDLE, N_STEPS, aux_k=AuxK(every_steps=1), **one_batch)),
    }
    n_dead: dict[str, int] = {}

    def seconds_per_step(name: str) -> float:
        member, how = trainings[name]
        (sae,), clock = trained([member], how)
        n_dead[name] = round(sae.dead_fraction * n_latents)
        return clock.cpu_seconds / (N_STEPS - 1)

    costs = told_in_turns({name: lambda name=name: seconds_per_step(name) for name in trainings})
    table: Table = {}
    for name in trainings:
        ratios = costs.speeds(TOPK, name)
        table[name] = {
            "ms per step": 1e3 * costs.cpu(name),
            "of TopK": statistics.median(ratios),
            "least": min(ratios),
            "most": max(ratios),
            "dead at the end": n_dead[name] if "weak" in name or "AuxK" in name else "",
        }
    return table


def _with_weak_latents(n_latents: int, k: int, mean_d: np.ndarray) -> SAE:
    draw = torch.Generator().manual_seed(0)
    W_dec_nd = F.normalize(torch.randn(n_latents, len(mean_d), generator=draw), dim=1)
    W_enc_nd = W_dec_nd.clone()
    W_enc_nd[:N_WEAK] *= 0.1
    return SAE(W_enc_nd, torch.zeros(n_latents), W_dec_nd, torch.from_numpy(mean_d), k)
