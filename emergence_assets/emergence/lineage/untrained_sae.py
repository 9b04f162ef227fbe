"""The dictionary that nobody trained: what an SAE is before its first step, on the same read-outs."""

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from emergence_assets.saes.model.sae import SAE

SEED_OFFSET = 1_000_003
"""Away from the seeds of trained SAEs, which start from such directions: a null with one of those were a relative."""


def untrained_sae(read_out_pd: NDArray[np.float32], n_latents: int, k: int, seed: int) -> SAE:
    """A TopK SAE of random unit directions, encoder along them, centred at the mean of the read-outs.

    Args:
        read_out_pd: texts × d_model.
        n_latents: dictionary size.
        k: active latents per text.
        seed: decides the directions; unlike those of any SAE that is trained.
    """
    generator = torch.Generator().manual_seed(SEED_OFFSET + seed)
    direction_nd = F.normalize(torch.randn(n_latents, read_out_pd.shape[1], generator=generator), dim=1)
    mean_d = torch.from_numpy(read_out_pd.mean(axis=0, dtype=np.float64).astype(np.float32))
    return SAE(direction_nd, torch.zeros(n_latents), direction_nd, mean_d, k=k)
