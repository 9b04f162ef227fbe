"""The SAE trainer against the same loss by dense autograd, in alternating rounds on one thread."""

import statistics
import time
from collections.abc import Callable

import torch
from torch import nn

from emergence_assets.saes.model.variants import TopK
from emergence_assets.saes.training.settings import SAERecipe
from emergence_assets.saes.training.training import train_sae

ROUNDS = 3
SHAPES = ((96, 512, 16, 1024, 60), (512, 4096, 32, 2048, 6))
"""(d_model, n_latents, k, batch size, steps): the default study, and a middle-sized SAE."""


def measure_sae_step() -> dict[str, float]:
    """Milliseconds per step and the ratio, by shape."""
    torch.set_num_threads(1)
    figures: dict[str, float] = {}
    for d_model, n_latents, k, batch_size, n_steps in SHAPES:
        rows_td = torch.randn(4 * batch_size, d_model, generator=torch.Generator().manual_seed(0))
        recipe = SAERecipe(activation=TopK(k), n_latents=n_latents, n_steps=n_steps, batch_size=batch_size)
        ours: list[float] = []
        dense: list[float] = []
        for _ in range(ROUNDS):
            ours.append(_milliseconds(_train_ours, rows_td, recipe))
            dense.append(_milliseconds(_train_dense, rows_td, recipe))
        name = f"d={d_model} n={n_latents} k={k}"
        figures[f"{name}: ours, ms"] = statistics.median(ours)
        figures[f"{name}: dense autograd, ms"] = statistics.median(dense)
        figures[f"{name}: dense / ours"] = statistics.median(dense) / statistics.median(ours)
    return figures


def _milliseconds(train: Callable[[torch.Tensor, SAERecipe], None], rows_td: torch.Tensor, recipe: SAERecipe) -> float:
    began = time.process_time()
    train(rows_td, recipe)
    return (time.process_time() - began) * 1000 / recipe.n_steps


def _train_ours(rows_td: torch.Tensor, recipe: SAERecipe) -> None:
    train_sae(rows_td, recipe, 0)


def _train_dense(rows_td: torch.Tensor, recipe: SAERecipe) -> None:
    """TopK by scatter, decoder by a dense product, gradients by autograd, Adam as torch has it by default."""
    d_model, k = rows_td.shape[1], recipe.activation.k
    W_dec = nn.functional.normalize(torch.randn(recipe.n_latents, d_model), dim=1)
    parameters = [nn.Parameter(x) for x in (W_dec.clone(), torch.zeros(recipe.n_latents), W_dec, torch.zeros(d_model))]
    W_enc_nd, b_enc_n, W_dec_nd, b_dec_d = parameters
    optimiser = torch.optim.Adam(parameters, lr=recipe.learning_rate)
    for step in range(recipe.n_steps):
        start = step * recipe.batch_size % len(rows_td)
        x_td = rows_td[start : start + recipe.batch_size]
        pre_tn = (x_td - b_dec_d) @ W_enc_nd.T + b_enc_n
        values_tk, indices_tk = pre_tn.relu().topk(k, dim=1)
        acts_tn = torch.zeros_like(pre_tn).scatter(1, indices_tk, values_tk)
        loss = (acts_tn @ W_dec_nd + b_dec_d - x_td).pow(2).sum() / len(x_td)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        with torch.no_grad():
            W_dec_nd /= W_dec_nd.norm(dim=1, keepdim=True)
