"""How an SAE is trained: everything but data, seed and device that decides what comes out."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from emergence_assets.saes.model.variants import Activation, BatchTopK, JumpReLU, TopK, check_activation
from emergence_assets.saes.training.aux_k import AuxK
from resources.errors import EmergenceError


@dataclass(frozen=True)
class SAERecipe:
    """Everything but data, seed and device that decides what SAE comes out.

    Raises:
        EmergenceError: a value out of its range, or k larger than n_latents.
    """

    activation: Activation
    """Variant and sparsity."""
    n_latents: int = 512
    """Dictionary size."""
    n_steps: int = 300
    """Optimiser steps."""
    batch_size: int = 1024
    """Rows per step; rows are repeated when there are fewer."""
    learning_rate: float = 4e-3
    """Of Adam, at its highest."""
    warm_up_steps: int = 10
    """Steps over which the learning rate rises from 0."""
    decay_fraction: float = 0.3
    """Share of the steps, at the end, over which the learning rate falls to 0."""
    betas: tuple[float, float] = (0.9, 0.999)
    """Of Adam."""
    dead_window_tokens: int = 100_000
    """A latent is dead that fired on none of this many last training tokens, rounded up to whole batches; on none of
    all tokens, when there are fewer."""
    clip_norm: float | None = None
    """Largest norm of the gradient of half the mean squared error per token, in units of the scaled input."""
    aux_k: AuxK | None = None
    """How dead latents are revived; by default they are not."""
    frozen_decoder: bool = False
    """Whether the decoder keeps its random directions: a control, in which only the encoder learns."""

    def __post_init__(self):
        check_activation(self.activation, self.n_latents)
        demands = {
            "n_steps >= 1": self.n_steps >= 1,
            "batch_size >= 1": self.batch_size >= 1,
            "learning_rate > 0": 0 < self.learning_rate < math.inf,
            "warm_up_steps >= 0": self.warm_up_steps >= 0,
            "0 <= decay_fraction <= 1": 0 <= self.decay_fraction <= 1,
            "betas in [0, 1)": all(0 <= beta < 1 for beta in self.betas),
            "dead_window_tokens >= 1": self.dead_window_tokens >= 1,
            "clip_norm > 0": self.clip_norm is None or self.clip_norm > 0,
        }
        for demand, is_met in demands.items():
            if not is_met:
                name = next(part for part in demand.split() if part in self.__dataclass_fields__)
                raise EmergenceError(
                    f"SAE recipe needs {demand}, got {name}={getattr(self, name)}", remedy="correct the recipe"
                )

    @classmethod
    def from_settings(cls, settings: Mapping[str, Any]) -> "SAERecipe":
        """The recipe that a study declares (`study.SAE`, as plain values).

        Raises:
            EmergenceError: a value out of its range.
        """
        names = ("n_latents", "n_steps", "batch_size", "learning_rate", "dead_window_tokens", "clip_norm")
        return cls(
            activation=activation_from(settings),
            aux_k=None if settings["aux_k"] is None else AuxK(**settings["aux_k"]),
            **{name: settings[name] for name in names},
        )

    @property
    def dead_window_steps(self) -> int:
        """The dead window in whole batches."""
        return math.ceil(self.dead_window_tokens / self.batch_size)

    def learning_rate_at(self, step: int) -> float:
        """Of step 0, 1, …: linear rise, plateau, linear fall that would reach 0 one step after the last."""
        rise = min(1.0, (step + 1) / (self.warm_up_steps + 1))
        decay_steps = round(self.decay_fraction * self.n_steps)
        fall = min(1.0, (self.n_steps - step) / (decay_steps + 1))
        return self.learning_rate * min(rise, fall)


def activation_from(settings: Mapping[str, Any]) -> Activation:
    """Variant and sparsity that a study declares."""
    k, prefixes = settings["k"], tuple(settings["prefixes"])
    if settings["variant"] == "jumprelu":
        return JumpReLU(k)
    return {"topk": TopK, "batchtopk": BatchTopK}[settings["variant"]](k, prefixes)
