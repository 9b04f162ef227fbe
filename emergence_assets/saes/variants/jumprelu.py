"""JumpReLU: pre-activations above a threshold that each latent learns (Rajamanoharan et al. 2024, arXiv 2407.14435).

The gradient of a threshold is the paper's straight-through estimate with a rectangle kernel. The penalty is quadratic
in L0 / k - 1, so that variants are compared at equal sparsity.

Shape suffixes: g members of a stack, t tokens, d d_model, n latents, s slots.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from emergence_assets.saes.model.latents import Latents
from emergence_assets.saes.model.selection import latents_where
from emergence_assets.saes.model.stack import Parameters
from emergence_assets.saes.training.sparse_gradients import SparseGradients
from emergence_assets.saes.variants.batchtopk import BatchTopK
from emergence_assets.saes.variants.topk import TopK
from emergence_assets.saes.variants.variant import Encoded, Variant, select_by_chunks


@dataclass(frozen=True)
class JumpReLU(Variant):
    """JumpReLU with k latents per token as a target."""

    bandwidth: float = 0.05
    """Width of the kernel, in units of the scaled input."""
    penalty: float = 0.1
    """Weight of (L0 / k - 1)², as a share of half the input's variance per token."""

    learns_thresholds = True
    description = "pre-activations above a learnt threshold per latent, with k per token as the target"

    def encode(self, centred_gtd: Tensor, parameters: Parameters, guess_g: Tensor | None = None) -> Encoded:
        """Select pre-activations above their threshold; those less than half the bandwidth below are kept with value 0.

        The number of slots is read from the device for each member: only this variant waits for the device.
        """
        threshold_gn = _threshold(parameters)
        near = select_by_chunks(
            centred_gtd,
            parameters,
            lambda pre_tn, g: latents_where(pre_tn, pre_tn > threshold_gn[g] - self.bandwidth / 2),
        )
        is_above_s = near.values_s > threshold_gn.view(-1)[near.indices_s]
        return Encoded(near._replace(values_s=torch.where(is_above_s, near.values_s, 0.0)), pre_s=near.values_s)

    def trained_selection(self, parameters: Parameters, threshold_p: Tensor) -> tuple[int | None, Tensor | None]:
        """Return the learnt thresholds."""
        return None, _threshold(parameters)[0]

    def encode_first(self, centred_gtd: Tensor, parameters: Parameters) -> Latents:
        """Select the k largest of every token."""
        return TopK(self.k).encode(centred_gtd, parameters).latents

    def initial_log_threshold(self, centred_gtd: Tensor, parameters: Parameters) -> Tensor | None:
        """Return thresholds at which the first batch has k active latents per token."""
        threshold_g = BatchTopK(self.k).encode(centred_gtd, parameters).threshold_g
        assert threshold_g is not None
        return threshold_g.clamp(min=self.bandwidth).log()[:, None].repeat(1, parameters.n_latents)

    def own_gradients(
        self, encoded: Encoded, common: SparseGradients, parameters: Parameters, n_tokens: int
    ) -> Mapping[str, Tensor]:
        """Estimate the gradient of the logarithm of the thresholds by equations 11 and 12 of the paper.

        ∂ activation / ∂θ = -(θ / ε) K((pre - θ) / ε), ∂ [active] / ∂θ = -(1 / ε) K((pre - θ) / ε), K(u) = [|u| < ½].
        """
        assert encoded.pre_s is not None
        by_latent, threshold_gn = common.by_latent, _threshold(parameters)
        threshold_s = threshold_gn.view(-1).index_select(0, by_latent.latents_s)
        above_s = encoded.pre_s.index_select(0, by_latent.slots_s) - threshold_s
        is_near_s = (above_s.abs() < self.bandwidth / 2).to(above_s.dtype)
        slopes_gn = common.sum_over_slots(common.slopes_s * is_near_s).view_as(threshold_gn)
        n_near_gn = common.sum_over_slots(is_near_s).view_as(threshold_gn)
        n_active_gn = common.sum_over_slots((above_s > 0).to(above_s.dtype)).view_as(threshold_gn)
        d_model, l0_g = parameters.b_dec_gd.shape[1], n_active_gn.sum(1) / n_tokens
        pressure_g = self.penalty * d_model * (l0_g / self.k - 1) / self.k
        slopes_gn = threshold_gn * slopes_gn + pressure_g[:, None] * n_near_gn / n_tokens
        return {"log_threshold_gn": -threshold_gn / self.bandwidth * slopes_gn}


def _threshold(parameters: Parameters) -> Tensor:
    assert parameters.log_threshold_gn is not None
    return parameters.log_threshold_gn.exp()
