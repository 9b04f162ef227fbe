"""Rows with a known dictionary, random parameters, and training of a single SAE."""

import math

import torch
import torch.nn.functional as F

from emergence_assets.saes.model.stack import Parameters
from emergence_assets.saes.training.batches import SAEJob
from emergence_assets.saes.training.training import TrainedSAE, train_saes
from emergence_assets.study.sae import SAESettings


def planted(n_rows=6000, d_model=48, n_atoms=96, n_active=4, seed=0):
    """Make rows that are sums of a few known directions, far from the origin and not of unit size."""
    generator = torch.Generator().manual_seed(seed)
    atoms_nd = F.normalize(torch.randn(n_atoms, d_model, generator=generator), dim=1)
    # Zipf-like: some directions are ten times as frequent as others.
    frequency_n = (1 + torch.arange(n_atoms)) ** -0.5
    indices = torch.multinomial(frequency_n.expand(n_rows, -1), n_active, generator=generator)
    values = 0.5 + torch.rand(n_rows, n_active, generator=generator)
    sums_td = F.embedding_bag(indices, atoms_nd, per_sample_weights=values, mode="sum")
    noise_td = 0.01 * torch.randn(n_rows, d_model, generator=generator)
    return 7 * (sums_td + noise_td) + 20 * torch.randn(d_model, generator=generator), atoms_nd


def random_parameters(d_model=24, n_latents=80, seed=0, n_members=1, with_threshold=False, dtype=torch.float32):
    """Make a random stack of the given shape."""
    generator = torch.Generator().manual_seed(seed)

    def draw(*shape):
        return torch.randn(n_members, *shape, generator=generator, dtype=dtype)

    return Parameters(
        W_enc_gnd=draw(n_latents, d_model) / math.sqrt(d_model),
        b_enc_gn=0.1 * draw(n_latents),
        W_dec_gnd=F.normalize(draw(n_latents, d_model), dim=-1),
        b_dec_gd=0.1 * draw(d_model),
        log_threshold_gn=0.3 * draw(n_latents) if with_threshold else None,
    )


def train_sae(x_td, settings: SAESettings, seed: int, **options) -> TrainedSAE:
    """Train a stack of one."""
    return train_saes([SAEJob(x_td, seed)], settings, **options)[0]
