"""Change the weights of a model, or bypass a block, while a context lasts: compression and its controls.

Only the matrices of the linear layers and of experts inside the blocks are changed; embeddings, unembedding, norms and
biases stay, as in common quantisation schemes. Quantisation is simulated: weights are rounded to values of the given
bit width, and the computation stays in the original data type. It measures the loss of precision, not the speed.

Shape suffixes: o outputs, i inputs of a linear layer.
"""

import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers.pytorch_utils import Conv1D

from emergence_assets.checkpoints.models.blocks import blocks
from emergence_assets.checkpoints.models.placement import require_in_memory
from emergence_assets.checkpoints.models.stream import changed_stream, residual_stream

Change = Callable[[str, Tensor], Tensor]
"""Function from the name of a matrix and its weights [o, i] to changed weights."""


@dataclass(frozen=True)
class WeightChange:
    """Distance of the weights of a variant from the weights of the model."""

    relative_norm: float
    """Norm of the change of the matrices, divided by the norm of the matrices."""
    density: float
    """Share of weights that are not zero."""


def quantised(weight_oi: Tensor, bits: int) -> Tensor:
    """Round each row to multiples of its largest absolute value over 2^(bits - 1) - 1; symmetric, zero stays zero."""
    n_levels = 2 ** (bits - 1) - 1
    scale_o1 = weight_oi.abs().amax(dim=1, keepdim=True).clamp_min(torch.finfo(weight_oi.dtype).tiny) / n_levels
    return (weight_oi / scale_o1).round().clamp(-n_levels, n_levels) * scale_o1


def pruned(weight_oi: Tensor, share: float) -> Tensor:
    """Set the share of weights with the smallest absolute values to zero, over the whole matrix (magnitude pruning)."""
    n_gone = round(share * weight_oi.numel())
    if n_gone == 0:
        return weight_oi.clone()
    gone = weight_oi.abs().flatten().topk(n_gone, largest=False).indices
    return weight_oi.flatten().index_fill(0, gone, 0).view_as(weight_oi)


VARIANTS: dict[str, Callable[[Tensor], Tensor]] = {
    "int8": lambda weight_oi: quantised(weight_oi, 8),
    "int4": lambda weight_oi: quantised(weight_oi, 4),
    "prune50": lambda weight_oi: pruned(weight_oi, 0.5),
}
BITS = {"int8": 8, "int4": 4}
"""Bits per weight of the quantised variants."""


def compressed(variant: str) -> Change:
    """Return the change of a named variant."""
    return lambda _name, weight_oi: VARIANTS[variant](weight_oi)


def noise_like(variant: str, seed: int) -> Change:
    """Add Gaussian noise with the norm of the change of a variant, matrix by matrix: the control for its size."""

    def change(name: str, weight_oi: Tensor) -> Tensor:
        size = (VARIANTS[variant](weight_oi) - weight_oi).norm()
        generator = torch.Generator().manual_seed(zlib.crc32(f"{seed} {variant} {name}".encode()))
        noise_oi = torch.randn(weight_oi.shape, generator=generator).to(weight_oi)
        return weight_oi + noise_oi * (size / noise_oi.norm())

    return change


@contextmanager
def changed_weights(model: PreTrainedModel, change: Change, blocks_name: str | None = None) -> Iterator[WeightChange]:
    """Change the matrices of the blocks while the context lasts; the weights are always restored.

    Raises:
        EmergenceError: weights of the model are in files.
    """
    require_in_memory(model)
    own: dict[nn.Parameter, Tensor] = {}
    squares = {"change": 0.0, "own": 0.0, "nonzero": 0.0, "weights": 0.0}
    try:
        for name, parameter, is_transposed in _matrices(blocks(model, blocks_name)):
            if parameter in own:
                continue  # shared by several blocks
            weight = own[parameter] = parameter.data
            weight_oi = weight.mT if is_transposed else weight
            other_oi = (
                torch.stack([change(f"{name} {expert}", one_oi) for expert, one_oi in enumerate(weight_oi)])
                if weight.ndim == 3
                else change(name, weight_oi)
            )
            squares["change"] += float((other_oi - weight_oi).double().square().sum())
            squares["own"] += float(weight_oi.double().square().sum())
            squares["nonzero"] += float((other_oi != 0).sum())
            squares["weights"] += other_oi.numel()
            parameter.data = other_oi.mT if is_transposed else other_oi
        yield WeightChange((squares["change"] / squares["own"]) ** 0.5, squares["nonzero"] / squares["weights"])
    finally:
        for parameter, weight in own.items():
            parameter.data = weight


def _matrices(block_list: nn.ModuleList) -> Iterator[tuple[str, nn.Parameter, bool]]:
    """Yield every matrix, or stack of the matrices of experts, with its name and whether it is stored as [i, o]."""
    for name, module in block_list.named_modules():
        if isinstance(module, nn.Linear | Conv1D):
            yield name, module.get_parameter("weight"), isinstance(module, Conv1D)  # of GPT-2
        elif not isinstance(module, nn.Conv1d):
            for path, parameter in module.named_parameters(recurse=False):
                if parameter.ndim == 3 and min(parameter.shape) > 1:
                    yield f"{name}.{path}", parameter, bool(getattr(module, "is_transposed", False))


@contextmanager
def bypassed_block(model: PreTrainedModel, layer: int, blocks_name: str | None = None) -> Iterator[None]:
    """Replace one block by the identity while the context lasts."""
    with (
        residual_stream(model, (layer - 1,), blocks_name) as stream,
        changed_stream(model, {layer: lambda _: stream[layer - 1]}, blocks_name),
    ):
        yield
