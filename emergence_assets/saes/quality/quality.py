"""Quality of an SAE on held-out rows.

Batches are added up and not averaged, so that the batch size does not change a result.

Shape suffixes: t tokens (rows), d d_model, n latents, s slots.
"""

import math
from dataclasses import dataclass, field

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from emergence_assets.saes.model.sae import SAE, input_rows
from resources.errors import EmergenceError

DENSE_ABOVE = 0.1
"""Share of tokens above which a latent is dense."""
DENSITY_EDGES = tuple(float(edge) for edge in np.arange(-6, 0.5, 0.5))
"""Edges of the density histogram, -6, -5.5 … 0: log10 of the share of tokens on which a latent is active."""


@dataclass(frozen=True)
class SAEQuality:
    """Quality of one SAE on one evaluation set."""

    fvu: float
    """Fraction of variance unexplained, Σ‖x - x̂‖² / Σ‖x - mean‖², mean over the whole evaluation set; 0 is best, 1
    is as good as the mean alone."""
    l0: float
    """Mean number of active latents per token."""
    dead_fraction: float
    """Share of latents that are active on none of the `n_tokens`."""
    dense_fraction: float
    """Share of latents that are active on more than a tenth of the `n_tokens`."""
    cosine: float
    """Mean over tokens of the cosine between x - mean and x̂ - mean."""
    n_tokens: int
    """Number of evaluated rows."""
    firings_n: np.ndarray = field(repr=False, compare=False)
    """Number of rows on which each latent is active, [n]."""

    def density_counts(self) -> list[int]:
        """Count active latents by `DENSITY_EDGES`; rarer latents are in the first bin, dead latents in none."""
        share_n = self.firings_n[self.firings_n > 0] / self.n_tokens
        log_share_n = np.clip(np.log10(share_n), DENSITY_EDGES[0], DENSITY_EDGES[-1])
        return [int(count) for count in np.histogram(log_share_n, DENSITY_EDGES)[0]]


@torch.no_grad()
def measure_quality(sae: SAE, x_td: Tensor | np.ndarray, batch_size: int = 4096) -> SAEQuality:
    """Measure an SAE on rows, in two passes: their mean, then the sums about it in float64.

    Args:
        sae: SAE to measure.
        x_td: rows of the residual stream, any float type, held out from training.
        batch_size: rows per batch; bounds memory, changes results only in the last digits.

    Raises:
        EmergenceError: no rows, rows of another width, NaN or infinity in rows or reconstruction, or all rows equal.
    """
    rows_td = input_rows(x_td)
    n_tokens, d_model = rows_td.shape
    if n_tokens == 0 or d_model != sae.d_model:
        raise _unusable(f"{n_tokens} rows of width {d_model} cannot be evaluated by an SAE of width {sae.d_model}")
    batches = rows_td.split(batch_size)
    mean_d = torch.stack([batch.to(sae.device).sum(0, dtype=torch.float64) for batch in batches]).sum(0) / n_tokens
    if not bool(torch.isfinite(mean_d).all()):
        raise _unusable("evaluation rows hold NaN or infinity")
    sums = torch.zeros(3, dtype=torch.float64, device=sae.device)
    firings_n = torch.zeros(sae.n_latents, dtype=torch.int64, device=sae.device)
    for batch in batches:
        x_td = batch.to(sae.device)
        latents = sae.encode(x_td)
        reconstruction_td = sae.decode(latents).double()
        error_td = x_td.double() - reconstruction_td
        deviation_td = x_td.double() - mean_d
        sums += torch.stack(
            [
                error_td.square().sum(),
                deviation_td.square().sum(),
                F.cosine_similarity(deviation_td, reconstruction_td - mean_d, dim=1).sum(),
            ]
        )
        is_active_s = latents.values_s > 0
        firings_n += torch.bincount(latents.indices_s[is_active_s], minlength=sae.n_latents)
    squared_error, squared_deviation, cosine_sum = sums.tolist()
    if squared_deviation <= 1e-20 * n_tokens * float(mean_d.square().sum()):
        raise _unusable(f"all {n_tokens} evaluation rows are equal, there is no variance to explain")
    if not math.isfinite(squared_error):
        raise _unusable("the reconstruction of the evaluation rows is not finite")
    firings = firings_n.cpu().numpy()
    return SAEQuality(
        fvu=squared_error / squared_deviation,
        l0=int(firings.sum()) / n_tokens,
        dead_fraction=float((firings == 0).mean()),
        dense_fraction=float((firings > DENSE_ABOVE * n_tokens).mean()),
        cosine=cosine_sum / n_tokens,
        n_tokens=n_tokens,
        firings_n=firings,
    )


def _unusable(what: str) -> EmergenceError:
    return EmergenceError(
        what, where="SAE evaluation input", remedy="evaluate on captured rows of the layer that the SAE was trained on"
    )
