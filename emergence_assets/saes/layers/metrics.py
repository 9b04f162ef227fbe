"""Metrics of one SAE as plain values: an entry of `metrics.json` and a row of the table `sae_metrics`."""

import math
from collections.abc import Sequence
from typing import Any

from torch import Tensor

from emergence_assets.saes.model.sae import SAE
from emergence_assets.saes.quality.overlap import shared_fraction
from emergence_assets.saes.quality.quality import SAEQuality, measure_quality
from emergence_assets.saes.training.training import TrainedSAE


def quality_columns(quality: SAEQuality) -> dict[str, Any]:
    """Return the columns measured on held-out rows."""
    return {
        "fvu": quality.fvu,
        "explained_variance": 1 - quality.fvu,
        "l0": quality.l0,
        "eval_dead_frac": quality.dead_fraction,
        "dense_frac": quality.dense_fraction,
        "cosine": quality.cosine,
        "n_eval_tokens": quality.n_tokens,
        "density": quality.density_counts(),
    }


def training_columns(own: TrainedSAE | None, quality: SAEQuality) -> dict[str, Any]:
    """Return the training columns; for an imported SAE only the dead share, counted on held-out rows."""
    if own is None:
        dead = {"dead_frac": quality.dead_fraction}
        return dead | dict.fromkeys(("final_loss", "train_tokens", "norm_scale"))
    return {
        "dead_frac": own.dead_fraction,
        "final_loss": own.curve[-1][1],
        "train_tokens": own.n_tokens,
        "norm_scale": own.input_scale,
    }


def control_columns(
    before: SAE | None,
    warm: TrainedSAE | None,
    cold: TrainedSAE | None,
    batch_size: int,
    evaluation_td: Tensor,
) -> dict[str, Any]:
    """Return the columns that compare a warm-started SAE with its cold control.

    Args:
        before: SAE of the previous step.
        warm: SAE that started from `before`.
        cold: cold control; None without a control.
        batch_size: rows per optimiser step.
        evaluation_td: held-out rows.
    """
    columns: dict[str, Any] = dict.fromkeys(("cold_fvu", "tokens_to_cold_fvu", "kept_warm_frac", "kept_cold_frac"))
    if before is None or warm is None or cold is None:
        return columns
    reached = [step for step, loss in warm.curve if loss <= cold.curve[-1][1]]
    before = before.to(cold.sae.device)
    return {
        "cold_fvu": measure_quality(cold.sae, evaluation_td).fvu,
        "tokens_to_cold_fvu": reached[0] * batch_size if reached else None,
        "kept_warm_frac": shared_fraction(before, warm.sae),
        "kept_cold_frac": shared_fraction(before, cold.sae),
    }


def mean_known(values: Sequence[float]) -> float | None:
    """Average the values that are not NaN; None without values: a single seed, or no active latent."""
    known = [value for value in values if not math.isnan(value)]
    return sum(known) / len(known) if known else None
