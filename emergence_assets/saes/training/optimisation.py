"""The training loop: batches, gradients, Adam, and the state to resume from after a kill.

Shape suffixes: g members of the stack, t tokens (rows of a batch), d d_model, n latents, p steps.
"""

import contextlib
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from emergence_assets.checkpoints.training.training_state import TrainingState
from emergence_assets.saes.model.stack import Parameters
from emergence_assets.saes.training.adam import Adam, clip
from emergence_assets.saes.training.aux_k import dead_latents
from emergence_assets.saes.training.batches import Batches
from emergence_assets.saes.training.gradients import Dead, loss_and_gradients
from emergence_assets.saes.training.options import TrainingOptions
from emergence_assets.saes.variants.registry import variant_of
from emergence_assets.study.sae import SAESettings
from resources.errors import EmergenceError
from resources.progress import Report

REPORTS = 100
"""Progress reports per training."""
PARALLEL_ELEMENTS = 2**18
"""Elements of the decoder's gradient per block, when the part along the rows is removed."""


@dataclass(frozen=True, eq=False)
class TrainingLog:
    """Results of the training loop beside the parameters."""

    losses_pg: Tensor
    """FVU of each batch."""
    thresholds_pg: Tensor
    """BatchTopK: smallest pre-activation that is selected in each batch."""
    last_fired_gn: Tensor
    """Step at which each latent was last active; -1 if never."""


@torch.no_grad()
def optimise(
    parameters: Parameters,
    batches: Sequence[Batches],
    settings: SAESettings,
    options: TrainingOptions,
    report: Report,
    state: TrainingState | None,
) -> TrainingLog:
    """Train, changing the parameters in place.

    Args:
        parameters: parameters of the stack, on scaled input.
        batches: training batches of each member.
        settings: settings of all members.
        options: options of all members.
        report: see `training.train_saes`.
        state: see `training.train_saes`.
    """
    variant, aux_k = variant_of(settings), settings.aux_k
    # Gradients of half the mean squared error of a unit-variance input are about 1e-3, far above Adam's eps of 1e-8.
    # A loss divided by the total variance would put them near 1e-9, and eps would decide the step size.
    adam = Adam.of(parameters, eps=1e-8)
    n_members, d_model = parameters.b_dec_gd.shape
    device = parameters.b_dec_gd.device
    log = TrainingLog(
        torch.zeros(settings.n_steps, n_members, device=device),
        torch.zeros(settings.n_steps, n_members, device=device),
        torch.full((n_members, settings.n_latents), -1, device=device),
    )
    kept = _kept(adam, log)
    first = 0
    with contextlib.suppress(EmergenceError):  # a damaged state: only time is lost
        first = state.load(kept) if state else 0
    report_every = max(1, settings.n_steps // REPORTS)
    y_gtd = torch.empty(n_members, settings.batch_size, d_model, device=device)
    streams = [member.rows.batches(first) for member in batches]
    dead = None
    for step in range(first, settings.n_steps):
        for member, stream, y_td in zip(batches, streams, y_gtd, strict=True):
            member.scaled(next(stream), y_td)
        if aux_k is not None and step % aux_k.every_steps == 0:
            dead = Dead(dead_latents(log.last_fired_gn, step - dead_window_steps(settings)), aux_k)
        guess_g = log.thresholds_pg[step - 1] if step > 0 else None
        found = loss_and_gradients(y_gtd, parameters, variant, prefixes=settings.prefixes, guess_g=guess_g, dead=dead)
        log.losses_pg[step] = found.squared_error_g / y_gtd[0].numel()
        if found.threshold_g is not None:
            log.thresholds_pg[step] = found.threshold_g
        log.last_fired_gn.masked_fill_(found.has_fired_gn, step)
        _update(adam, found.gradients, settings, options, step)
        del found  # frees its tensors before the next step
        if (step + 1) % report_every == 0 or step + 1 == settings.n_steps:
            report(step + 1, settings.n_steps, "SAE steps")
        if state is not None and (aux_k is None or (step + 1) % aux_k.every_steps == 0):
            # Between two searches for dead latents a saved state would also need their list.
            state.save_if_due(step + 1, kept)
    return log


def dead_window_steps(settings: SAESettings) -> int:
    """Return the dead window in whole batches."""
    return math.ceil(settings.dead_window_tokens / settings.batch_size)


def _update(
    adam: Adam, gradients: Iterator[tuple[str, Tensor]], settings: SAESettings, options: TrainingOptions, step: int
) -> None:
    """Take one step of Adam, with decoder rows of unit length.

    The gradient along a decoder row only lengthens it: that is no improvement, and would distort Adam's moments.
    """
    learning_rate = options.learning_rate(settings.learning_rate, step, settings.n_steps)
    if settings.clip_norm is not None:
        gathered = dict(gradients)
        _remove_parallel(gathered["W_dec_gnd"], adam.parameters["W_dec_gnd"])
        clip(gathered, settings.clip_norm)
        gradients = iter(gathered.items())
    adam.begin_step()
    for name, gradient in gradients:
        if name == "W_dec_gnd" and options.frozen_decoder:
            continue
        if name == "W_dec_gnd":
            _remove_parallel(gradient, adam.parameters[name])
        adam.update(name, gradient, learning_rate)
        del gradient  # frees it before the next is computed
    W_dec_gnd = adam.parameters["W_dec_gnd"]
    W_dec_gnd.div_(torch.linalg.vector_norm(W_dec_gnd, dim=-1, keepdim=True))


def _remove_parallel(gradient_gnd: Tensor, W_dec_gnd: Tensor) -> None:
    """Remove the component along the rows, in place and in blocks, which is faster and takes less memory."""
    rows = max(1, PARALLEL_ELEMENTS // gradient_gnd.shape[-1])
    for gradient_nd, W_dec_nd in zip(
        gradient_gnd.flatten(0, 1).split(rows), W_dec_gnd.flatten(0, 1).split(rows), strict=True
    ):
        parallel_n1 = torch.linalg.vecdot(gradient_nd, W_dec_nd).unsqueeze(-1)
        gradient_nd.addcmul_(parallel_n1, W_dec_nd, value=-1)


def _kept(adam: Adam, log: TrainingLog) -> dict[str, Tensor]:
    """Return all tensors that a step reads from an earlier step."""
    return {
        **{f"parameters.{name}": tensor for name, tensor in adam.parameters.items()},
        **{f"means.{name}": tensor for name, tensor in adam.means.items()},
        **{f"squares.{name}": tensor for name, tensor in adam.squares.items()},
        "n_steps": adam.n_steps,
        "losses": log.losses_pg,
        "thresholds": log.thresholds_pg,
        "last_fired": log.last_fired_gn,
    }
