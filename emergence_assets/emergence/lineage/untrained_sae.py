"""An untrained dictionary on the same read-outs: an SAE before its first training step."""

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from emergence_assets.saes.model.sae import SAE

SEED_OFFSET = 1_000_003
"""Offset from the seeds of trained SAEs, which start from such directions: a null must not share their start."""


def untrained_sae(read_out_pd: NDArray[np.float32], n_latents: int, k: int, seed: int) -> SAE:
    """Return a TopK SAE of random unit directions, with equal encoder, centred at the mean of the read-outs.

    Args:
        read_out_pd: read-outs, texts × d_model.
        n_latents: dictionary size.
        k: active latents per text.
        seed: seed of the directions, shifted so that no trained SAE starts from the same.
    """
    generator = torch.Generator().manual_seed(SEED_OFFSET + seed)
    direction_nd = F.normalize(torch.randn(n_latents, read_out_pd.shape[1], generator=generator), dim=1)
    mean_d = torch.from_numpy(read_out_pd.mean(axis=0, dtype=np.float64).astype(np.float32))
    return SAE(direction_nd, torch.zeros(n_latents), direction_nd, mean_d, k=k)
