"""Train a TopK SAE on residual stream rows.

Here: recipe, input scale, the training loop. Not here: the forward pass (`sae`), gradients (`gradients`), the optimiser
(`adam`), evaluation (`quality`).

Shape suffixes: t tokens (rows of a batch), d d_model, n latents, k active latents.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from emergence_assets.activations.batches import ShuffledRows
from emergence_assets.activations.reading import Rows
from emergence_assets.errors import EmergenceError
from emergence_assets.saes.adam import Adam, clip
from emergence_assets.saes.gradients import Parameters, encode_scaled, loss_and_gradients
from emergence_assets.saes.sae import SAE, TopK, check_k, decode_latents, input_rows

CURVE_POINTS = 100


@dataclass(frozen=True)
class SAERecipe:
    """Everything but data, seed and device that decides what SAE comes out.

    Raises:
        EmergenceError: a value out of its range, or k larger than n_latents.
    """

    activation: TopK
    """Sparsity."""
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

    def __post_init__(self):
        check_k(self.activation.k, self.n_latents)
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


def train_sae(
    x_td: Tensor | np.ndarray | Rows,
    recipe: SAERecipe,
    seed: int,
    device: torch.device | str = "cpu",
    report: Callable[[int, int, str], None] = lambda done, total, note: None,
    *,
    kept_t: np.ndarray | None = None,
) -> TrainedSAE:
    """Fit an SAE to rows of a residual stream.

    Bit-identical for equal rows, recipe, seed, machine and thread count. Nothing waits for the device inside a step.

    Args:
        x_td: rows, any float type; kept in that type where they fit: on the device, in memory, or on the disk.
        recipe: what to train.
        seed: decides the initial directions and the order of the rows.
        device: where to train.
        report: called about 100 times with (steps done, steps in all, note).
        kept_t: bool, one per row: which to train on; by default all.

    Returns:
        The SAE for raw rows, its loss curve, dead latents and token count.

    Raises:
        EmergenceError: no rows, NaN or infinity among them, all rows equal, or training diverged.
    """
    source = x_td if isinstance(x_td, Rows) else input_rows(x_td)
    if len(source) == 0:
        raise EmergenceError("no rows to train an SAE on", remedy="capture activations of at least a few texts")
    rows = ShuffledRows(source, recipe.batch_size, seed, device, kept_t=kept_t)
    mean_d, scale = input_moments(rows)
    parameters = _initial_parameters(recipe, rows, mean_d, scale, torch.Generator().manual_seed(seed))
    losses, fired_n = _optimise(parameters, rows, mean_d, scale, recipe, report)
    if not all(bool(torch.isfinite(parameter).all()) for parameter in parameters):
        raise EmergenceError(
            f"SAE training diverged within {recipe.n_steps} steps (seed {seed})",
            where=f"learning_rate={recipe.learning_rate}",
            remedy="lower the learning rate or set clip_norm",
        )
    return TrainedSAE(
        sae=fold_input_scale(parameters, mean_d, scale, recipe.activation),
        curve=_curve(losses),
        dead_fraction=float((fired_n == 0).float().mean()),
        n_tokens=recipe.n_steps * recipe.batch_size,
        input_scale=scale,
    )


def input_moments(rows: ShuffledRows) -> tuple[Tensor, float]:
    """Mean row [d] float32 and root mean square of what is left per coordinate, both summed in float64.

    Raises:
        EmergenceError: NaN or infinity among the rows, or all of them equal.
    """
    n_tokens, d_model = rows.n_rows, rows.d_model
    mean_d = torch.stack([block.sum(0, dtype=torch.float64) for block in rows.blocks()]).sum(0) / n_tokens
    squares = torch.stack([(block - mean_d).square().sum() for block in rows.blocks()]).sum()
    if not bool(torch.isfinite(squares)):
        n_bad = int(sum(int((~torch.isfinite(block)).any(1).sum()) for block in rows.blocks()))
        raise EmergenceError(
            f"{n_bad} of {n_tokens} rows hold NaN or infinity",
            where="SAE training input",
            remedy="check the checkpoint's weights and capture its activations again, in float32 if float16 overflows",
        )
    # Equal rows leave only the rounding of the mean: relative 1e-16, squared. The finest float32 difference is 1e-14.
    if float(squares) <= 1e-20 * n_tokens * float(mean_d.square().sum()):
        raise EmergenceError(
            f"all {n_tokens} rows are equal, there is nothing to reconstruct",
            where="SAE training input",
            remedy="check that activations were captured from different texts and positions",
        )
    return mean_d.float(), math.sqrt(float(squares) / (n_tokens * d_model))


def fold_input_scale(parameters: Parameters, mean_d: Tensor, scale: float, activation: TopK) -> SAE:
    """SAE on raw rows x equal to the given one on (x - mean) / scale, times scale, plus mean.

    relu and top-k commute with a positive factor, so that the weights stay and only biases carry the units.
    """
    return SAE(
        W_enc_nd=parameters.W_enc_nd,
        b_enc_n=parameters.b_enc_n * scale,
        W_dec_nd=parameters.W_dec_nd,
        b_dec_d=parameters.b_dec_d * scale + mean_d,
        activation=activation,
    )


def learning_rate_at(recipe: SAERecipe, step: int) -> float:
    """Learning rate of step 0, 1, …: linear rise, plateau, linear fall that would reach 0 one step after the last."""
    rise = min(1.0, (step + 1) / (recipe.warm_up_steps + 1))
    decay_steps = round(recipe.decay_fraction * recipe.n_steps)
    fall = min(1.0, (recipe.n_steps - step) / (decay_steps + 1))
    return recipe.learning_rate * min(rise, fall)


@torch.no_grad()
def _optimise(
    parameters: Parameters,
    rows: ShuffledRows,
    mean_d: Tensor,
    scale: float,
    recipe: SAERecipe,
    report: Callable[[int, int, str], None],
) -> tuple[Tensor, Tensor]:
    """Change the parameters in place; returns loss per step [n_steps] and firing counts [n] over the dead window."""
    # Gradients of half the mean squared error of a unit-variance input are about 1e-3, far above Adam's eps of 1e-8.
    # A loss divided by the total variance would put them near 1e-9, and eps would decide the step size.
    adam = Adam.of(parameters, recipe.betas, eps=1e-8)
    losses = torch.zeros(recipe.n_steps, device=rows.device)
    fired_n = torch.zeros(recipe.n_latents, device=rows.device)
    window_start = recipe.n_steps - math.ceil(recipe.dead_window_tokens / recipe.batch_size)
    report_every = max(1, recipe.n_steps // CURVE_POINTS)
    W_dec_nd = parameters.W_dec_nd
    for step, raw_td in zip(range(recipe.n_steps), rows.batches()):  # noqa: B905  # batches have no end
        y_td = _scaled(raw_td, mean_d, scale)
        squared_error, gradients, latents = loss_and_gradients(y_td, parameters, recipe.activation.k)
        losses[step] = squared_error / y_td.numel()
        if step >= window_start:
            # Counts below 2^24 are exact in float32, whatever the order of the additions.
            fired_n.index_add_(0, latents.indices_tk.view(-1), (latents.values_tk.view(-1) > 0).float())
        # Rows of the decoder keep unit length: what lengthens them is no improvement, and would feed Adam's moments.
        parallel_n1 = torch.linalg.vecdot(gradients.W_dec_nd, W_dec_nd).unsqueeze(1)
        gradients.W_dec_nd.addcmul_(parallel_n1, W_dec_nd, value=-1)
        if recipe.clip_norm is not None:
            clip(gradients, recipe.clip_norm)
        adam.step(gradients, learning_rate_at(recipe, step))
        W_dec_nd.div_(torch.linalg.vector_norm(W_dec_nd, dim=1, keepdim=True))
        if (step + 1) % report_every == 0 or step + 1 == recipe.n_steps:
            report(step + 1, recipe.n_steps, "SAE steps")
    return losses, fired_n


def _initial_parameters(
    recipe: SAERecipe, rows: ShuffledRows, mean_d: Tensor, scale: float, generator: torch.Generator
) -> Parameters:
    """Random unit directions, encoder along them, biases 0: of the scaled input, so that b_dec starts at the mean."""
    d_model = rows.d_model
    W_dec_nd = F.normalize(torch.randn(recipe.n_latents, d_model, generator=generator), dim=1).to(rows.device)
    parameters = Parameters(
        W_enc_nd=W_dec_nd.clone(),
        b_enc_n=torch.zeros(recipe.n_latents, device=rows.device),
        W_dec_nd=W_dec_nd,
        b_dec_d=torch.zeros(d_model, device=rows.device),
    )
    # Overlapping directions add up to more than the input: <x, x̂>/<x̂, x̂> is the encoder length of least first error.
    y_td = _scaled(next(rows.batches()), mean_d, scale)
    reconstruction_td = decode_latents(encode_scaled(y_td, parameters, recipe.activation.k), W_dec_nd)
    power = reconstruction_td.square().sum()
    parameters.W_enc_nd.mul_(torch.where(power > 0, (y_td * reconstruction_td).sum() / power, 1.0))
    return parameters


def _scaled(raw_td: Tensor, mean_d: Tensor, scale: float) -> Tensor:
    return (raw_td.float() - mean_d).mul_(1 / scale)


def _curve(losses: Tensor) -> tuple[tuple[int, float], ...]:
    window = max(1, math.ceil(losses.shape[0] / CURVE_POINTS))
    parts = losses.cpu().split(window)
    last_steps = np.cumsum([part.shape[0] for part in parts])
    return tuple((int(step), float(part.mean())) for step, part in zip(last_steps, parts, strict=True))
