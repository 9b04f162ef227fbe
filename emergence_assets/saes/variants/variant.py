"""Interface of an SAE variant: selection of active latents, and gradients beside those of the common loss.

Latents of a stack are numbered as in one dictionary; rows are ordered by member, then by token.

Shape suffixes: g members of a stack, t tokens, d d_model, n latents, s slots, p optimiser steps.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

from torch import Tensor

from emergence_assets.saes.model.latents import Latents, joined
from emergence_assets.saes.model.pre_activations import chunks, pre_activations
from emergence_assets.saes.model.stack import Parameters
from emergence_assets.saes.training.sparse_gradients import SparseGradients


class Encoded(NamedTuple):
    """Latents of one training batch."""

    latents: Latents
    """Active latents of every member; a slot of value 0 is inactive."""
    threshold_g: Tensor | None = None
    """BatchTopK: smallest pre-activation that is selected in the batch."""
    pre_s: Tensor | None = None
    """JumpReLU: pre-activation of every slot, also of slots just below their threshold."""


@dataclass(frozen=True)
class Variant(ABC):
    """One variant at one sparsity."""

    k: int
    """Active latents per token: exactly, on average, or as a target."""

    exactly_k: ClassVar[bool] = False
    """Whether every token has k latents, also after training; otherwise a trained SAE selects by thresholds."""
    learns_thresholds: ClassVar[bool] = False
    """Whether `Parameters.log_threshold_gn` is trained."""
    description: ClassVar[str]
    """Description of the active latents of a token, for the model card of an export."""

    @abstractmethod
    def encode(self, centred_gtd: Tensor, parameters: Parameters, guess_g: Tensor | None = None) -> Encoded:
        """Select the latents of a training batch.

        Args:
            centred_gtd: scaled input minus each member's b_dec.
            parameters: parameters of the stack.
            guess_g: BatchTopK: threshold of the previous batch, which saves time and does not change the result.
        """

    @abstractmethod
    def trained_selection(self, parameters: Parameters, threshold_p: Tensor) -> tuple[int | None, Tensor | None]:
        """Return k or the thresholds [n], in units of the scaled input, of one member after training.

        Args:
            parameters: parameters of a stack of one.
            threshold_p: `Encoded.threshold_g` of that member at every step.
        """

    def encode_first(self, centred_gtd: Tensor, parameters: Parameters) -> Latents:
        """Select latents of the first batch, before thresholds are known."""
        return self.encode(centred_gtd, parameters).latents

    def initial_log_threshold(self, _centred_gtd: Tensor, _parameters: Parameters) -> Tensor | None:
        """Return the initial `log_threshold_gn`; None if no thresholds are trained."""
        return None

    def own_gradients(
        self, _encoded: Encoded, _common: SparseGradients, _parameters: Parameters, _n_tokens: int
    ) -> Mapping[str, Tensor]:
        """Return gradients of parameters that only this variant has, by field of `Parameters`.

        Args:
            _encoded: latents of the batch.
            _common: gradients of the reconstruction loss.
            _parameters: parameters of the stack.
            _n_tokens: number of tokens of each member.
        """
        return {}


def select_by_chunks(centred_gtd: Tensor, parameters: Parameters, select: Callable[[Tensor, int], Latents]) -> Latents:
    """Select latents of each member, in chunks of tokens whose pre-activations stay in the cache.

    Args:
        centred_gtd: scaled input minus each member's b_dec.
        parameters: parameters of the stack.
        select: function from pre-activations [t, n] and the index of the member to latents.
    """
    parts = []
    for g in range(parameters.n_members):
        for start, stop in chunks(centred_gtd.shape[1], parameters.n_latents, centred_gtd.device):
            pre_tn = pre_activations(centred_gtd[g, start:stop], parameters.W_enc_gnd[g], parameters.b_enc_gn[g])
            chunk = select(pre_tn, g)
            parts.append(chunk._replace(indices_s=chunk.indices_s.add_(g * parameters.n_latents)))
    return joined(parts)
