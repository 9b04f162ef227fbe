"""Train SAEs on rows of the residual stream, several SAEs of one shape at a time.

Shape suffixes: g members of the stack, t tokens (rows of a batch), d d_model, n latents.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from emergence_assets.checkpoints.training.training_state import TrainingState
from emergence_assets.saes.model.sae import SAE
from emergence_assets.saes.model.stack import Parameters, fold_input_scale
from emergence_assets.saes.training.batches import SAEJob, batches_of
from emergence_assets.saes.training.initialisation import initial_parameters
from emergence_assets.saes.training.optimisation import dead_window_steps, optimise
from emergence_assets.saes.training.options import DEFAULT_OPTIONS, TrainingOptions
from emergence_assets.saes.variants.registry import variant_of
from emergence_assets.study.sae import SAESettings
from resources.errors import EmergenceError
from resources.progress import Report

CURVE_POINTS = 100


@dataclass(frozen=True, eq=False)
class TrainedSAE:
    """A trained SAE and the record of its training."""

    sae: SAE
    """SAE on raw rows of the residual stream."""
    curve: tuple[tuple[int, float], ...]
    """Points (step, loss), at most 100; the loss is the mean FVU of the training batches since the previous point."""
    dead_fraction: float
    """Share of latents active on none of the last `dead_window_tokens` training tokens (on none of all, if fewer)."""
    n_tokens: int
    """Number of training rows; repeated rows count again."""
    input_scale: float
    """Root mean square of the centred input, by which training divides."""
    input_mean_d: Tensor
    """Mean of the input [d], which training subtracts."""


def train_saes(
    jobs: Sequence[SAEJob],
    settings: SAESettings,
    device: torch.device | str = "cpu",
    report: Report = lambda done, total, note: None,
    state: TrainingState | None = None,
    options: TrainingOptions = DEFAULT_OPTIONS,
) -> list[TrainedSAE]:
    """Train SAEs of one shape on rows of one width, all in one stack.

    Results are bit-identical for equal jobs, settings, machine and thread count, also after a kill. No step waits for
    the device, except for JumpReLU's and, every `aux_k.every_steps`, those that list dead latents. Memory: four times
    the parameters, one chunk of pre-activations, one batch; and the rows.

    Args:
        jobs: data and seed of each SAE.
        settings: settings of all SAEs.
        device: device of the training.
        report: called about 100 times with (steps done, all steps, note).
        state: file to save to and to resume from; the caller removes it when results are stored.
        options: options of all SAEs.

    Returns:
        One result per job.

    Raises:
        EmergenceError: no rows, rows of several widths, NaN or infinity among them, all rows of a job equal, a warm
            start of another shape, or divergence.
    """
    if not jobs:
        raise ValueError("a stack has at least one SAE")
    batches = [batches_of(job, settings.batch_size, device) for job in jobs]
    widths = sorted({member.rows.d_model for member in batches})
    if len(widths) > 1:
        raise EmergenceError(f"rows of widths {widths} do not train together", where="SAE stack")
    parameters = Parameters.stacked(
        [initial_parameters(settings, job, member) for job, member in zip(jobs, batches, strict=True)]
    )
    log = optimise(parameters, batches, settings, options, report, state)
    window_start = max(0, settings.n_steps - dead_window_steps(settings))
    trained = []
    for g, (job, member) in enumerate(zip(jobs, batches, strict=True)):
        own = parameters.member(g)
        if not all(bool(torch.isfinite(tensor).all()) for tensor in own.tensors()):
            raise EmergenceError(
                f"SAE training diverged within {settings.n_steps} steps (seed {job.seed})",
                where=f"learning_rate={settings.learning_rate}",
                remedy="lower the learning rate or set clip_norm",
            )
        selection = variant_of(settings).trained_selection(own, log.thresholds_pg[:, g])
        trained.append(
            TrainedSAE(
                sae=fold_input_scale(own, member.mean_d, member.scale, *selection),
                curve=_curve(log.losses_pg[:, g]),
                dead_fraction=float((log.last_fired_gn[g] < window_start).float().mean()),
                n_tokens=settings.n_steps * settings.batch_size,
                input_scale=member.scale,
                input_mean_d=member.mean_d,
            )
        )
    return trained


def _curve(losses: Tensor) -> tuple[tuple[int, float], ...]:
    window = max(1, math.ceil(losses.shape[0] / CURVE_POINTS))
    parts = losses.cpu().split(window)
    last_steps = np.cumsum([part.shape[0] for part in parts])
    return tuple((int(step), float(part.mean())) for step, part in zip(last_steps, parts, strict=True))
