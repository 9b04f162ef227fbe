"""The optimiser step: fused Adam without weight decay, and gradient clipping, for all members of a stack at once."""

from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor

from emergence_assets.saes.model.stack import Parameters

BETAS = (0.9, 0.999)


class Adam(NamedTuple):
    """Adam without weight decay, with one kernel per parameter.

    The constructor of `torch.optim.Adam` would import the compiler (1.2 s per process, as long as a small training).
    """

    parameters: dict[str, Tensor]
    """Parameters by field of `Parameters`."""
    means: dict[str, Tensor]
    squares: dict[str, Tensor]
    n_steps: Tensor
    """Number of steps, a scalar on the device."""
    eps: float

    @classmethod
    def of(cls, parameters: Parameters, eps: float) -> "Adam":
        """Make an optimiser that changes these parameters in place."""
        tensors = {name: tensor for name, tensor in parameters._asdict().items() if tensor is not None}
        means, squares = ({name: torch.zeros_like(tensor) for name, tensor in tensors.items()} for _ in range(2))
        return cls(tensors, means, squares, torch.zeros((), device=parameters.b_dec_gd.device), eps)

    def begin_step(self) -> None:
        """Count a step; call it before the first parameter of the step is updated."""
        self.n_steps.add_(1)

    def update(self, name: str, gradient: Tensor, learning_rate: float) -> None:
        """Update one parameter."""
        torch._fused_adam_(
            [self.parameters[name]],
            [gradient],
            [self.means[name]],
            [self.squares[name]],
            [],
            [self.n_steps],
            lr=learning_rate,
            beta1=BETAS[0],
            beta2=BETAS[1],
            weight_decay=0.0,
            eps=self.eps,
            amsgrad=False,
            maximize=False,
        )


def clip(gradients: Mapping[str, Tensor], clip_norm: float) -> None:
    """Scale gradients down, in place, so that each member's joint norm is at most `clip_norm`."""
    tensors = list(gradients.values())
    norms_pg = torch.stack([torch.linalg.vector_norm(gradient.flatten(1), dim=1) for gradient in tensors])
    factor_g = (clip_norm / torch.linalg.vector_norm(norms_pg, dim=0)).clamp(max=1.0)
    for gradient in tensors:
        gradient.mul_(factor_g.view(-1, *[1] * (gradient.ndim - 1)))
