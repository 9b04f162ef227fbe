"""Train SAEs on residual stream rows, several of one shape at a time.

Here: the training loop. Not here: rows (`feed`), first parameters (`initial`), which latents are active (`encoding`),
gradients (`gradients`), the optimiser (`adam`), evaluation (`quality`).

Shape suffixes: g members of the stack, t tokens (rows of a batch), d d_model, n latents.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from emergence_assets.activations.reading import Rows
from emergence_assets.errors import EmergenceError
from emergence_assets.saes.activation import Activation, TopK
from emergence_assets.saes.adam import Adam, clip
from emergence_assets.saes.aux_k import dead_latents
from emergence_assets.saes.feed import Feed, Member, activation_of, feed_of
from emergence_assets.saes.gradients import Dead, loss_and_gradients
from emergence_assets.saes.initial import initial_parameters
from emergence_assets.saes.recipe import SAERecipe
from emergence_assets.saes.sae import SAE
from emergence_assets.saes.stack import Parameters, fold_input_scale
from emergence_assets.saes.training_state import TrainingState

CURVE_POINTS = 100
PARALLEL_ELEMENTS = 2**18
Report = Callable[[int, int, str], None]


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
    course = _optimise(parameters, feeds, recipe, activations, report, state)
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


@dataclass(frozen=True, eq=False)
class _Course:
    """What the training loop leaves behind, beside the parameters. p: steps."""

    losses_pg: Tensor
    thresholds_pg: Tensor
    last_fired_gn: Tensor


@torch.no_grad()
def _optimise(
    parameters: Parameters,
    feeds: Sequence[Feed],
    recipe: SAERecipe,
    activations: Sequence[Activation],
    report: Report,
    state: TrainingState | None,
) -> _Course:
    """Change the parameters in place."""
    # Gradients of half the mean squared error of a unit-variance input are about 1e-3, far above Adam's eps of 1e-8.
    # A loss divided by the total variance would put them near 1e-9, and eps would decide the step size.
    adam = Adam.of(parameters, recipe.betas, eps=1e-8)
    n_members, d_model = parameters.b_dec_gd.shape
    device = parameters.b_dec_gd.device
    course = _Course(
        torch.zeros(recipe.n_steps, n_members, device=device),
        torch.zeros(recipe.n_steps, n_members, device=device),
        torch.full((n_members, recipe.n_latents), -1, device=device),
    )
    kept = _kept(adam, course)
    first = 0 if state is None else state.load(kept)
    report_every = max(1, recipe.n_steps // CURVE_POINTS)
    y_gtd = torch.empty(n_members, recipe.batch_size, d_model, device=device)
    streams = [feed.rows.batches(first) for feed in feeds]
    dead = None
    for step in range(first, recipe.n_steps):
        for feed, stream, y_td in zip(feeds, streams, y_gtd, strict=True):
            feed.scaled(next(stream), y_td)
        if recipe.aux_k is not None and step % recipe.aux_k.every_steps == 0:
            dead = Dead(dead_latents(course.last_fired_gn, step - recipe.dead_window_steps), recipe.aux_k)
        guess_g = course.thresholds_pg[step - 1] if step > 0 else None
        found = loss_and_gradients(y_gtd, parameters, activations, guess_g=guess_g, dead=dead)
        course.losses_pg[step] = found.squared_error_g / y_gtd[0].numel()
        if found.threshold_g is not None:
            course.thresholds_pg[step] = found.threshold_g
        course.last_fired_gn.masked_fill_(found.has_fired_gn, step)
        _update(adam, found.gradients, recipe, step)
        del found  # and with it what it was made from, before the next is made
        if (step + 1) % report_every == 0 or step + 1 == recipe.n_steps:
            report(step + 1, recipe.n_steps, "SAE steps")
        if state is not None and (recipe.aux_k is None or (step + 1) % recipe.aux_k.every_steps == 0):
            # Between two looks at what is dead, the list of the dead would be needed too.
            state.save_if_due(step + 1, kept)
    return course


def _update(adam: Adam, gradients: Iterator[tuple[str, Tensor]], recipe: SAERecipe, step: int) -> None:
    """One step of Adam.

    Rows of the decoder keep unit length: what lengthens them is no improvement, and would feed Adam's moments.
    """
    if recipe.clip_norm is not None:
        gathered = dict(gradients)
        _remove_parallel(gathered["W_dec_gnd"], adam.parameters["W_dec_gnd"])
        clip(gathered, recipe.clip_norm)
        gradients = iter(gathered.items())
    adam.begin_step()
    for name, gradient in gradients:
        if name == "W_dec_gnd":
            _remove_parallel(gradient, adam.parameters[name])
        adam.update(name, gradient, recipe.learning_rate_at(step))
        del gradient  # before the next is made
    W_dec_gnd = adam.parameters["W_dec_gnd"]
    W_dec_gnd.div_(torch.linalg.vector_norm(W_dec_gnd, dim=-1, keepdim=True))


def _remove_parallel(gradient_gnd: Tensor, W_dec_gnd: Tensor) -> None:
    """Take away, in place, what lies along the rows; some rows at a time, which is faster and takes less memory."""
    rows = max(1, PARALLEL_ELEMENTS // gradient_gnd.shape[-1])
    for gradient_nd, W_dec_nd in zip(
        gradient_gnd.flatten(0, 1).split(rows), W_dec_gnd.flatten(0, 1).split(rows), strict=True
    ):
        parallel_n1 = torch.linalg.vecdot(gradient_nd, W_dec_nd).unsqueeze(-1)
        gradient_nd.addcmul_(parallel_n1, W_dec_nd, value=-1)


def _kept(adam: Adam, course: _Course) -> dict[str, Tensor]:
    """Everything that a step reads and an earlier one wrote."""
    return {
        **{f"parameters.{name}": tensor for name, tensor in adam.parameters.items()},
        **{f"means.{name}": tensor for name, tensor in adam.means.items()},
        **{f"squares.{name}": tensor for name, tensor in adam.squares.items()},
        "n_steps": adam.n_steps,
        "losses": course.losses_pg,
        "thresholds": course.thresholds_pg,
        "last_fired": course.last_fired_gn,
    }


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
