"""Settings of the sparse autoencoders of a study. `docs/saes.md` explains them."""

from typing import Literal

from pydantic import Field, model_validator

from emergence_assets.study.strict import MOST, Items, Positive, Seed, Step, StrictModel, reject_repeats

VariantName = Literal["topk", "batchtopk", "jumprelu"]
"""Names of the variants; `saes/variants/registry.py` maps each to its class."""


class AuxK(StrictModel):
    """Revival of dead latents by an auxiliary loss (Gao et al. 2024, arXiv 2406.04093, A.2)."""

    coefficient: float = Field(default=1 / 32, gt=0, le=10)
    """Weight of the auxiliary loss: half the mean squared error with which dead latents reconstruct the residual."""
    k: Positive | None = None
    """Dead latents active per token; by default d_model / 2, at most the number of dead latents."""
    every_steps: Positive = 10
    """Optimiser steps between two searches for dead latents."""


class WarmStartSettings(StrictModel):
    """Start SAEs from those of the step before, instead of from random directions.

    Fewer tokens are needed, and latents keep their numbers. A latent may persist by inertia alone: at the control steps
    SAEs are also trained from random directions, and compared.
    """

    n_steps: Positive | None = None
    """Optimiser steps of a warm-started SAE; by default the `n_steps` of the other SAEs."""
    control_steps: Items[Step] = Field(default=[])
    """Training steps of the model at which a cold control is trained too."""


class SAESettings(StrictModel):
    """Settings of SAE training, equal for every model, step and layer of a study."""

    n_latents: Positive
    """Dictionary size, equal for all model sizes, so that the best latent is chosen among equally many."""
    k: Positive
    """Active latents per token: exactly (topk), on average over a batch (batchtopk), or as a target (jumprelu)."""
    variant: VariantName = "topk"
    """Rule that turns pre-activations into activations."""
    prefixes: list[Positive] = Field(default=[], max_length=100)
    """Matryoshka (Bussmann et al. 2025, arXiv 2503.17547): for each number n, the first n latents alone are
    trained to reconstruct, like the whole dictionary; the loss is the mean over all of them. Ascending, without
    n_latents."""
    n_steps: Positive
    """Optimiser steps."""
    batch_size: Positive = 1024
    """Tokens per optimiser step; rows are repeated when there are fewer."""
    mixing_rows: Positive | None = None
    """Rows of a layer that are shuffled together, and held in memory when rows are streamed: whole contexts drawn at
    random from all texts. By default as many rows as take 1 GiB. More rows mix better and take more memory."""
    massive: Literal["leave_out", "keep"] = "leave_out"
    """Rows with massive activations: left out (rule `norm_10x_median_v1`: an L2 norm of more than ten times the median
    of the layer) or kept. Their share is in `sae_metrics`."""
    learning_rate: float = Field(default=3e-3, gt=0, le=1)
    """Peak learning rate of Adam."""
    clip_norm: float | None = Field(default=None, gt=0)
    """Largest norm of the gradient of half the mean squared error per token, in units of the scaled input; by default
    gradients are not clipped."""
    dead_window_tokens: Positive = 65_536
    """A latent is dead if it was active on none of this many last training tokens, rounded up to whole batches."""
    aux_k: AuxK | None = None
    """Revive dead latents; by default they are left alone."""
    warm_start: WarmStartSettings | None = None
    """Start from the SAE of the step before; by default from random directions, so that identity is never inertia."""
    fidelity_texts: int = Field(default=64, ge=0, le=MOST)
    """Held-out texts on which the model runs with its layer replaced by the reconstruction; 0 omits it."""
    seeds: list[Seed] = Field(default=[0], min_length=1, max_length=1000)
    """One SAE per seed and cell."""

    @model_validator(mode="after")
    def _latents_suffice(self) -> "SAESettings":
        if self.k > self.n_latents:
            raise ValueError(f"k {self.k} is larger than n_latents {self.n_latents}; lower k or raise n_latents")
        if self.k * self.batch_size > MOST:
            raise ValueError(
                f"a batch has k {self.k} times batch_size {self.batch_size} active latents, more than {MOST}; lower one"
            )
        if self.prefixes != sorted(set(self.prefixes)) or any(one >= self.n_latents for one in self.prefixes):
            raise ValueError(f"prefixes must ascend and stay below n_latents {self.n_latents}, found {self.prefixes}")
        reject_repeats(self.seeds, "seed")
        return self
