"""What a member of a stack is trained on: its rows in scaled batches.

Shape suffixes: t tokens (rows of a batch), d d_model.
"""

import math
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from emergence_assets.activations.files.batches import ShuffledRows
from emergence_assets.activations.files.reading import Rows
from emergence_assets.saes.model.sae import SAE, input_rows
from emergence_assets.saes.model.variants import Activation
from emergence_assets.saes.training.settings import SAERecipe
from resources.errors import EmergenceError

MOMENT_ROWS = 2048
"""Rows that moments are summed over at a time."""


@dataclass(frozen=True, eq=False)
class Start:
    """An SAE that another one starts from, of the same variant, instead of from random directions."""

    sae: SAE
    mean_d: Tensor | None = None
    """Mean of the rows that it was trained on: what it says of them about their mean and in units of their scale it is
    to say of the new rows about theirs. By default the new rows' own: it starts as it is."""
    scale: float | None = None
    """Root mean square of those rows about their mean."""


@dataclass(frozen=True, eq=False)
class Member:
    """One SAE of a stack: its data, its seed and, where it differs, its sparsity."""

    x_td: Tensor | np.ndarray | Rows
    """Rows, any float type; kept in that type where they fit: on the device, in memory, or on the disk."""
    seed: int
    """Decides the initial directions and the order of the rows."""
    kept_t: np.ndarray | None = None
    """Bool, one per row: which to train on; by default all."""
    k: int | None = None
    """Active latents per token; by default the recipe's."""
    start: Start | None = None
    """Warm start."""


def activation_of(member: Member, recipe: SAERecipe) -> Activation:
    """Variant and sparsity of one member."""
    return recipe.activation if member.k is None else replace(recipe.activation, k=member.k)


@dataclass(frozen=True, eq=False)
class Feed:
    """Where a member's batches come from, and how they are scaled."""

    rows: ShuffledRows
    mean_d: Tensor
    scale: float

    def scaled(self, raw_td: Tensor, out_td: Tensor | None = None) -> Tensor:
        """Rows of mean 0 and mean square 1 per coordinate."""
        return torch.sub(raw_td.float(), self.mean_d, out=out_td).mul_(1 / self.scale)


def feed_of(member: Member, recipe: SAERecipe, device: torch.device | str) -> Feed:
    """Batches of one member.

    Raises:
        EmergenceError: no rows, or see `input_moments`.
    """
    source = member.x_td if isinstance(member.x_td, Rows) else input_rows(member.x_td)
    if len(source) == 0:
        raise EmergenceError("no rows to train an SAE on", remedy="capture activations of at least a few texts")
    rows = ShuffledRows(source, recipe.batch_size, member.seed, device, kept_t=member.kept_t)
    return Feed(rows, *input_moments(rows))


def input_moments(rows: ShuffledRows) -> tuple[Tensor, float]:
    """Mean row [d] float32 and root mean square of what is left per coordinate, both summed in float64.

    Raises:
        EmergenceError: NaN or infinity among the rows, or all of them equal.
    """
    n_tokens, d_model = rows.n_rows, rows.d_model
    # One buffer for all blocks: many large temporaries leave the process with holes that nothing fills.
    wide_td = torch.empty(min(n_tokens, MOMENT_ROWS), d_model, dtype=torch.float64, device=rows.device)
    mean_d = torch.zeros(d_model, dtype=torch.float64, device=rows.device)
    for block_td in rows.blocks(MOMENT_ROWS):
        mean_d += wide_td[: len(block_td)].copy_(block_td).sum(0)
    mean_d /= n_tokens
    squares = torch.zeros((), dtype=torch.float64, device=rows.device)
    for block_td in rows.blocks(MOMENT_ROWS):
        squares += wide_td[: len(block_td)].copy_(block_td).sub_(mean_d).square_().sum()
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
