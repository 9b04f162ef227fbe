"""The optimiser step: fused Adam without weight decay, and gradient clipping, for all members of a stack at once."""

from typing import NamedTuple

import torch
from torch import Tensor

from emergence_assets.saes.stack import Parameters


class Adam(NamedTuple):
    """Adam without weight decay, all parameters in one kernel.

    Not `torch.optim.Adam`, whose constructor imports the compiler (1.2 s per process, as long as a small training).
    """

    parameters: list[Tensor]
    means: list[Tensor]
    squares: list[Tensor]
    n_steps: list[Tensor]
    betas: tuple[float, float]
    eps: float

    @classmethod
    def of(cls, parameters: Parameters, betas: tuple[float, float], eps: float) -> "Adam":
        """A fresh optimiser for these parameters, which it changes in place."""
        tensors = parameters.tensors()
        means, squares = ([torch.zeros_like(parameter) for parameter in tensors] for _ in range(2))
        # One counter, on the device, serves all parameters: the kernel asks for one each, and only reads them.
        counter = torch.zeros((), device=parameters.b_dec_gd.device)
        return cls(tensors, means, squares, [counter] * len(tensors), betas, eps)

    def step(self, gradients: Parameters, learning_rate: float) -> None:
        """One update of all parameters."""
        self.n_steps[0].add_(1)
        torch._fused_adam_(
            self.parameters,
            gradients.tensors(),
            self.means,
            self.squares,
            [],
            self.n_steps,
            lr=learning_rate,
            beta1=self.betas[0],
            beta2=self.betas[1],
            weight_decay=0.0,
            eps=self.eps,
            amsgrad=False,
            maximize=False,
        )


def clip(gradients: Parameters, clip_norm: float) -> None:
    """Scale gradients down, in place, so that each member's joint norm is at most `clip_norm`."""
    tensors = gradients.tensors()
    norms_pg = torch.stack([torch.linalg.vector_norm(gradient.flatten(1), dim=1) for gradient in tensors])
    factor_g = (clip_norm / torch.linalg.vector_norm(norms_pg, dim=0)).clamp(max=1.0)
    for gradient in tensors:
        gradient.mul_(factor_g.view(-1, *[1] * (gradient.ndim - 1)))
