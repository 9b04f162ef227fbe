"""Dictionaries of random directions: what any directions of the residual stream tell, without training.

arXiv 2602.14111: SAEs with a frozen random encoder come near trained ones in interpretability scores and in probing.
Presence is therefore always compared with that of random encoders on the same rows (net presence, `docs/method.md`).
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from emergence_assets.saes.model.sae import SAE


def random_encoder(mean_d: Tensor, n_latents: int, k: int, seed: int) -> SAE:
    """Make an SAE of random unit directions about a mean, which keeps the k largest latents of a row.

    Its codes are those of a dictionary whose encoder keeps its random start and whose decoder is trained: codes depend
    on the encoder alone, and neither the choice of latents nor the order of their activations depends on its length.

    Args:
        mean_d: mean of the rows, float32.
        n_latents: dictionary size.
        k: active latents per row, for SAE variants with a varying number too, so that sparsity is equal.
        seed: seed of the directions.
    """
    generator = torch.Generator().manual_seed(seed)
    W_nd = F.normalize(torch.randn(n_latents, len(mean_d), generator=generator), dim=1).to(mean_d.device)
    return SAE(W_enc_nd=W_nd, b_enc_n=torch.zeros(n_latents, device=mean_d.device), W_dec_nd=W_nd, b_dec_d=mean_d, k=k)
