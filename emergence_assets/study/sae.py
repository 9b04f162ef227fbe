"""How the sparse autoencoders of a study are trained, as its file declares it. What it means is in `docs/saes.md`."""

from typing import Literal

from pydantic import Field, model_validator

from emergence_assets.study.strict import Positive, Seed, StrictModel, reject_repeats


class AuxK(StrictModel):
    """How latents that fire on nothing are revived (Gao et al. 2024, A.2)."""

    coefficient: float = Field(default=1 / 32, gt=0, le=10)
    """Weight of the auxiliary loss."""
    k: Positive | None = None
    """Dead latents that a token may use; by default d_model / 2."""
    every_steps: Positive = 10
    """So often it is looked up which latents are dead."""


class WarmStart(StrictModel):
    """SAEs start from those of the step before, instead of from random directions.

    Fewer tokens are needed, and latents keep their numbers. But what stays the same may do so by inertia: hence steps
    at which SAEs are also trained from random directions, and compared.
    """

    n_steps: Positive | None = None
    """Optimiser steps of an SAE that is started so; by default as many as of others."""
    control_steps: list[int] = Field(default=[])
    """Steps of training at which a cold control is trained beside."""


class SAE(StrictModel):
    """How the sparse autoencoders are trained; the same design for every model, step and layer."""

    n_latents: Positive
    """Dictionary size, equal for all sizes so that best-of-N is equal too."""
    k: Positive
    """Active latents per token: exactly (topk), on average over a batch (batchtopk), or aimed at (jumprelu)."""
    variant: Literal["topk", "batchtopk", "jumprelu"] = "topk"
    """Which pre-activations become activations."""
    prefixes: list[Positive] = Field(default=[])
    """Matryoshka: the first so many latents have to reconstruct alone, for each number; not with jumprelu."""
    n_steps: Positive
    batch_size: Positive = 1024
    """Tokens per step."""
    learning_rate: float = Field(default=3e-3, gt=0, le=1)
    clip_norm: float | None = Field(default=None, gt=0)
    """Largest norm of the gradient, in units of the scaled input; by default gradients are not clipped."""
    dead_window_tokens: Positive = 65_536
    """A latent is dead when it was active on none of the last so many training tokens."""
    aux_k: AuxK | None = None
    """Revive dead latents; by default they are left alone."""
    warm_start: WarmStart | None = None
    """Start from the SAE of the step before; by default from random directions, so that identity is never inertia."""
    fidelity_texts: int = Field(default=64, ge=0)
    """Held-out texts on which the model runs with its layer replaced by the reconstruction; 0 leaves that out."""
    seeds: list[Seed] = Field(default=[0], min_length=1)
    """One SAE per seed and cell."""

    @model_validator(mode="after")
    def _k_fits(self) -> "SAE":
        if self.k > self.n_latents:
            raise ValueError(f"k {self.k} is larger than n_latents {self.n_latents}; lower k or raise n_latents")
        reject_repeats(self.seeds, "seed")
        return self

    @model_validator(mode="after")
    def _prefixes_fit(self) -> "SAE":
        if self.prefixes and self.variant == "jumprelu":
            raise ValueError("prefixes go with topk and batchtopk; choose one of them, or drop prefixes")
        if self.prefixes != sorted(set(self.prefixes)) or any(one >= self.n_latents for one in self.prefixes):
            raise ValueError(f"prefixes must ascend and stay below n_latents {self.n_latents}, found {self.prefixes}")
        return self
