"""Training data of one SAE: its rows in shuffled, scaled batches.

Shape suffixes: t tokens (rows of a batch), d d_model.
"""

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from emergence_assets.activations.files.batches import ShuffledRows, Source
from emergence_assets.activations.files.reading import Rows
from emergence_assets.activations.files.row_order import SLAB_BYTES
from emergence_assets.saes.model.sae import SAE, input_rows
from resources.errors import EmergenceError

MOMENT_ROWS = 2048
"""Rows per block in sums of moments."""


@dataclass(frozen=True, eq=False)
class WarmStart:
    """SAE of the same variant from which a training starts, instead of random directions."""

    sae: SAE
    mean_d: Tensor | None = None
    """Mean [d] of its training rows; by default that of the new rows, so that the SAE starts unchanged. The SAE is
    shifted and scaled with the rows: from this mean and scale to those of the new rows."""
    scale: float | None = None
    """Root mean square of its training rows about their mean, in units of the residual stream."""


@dataclass(frozen=True, eq=False)
class SAEJob:
    """Data and seed of one SAE to train."""

    x_td: Source | np.ndarray
    """Rows of any float type; kept in that type on the device, in memory or on the disk, or computed."""
    seed: int
    """Seed of the initial directions and of the order of the rows."""
    kept_t: np.ndarray | None = None
    """Mask of the rows to train on, bool; by default all."""
    warm_start: WarmStart | None = None
    text_starts: np.ndarray | None = None
    """First row of every text among the kept rows; see `RowOrder`."""
    norm_limit: float | None = None
    """Largest L2 norm of a row; larger rows are left out. By default none is."""
    mixing_rows: int | None = None
    """Rows of a file or of memory that are shuffled together; by default as many as take `SLAB_BYTES`."""


@dataclass(frozen=True, eq=False)
class Batches:
    """Shuffled rows of one SAE, with the mean and scale that the optimiser does not see."""

    rows: ShuffledRows
    mean_d: Tensor
    scale: float

    def scaled(self, raw_td: Tensor, out_td: Tensor | None = None) -> Tensor:
        """Return rows of mean 0 and mean square 1 per coordinate, float32."""
        return torch.sub(raw_td.float(), self.mean_d, out=out_td).mul_(1 / self.scale)


def batches_of(job: SAEJob, batch_size: int, device: torch.device | str) -> Batches:
    """Measure mean and scale of a job's rows, and shuffle them.

    Raises:
        EmergenceError: no rows, or see `input_moments`.
    """
    source = input_rows(job.x_td) if isinstance(job.x_td, Tensor | np.ndarray) else job.x_td
    if isinstance(source, Tensor | Rows) and len(source) == 0:
        raise EmergenceError("no rows to train an SAE on", remedy="capture activations of at least a few texts")
    slab_bytes = SLAB_BYTES
    if job.mixing_rows and isinstance(source, Rows):
        slab_bytes = job.mixing_rows * source.row_bytes
    rows = ShuffledRows(
        source,
        batch_size,
        job.seed,
        device,
        kept_t=job.kept_t,
        slab_bytes=slab_bytes,
        text_starts=job.text_starts,
        norm_limit=job.norm_limit,
    )
    return Batches(rows, *input_moments(rows))


def input_moments(rows: ShuffledRows) -> tuple[Tensor, float]:
    """Return the mean row [d], float32, and the root mean square about it per coordinate, both summed in float64.

    Of more rows than a slab, those of the first slab are measured: whole texts drawn at random.

    Raises:
        EmergenceError: NaN or infinity among the rows, or all of them equal.
    """
    d_model, n_tokens = rows.d_model, 0
    # One buffer for all blocks: many large temporaries would fragment the memory.
    wide_td = torch.empty(
        min(rows.order.slab_size(0, 0), MOMENT_ROWS), d_model, dtype=torch.float64, device=rows.device
    )
    mean_d = torch.zeros(d_model, dtype=torch.float64, device=rows.device)
    for block_td in rows.first_slab(MOMENT_ROWS):
        mean_d += wide_td[: len(block_td)].copy_(block_td).sum(0)
        n_tokens += len(block_td)
    mean_d /= n_tokens
    squares = torch.zeros((), dtype=torch.float64, device=rows.device)
    for block_td in rows.first_slab(MOMENT_ROWS):
        squares += wide_td[: len(block_td)].copy_(block_td).sub_(mean_d).square_().sum()
    if not bool(torch.isfinite(squares)):
        n_bad = int(sum(int((~torch.isfinite(block)).any(1).sum()) for block in rows.first_slab()))
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
