"""Train SAEs on residual stream rows, several of one shape at a time.

Shape suffixes: g members of the stack, t tokens (rows of a batch), d d_model, n latents.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from emergence_assets.activations.files.reading import Rows
from emergence_assets.saes.model.sae import SAE
from emergence_assets.saes.model.stack import Parameters, fold_input_scale
from emergence_assets.saes.model.variants import Activation, TopK
from emergence_assets.saes.training.batches import Feed, Member, activation_of, feed_of
from emergence_assets.saes.training.initialisation import initial_parameters
from emergence_assets.saes.training.optimisation import Report, optimise
from emergence_assets.saes.training.settings import SAERecipe
from emergence_assets.saes.training.training_state import TrainingState
from resources.errors import EmergenceError

CURVE_POINTS = 100


@dataclass(frozen=True, eq=False)
class TrainedSAE:
    """An SAE and how its training went."""

    sae: SAE
    """Takes raw residual stream rows."""
    curve: tuple[tuple[int, float], ...]
    """(step, loss), at most 100 points; the loss is the FVU on the training batches since the point before."""
    dead_fraction: float
    """Share of latents that fired on none of the last `dead_window_tokens` training tokens (of all, when fewer)."""
    n_tokens: int
    """Rows seen, repeated ones counted again."""
    input_scale: float
    """Root mean square of the centred input; the optimiser saw the input divided by it."""
    input_mean_d: Tensor
    """Mean of the input, which the optimiser saw subtracted."""


def train_sae(
    x_td: Tensor | np.ndarray | Rows,
    recipe: SAERecipe,
    seed: int,
    device: torch.device | str = "cpu",
    report: Report = lambda done, total, note: None,
) -> TrainedSAE:
    """Fit one SAE to rows of a residual stream; see `train_saes`."""
    return train_saes([Member(x_td, seed)], recipe, device, report)[0]


def train_saes(
    members: Sequence[Member],
    recipe: SAERecipe,
    device: torch.device | str = "cpu",
    report: Report = lambda done, total, note: None,
    state: TrainingState | None = None,
) -> list[TrainedSAE]:
    """Fit SAEs of one shape to rows of residual streams of one width, all in one stack.

    Bit-identical for equal members, recipe, machine and thread count, also after a kill. No step waits for the device,
    but for JumpReLU's. Memory: four times the parameters, one chunk of pre-activations, one batch; and the rows.

    Args:
        members: what to fit to what.
        recipe: what to train.
        device: where to train.
        report: called about 100 times with (steps done, steps in all, note).
        state: where to save on the way and to go on from; the caller removes it when results are safe.

    Returns:
        Of each member the SAE for raw rows, its loss curve, dead latents and token count.

    Raises:
        EmergenceError: no rows, rows of several widths, NaN or infinity among them, all rows of a member equal, a warm
            start of another shape, or training diverged.
    """
    if not members:
        raise ValueError("a stack has at least one member")
    feeds = [feed_of(member, recipe, device) for member in members]
    if len({feed.rows.d_model for feed in feeds}) > 1:
        raise EmergenceError(
            f"rows of widths {sorted({feed.rows.d_model for feed in feeds})} do not train together", where="SAE stack"
        )
    activations = [activation_of(member, recipe) for member in members]
    parameters = Parameters.stacked(
        [
            initial_parameters(recipe, activation, member, feed)
            for activation, member, feed in zip(activations, members, feeds, strict=True)
        ]
    )
    course = optimise(parameters, feeds, recipe, activations, report, state)
    trained = []
    for g, (member, feed) in enumerate(zip(members, feeds, strict=True)):
        own = parameters.member(g)
        if not all(bool(torch.isfinite(tensor).all()) for tensor in own.tensors()):
            raise EmergenceError(
                f"SAE training diverged within {recipe.n_steps} steps (seed {member.seed})",
                where=f"learning_rate={recipe.learning_rate}",
                remedy="lower the learning rate or set clip_norm",
            )
        trained.append(
            TrainedSAE(
                sae=_finished(own, feed, activations[g], course.thresholds_pg[:, g]),
                curve=_curve(course.losses_pg[:, g]),
                dead_fraction=float((course.last_fired_gn[g] < _window_start(recipe)).float().mean()),
                n_tokens=recipe.n_steps * recipe.batch_size,
                input_scale=feed.scale,
                input_mean_d=feed.mean_d,
            )
        )
    return trained


def _finished(parameters: Parameters, feed: Feed, activation: Activation, thresholds_p: Tensor) -> SAE:
    if isinstance(activation, TopK):
        return fold_input_scale(parameters, feed.mean_d, feed.scale, activation.k)
    if parameters.log_threshold_gn is not None:
        threshold_n = parameters.log_threshold_gn[0].exp()
    else:
        last = thresholds_p[-max(1, len(thresholds_p) // 10) :].mean()
        threshold_n = last.expand(parameters.n_latents).clone()
    return fold_input_scale(parameters, feed.mean_d, feed.scale, None, threshold_n)


def _window_start(recipe: SAERecipe) -> int:
    return max(0, recipe.n_steps - recipe.dead_window_steps)


def _curve(losses: Tensor) -> tuple[tuple[int, float], ...]:
    window = max(1, math.ceil(losses.shape[0] / CURVE_POINTS))
    parts = losses.cpu().split(window)
    last_steps = np.cumsum([part.shape[0] for part in parts])
    return tuple((int(step), float(part.mean())) for step, part in zip(last_steps, parts, strict=True))
