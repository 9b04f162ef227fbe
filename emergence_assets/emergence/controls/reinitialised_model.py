"""A checkpoint whose weights say nothing: the controls `reinit_full` and `reinit_keep_embed`. T: imports torch.

Heap, Lawson, Farnik and Aitchison (arXiv 2501.17727): SAEs on transformers with re-sampled weights look much like those
on trained ones, so that what holds there too is no sign of training. Unlike at step 0, norms and scales are trained.
"""

import zlib

import torch
from torch import nn


@torch.no_grad()
def reinitialise(model: nn.Module, seed: int, *, keep_embedding: bool) -> None:
    """Replace every parameter, in place, by Gaussian numbers with the mean and deviation that it has.

    The numbers of a parameter hang on the seed and its name alone: both controls share those they have in common.

    Args:
        model: any model.
        seed: of the numbers.
        keep_embedding: leave embeddings as they were trained, those of positions too.
    """
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
