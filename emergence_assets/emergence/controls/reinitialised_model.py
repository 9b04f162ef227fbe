"""A checkpoint with re-drawn weights: the control `reinit_keep_embed`. Imports torch.

Heap, Lawson, Farnik and Aitchison (arXiv 2501.17727): SAEs on transformers with re-sampled weights look much like SAEs
on trained transformers. A result that holds for re-drawn weights is therefore no sign of training. Unlike at step 0,
means and scales of the weights are those of the trained model.
"""

import zlib

import torch
from torch import nn

from emergence_assets.checkpoints.models.placement import require_in_memory


@torch.no_grad()
def reinitialise(model: nn.Module, seed: int, *, keep_embedding: bool) -> None:
    """Replace every parameter, in place, by Gaussian numbers with its own mean and standard deviation.

    The numbers of a parameter depend only on the seed and its name.

    Args:
        model: any model.
        seed: seed of the numbers.
        keep_embedding: keep the trained embeddings, position embeddings included.

    Raises:
        EmergenceError: weights of the model are in files.
    """
    require_in_memory(model)
    kept = {
        id(parameter)
        for module in model.modules()
        if keep_embedding and isinstance(module, nn.Embedding)
        for parameter in module.parameters()
    }
    for name, parameter in model.named_parameters():
        if id(parameter) in kept:
            continue
        generator = torch.Generator().manual_seed(seed * 1_000_003 + zlib.crc32(name.encode()))
        trained = parameter.float()
        deviation = trained.std(correction=0)
        numbers = torch.randn(parameter.shape, generator=generator).to(parameter.device)
        parameter.copy_(numbers * deviation + trained.mean())
