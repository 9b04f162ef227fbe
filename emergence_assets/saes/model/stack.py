"""Stack of SAEs of one shape: parameters [g, n, d], so that all members train in one set of kernels.

A stack of g members is also one dictionary of g·n latents and a batch of g·t tokens; each token uses only the latents
of its own member. All code except the dense product uses this form.

Shape suffixes: g members, t tokens, d d_model, n latents.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from emergence_assets.saes.model.sae import SAE


class Parameters(NamedTuple):
    """Parameters of a stack, on scaled input, or their gradients."""

    W_enc_gnd: Tensor
    b_enc_gn: Tensor
    W_dec_gnd: Tensor
    b_dec_gd: Tensor
    log_threshold_gn: Tensor | None = None
    """Logarithm of the thresholds, so that thresholds stay positive; None for variants that do not learn thresholds."""

    def tensors(self) -> list[Tensor]:
        """Return the tensors that are present, in order."""
        return [tensor for tensor in self if tensor is not None]

    @property
    def n_members(self) -> int:
        """Number of SAEs."""
        return self.W_enc_gnd.shape[0]

    @property
    def n_latents(self) -> int:
        """Dictionary size of each SAE."""
        return self.W_enc_gnd.shape[1]

    def member(self, g: int) -> "Parameters":
        """Return one SAE as a stack of one; memory is shared."""
        return Parameters(*(tensor[g : g + 1] for tensor in self.tensors()))

    @classmethod
    def stacked(cls, members: Sequence["Parameters"]) -> "Parameters":
        """Join stacks to one stack; memory is not shared."""
        return cls(*(torch.cat(column) for column in zip(*(member.tensors() for member in members), strict=True)))


def fold_input_scale(
    parameters: Parameters, mean_d: Tensor, scale: float, k: int | None, threshold_n: Tensor | None = None
) -> SAE:
    """Return the SAE on raw rows x that equals the only member on (x - mean) / scale, times scale, plus mean.

    relu, top-k and scaled thresholds commute with a positive factor. Therefore the weights stay, and only biases and
    thresholds are scaled.
    """
    return SAE(
        W_enc_nd=parameters.W_enc_gnd[0].clone(),
        b_enc_n=parameters.b_enc_gn[0] * scale,
        W_dec_nd=parameters.W_dec_gnd[0].clone(),
        b_dec_d=parameters.b_dec_gd[0] * scale + mean_d,
        k=k,
        threshold_n=None if threshold_n is None else threshold_n * scale,
    )


def unfold_input_scale(sae: SAE, mean_d: Tensor, scale: float, *, with_threshold: bool) -> Parameters:
    """Return an SAE on raw rows as a stack of one on (x - mean) / scale: the inverse of `fold_input_scale`."""
    threshold_n = sae.threshold_n if with_threshold and sae.threshold_n is not None else None
    return Parameters(
        W_enc_gnd=sae.W_enc_nd.clone()[None],
        b_enc_gn=(sae.b_enc_n / scale)[None],
        W_dec_gnd=sae.W_dec_nd.clone()[None],
        b_dec_gd=((sae.b_dec_d - mean_d) / scale)[None],
        log_threshold_gn=None if threshold_n is None else (threshold_n / scale).log()[None],
    )
