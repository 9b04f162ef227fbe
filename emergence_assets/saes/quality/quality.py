"""How well an SAE reconstructs rows that it was not trained on.

Batches add to totals and nothing is averaged twice, so that the batch size cannot change a result.

Shape suffixes: t tokens (rows), d d_model, n latents, k active latents.
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
"""A latent is dense that fires on more than this share of tokens."""
DENSITY_EDGES = tuple(float(edge) for edge in np.arange(-6, 0.5, 0.5))
"""log10 of the share of tokens that a latent fires on, edges of the density histogram: -6, -5.5 … 0."""


@dataclass(frozen=True)
class SAEQuality:
    """Quality of one SAE on one evaluation set. Make it with `from_totals`."""

    fvu: float
    """Fraction of variance unexplained, Σ‖x - x̂‖² / Σ‖x - mean‖², mean over the whole evaluation set; 0 is best."""
    explained_variance: float
    """1 - fvu; negative where the mean alone would be better."""
    l0: float
    """Latents with a positive activation, mean per token."""
    dead_fraction: float
    """Share of latents that fire on none of the `n_tokens`."""
    dense_fraction: float
    """Share of latents that fire on more than 10 % of the `n_tokens`."""
    cosine: float
    """Mean over tokens of the cosine between x - mean and x̂ - mean."""
    n_tokens: int
    """Rows evaluated."""
    firings_n: np.ndarray = field(repr=False, compare=False)
    """Rows on which each latent fires."""

    def density_counts(self) -> list[int]:
        """Latents that fire, by `DENSITY_EDGES`; rarer ones count in the first bin, those that never fire in none."""
        share_n = self.firings_n[self.firings_n > 0] / self.n_tokens
        log_share_n = np.clip(np.log10(share_n), DENSITY_EDGES[0], DENSITY_EDGES[-1])
        return [int(count) for count in np.histogram(log_share_n, DENSITY_EDGES)[0]]

    @classmethod
    def from_totals(
        cls,
        *,
        n_tokens: int,
        squared_error: float,
        squared_deviation: float,
        squared_reconstruction: float,
        inner_product: float,
        n_active: int,
        firings_n: np.ndarray,
        cosine_sum: float,
    ) -> "SAEQuality":
        """Ratios of sums over all tokens.

        Args:
            n_tokens: rows.
            squared_error: Σ‖x - x̂‖².
            squared_deviation: Σ‖x - mean‖².
            squared_reconstruction: Σ‖x̂ - mean‖².
            inner_product: Σ (x - mean)·(x̂ - mean).
            n_active: positive activations.
            firings_n: tokens on which each latent is active, integers.
            cosine_sum: Σ cos(x - mean, x̂ - mean).

        Raises:
            ValueError: totals that cannot come from the same tokens, by the claim that they break.
        """
        sums = (squared_error, squared_deviation, squared_reconstruction, inner_product, cosine_sum)
        claims = {
            "there are tokens and latents": n_tokens > 0 and firings_n.size > 0,
            "sums are finite": all(math.isfinite(value) for value in sums),
            "squares are not negative": min(squared_error, squared_deviation, squared_reconstruction) >= 0,
            "the input varies": squared_deviation > 0,
            # ‖x - x̂‖² = ‖x - mean‖² - 2 (x - mean)·(x̂ - mean) + ‖x̂ - mean‖², summed in float64.
            "the error is the difference of input and reconstruction": math.isclose(
                squared_error,
                squared_deviation - 2 * inner_product + squared_reconstruction,
                rel_tol=0,
                abs_tol=1e-9 * (squared_deviation + squared_reconstruction),
            ),
            "no latent fires on more tokens than there are": bool(((firings_n >= 0) & (firings_n <= n_tokens)).all()),
            "firings add up to the active latents": int(firings_n.sum()) == n_active,
            "cosines lie between -1 and 1": abs(cosine_sum) <= n_tokens * (1 + 1e-6),
        }
        broken = [claim for claim, holds in claims.items() if not holds]
        if broken:
            raise ValueError(f"totals of SAE quality contradict each other: not true that {'; '.join(broken)}")
        fvu = squared_error / squared_deviation
        return cls(
            fvu=fvu,
            explained_variance=1 - fvu,
            l0=n_active / n_tokens,
            dead_fraction=float((firings_n == 0).mean()),
            dense_fraction=float((firings_n > DENSE_ABOVE * n_tokens).mean()),
            cosine=cosine_sum / n_tokens,
            n_tokens=n_tokens,
            firings_n=firings_n,
        )


@torch.no_grad()
def measure_quality(sae: SAE, x_td: Tensor | np.ndarray, batch_size: int = 4096) -> SAEQuality:
    """Quality on rows, in two passes: their mean, then the sums about it in float64.

    Args:
        sae: to judge.
        x_td: raw residual stream rows, any float type, that training did not see.
        batch_size: rows at a time; bounds memory, changes results only in the last digits.

    Raises:
        EmergenceError: no rows, rows of another width, NaN or infinity, or all rows equal.
    """
    rows_td = input_rows(x_td)
    n_tokens, d_model = rows_td.shape
    if n_tokens == 0 or d_model != sae.d_model:
        raise _unusable(f"{n_tokens} rows of width {d_model} cannot be judged by an SAE of width {sae.d_model}")
    batches = rows_td.split(batch_size)
    mean_d = torch.stack([batch.to(sae.device).sum(0, dtype=torch.float64) for batch in batches]).sum(0) / n_tokens
    if not bool(torch.isfinite(mean_d).all()):
        raise _unusable("evaluation rows hold NaN or infinity")
    sums = torch.zeros(5, dtype=torch.float64, device=sae.device)
    firings_n = torch.zeros(sae.n_latents, dtype=torch.int64, device=sae.device)
    n_active = torch.zeros((), dtype=torch.int64, device=sae.device)
    for batch in batches:
        x_td = batch.to(sae.device)
        latents = sae.encode(x_td)
        reconstruction_td = sae.decode(latents).double()
        error_td = x_td.double() - reconstruction_td
        deviation_td, reconstruction_td = x_td.double() - mean_d, reconstruction_td - mean_d
        sums += torch.stack(
            [
                error_td.square().sum(),
                deviation_td.square().sum(),
                reconstruction_td.square().sum(),
                (deviation_td * reconstruction_td).sum(),
                F.cosine_similarity(deviation_td, reconstruction_td, dim=1).sum(),
            ]
        )
        is_active_s = latents.values_s > 0
        n_active += is_active_s.sum()
        firings_n += torch.bincount(latents.indices_s[is_active_s], minlength=sae.n_latents)
    squared_error, squared_deviation, squared_reconstruction, inner_product, cosine_sum = sums.tolist()
    if squared_deviation <= 1e-20 * n_tokens * float(mean_d.square().sum()):
        raise _unusable(f"all {n_tokens} evaluation rows are equal, there is no variance to explain")
    return SAEQuality.from_totals(
        n_tokens=n_tokens,
        squared_error=squared_error,
        squared_deviation=squared_deviation,
        squared_reconstruction=squared_reconstruction,
        inner_product=inner_product,
        n_active=int(n_active),
        firings_n=firings_n.cpu().numpy(),
        cosine_sum=cosine_sum,
    )


def _unusable(what: str) -> EmergenceError:
    return EmergenceError(
        what, where="SAE evaluation input", remedy="evaluate on captured rows of the layer that the SAE was trained on"
    )
