"""The training loop: batches in, gradients, Adam, and what is kept on the way.

Shape suffixes: g members of the stack, t tokens (rows of a batch), d d_model, n latents, p steps.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from emergence_assets.saes.model.stack import Parameters
from emergence_assets.saes.model.variants import Activation
from emergence_assets.saes.training.adam import Adam, clip
from emergence_assets.saes.training.aux_k import dead_latents
from emergence_assets.saes.training.batches import Feed
from emergence_assets.saes.training.gradients import Dead, loss_and_gradients
from emergence_assets.saes.training.settings import SAERecipe
from emergence_assets.saes.training.training_state import TrainingState

Report = Callable[[int, int, str], None]
REPORTS = 100
"""So often progress is reported in a training."""
PARALLEL_ELEMENTS = 2**18
"""Of the decoder's gradient, of which the part along the rows is taken away at a time."""


@dataclass(frozen=True, eq=False)
class TrainingLog:
    """What the training loop leaves behind, beside the parameters."""

    losses_pg: Tensor
    """FVU of each batch."""
    thresholds_pg: Tensor
    """Of BatchTopK: the smallest pre-activation that a batch took."""
    last_fired_gn: Tensor
    """Step at which each latent was last active; -1 where it never was."""


@torch.no_grad()
def optimise(
    parameters: Parameters,
    feeds: Sequence[Feed],
    recipe: SAERecipe,
    activations: Sequence[Activation],
    report: Report,
    state: TrainingState | None,
) -> TrainingLog:
    """Train, changing the parameters in place.

    Args:
        parameters: of the stack, on scaled input.
        feeds: of each member.
        recipe: of all.
        activations: of each member.
        report: see `training.train_saes`.
        state: where to save on the way and to go on from.
    """
    # Gradients of half the mean squared error of a unit-variance input are about 1e-3, far above Adam's eps of 1e-8.
    # A loss divided by the total variance would put them near 1e-9, and eps would decide the step size.
    adam = Adam.of(parameters, recipe.betas, eps=1e-8)
    n_members, d_model = parameters.b_dec_gd.shape
    device = parameters.b_dec_gd.device
    course = TrainingLog(
        torch.zeros(recipe.n_steps, n_members, device=device),
        torch.zeros(recipe.n_steps, n_members, device=device),
        torch.full((n_members, recipe.n_latents), -1, device=device),
    )
    kept = _kept(adam, course)
    first = 0 if state is None else state.load(kept)
    report_every = max(1, recipe.n_steps // REPORTS)
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
        if name == "W_dec_gnd" and recipe.frozen_decoder:
            continue
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


def _kept(adam: Adam, course: TrainingLog) -> dict[str, Tensor]:
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
