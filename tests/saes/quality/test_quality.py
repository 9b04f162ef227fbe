"""Quality of SAEs with known quality."""

from dataclasses import asdict

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from emergence_assets.saes.model.sae import SAE
from emergence_assets.saes.quality.quality import SAEQuality, measure_quality
from resources.errors import EmergenceError


def rows(n_rows=400, d_model=8, seed=0) -> torch.Tensor:
    return 5 + 3 * torch.randn(n_rows, d_model, generator=torch.Generator().manual_seed(seed))


def perfect_sae(d_model=8) -> SAE:
    """Make one latent per axis and sign: x = relu(x) - relu(-x)."""
    directions_nd = torch.cat([torch.eye(d_model), -torch.eye(d_model)])
    return SAE(directions_nd, torch.zeros(2 * d_model), directions_nd, torch.zeros(d_model), d_model)


def mean_sae(mean_d: torch.Tensor) -> SAE:
    """Make an SAE whose latents are never active: its output is the mean."""
    W_nd = F.normalize(torch.ones(4, mean_d.shape[0]), dim=1)
    return SAE(W_nd, torch.full((4,), -1e6), W_nd, mean_d, 2)


def random_sae(d_model=8, n_latents=32, k=4) -> SAE:
    W_nd = F.normalize(torch.randn(n_latents, d_model, generator=torch.Generator().manual_seed(3)), dim=1)
    return SAE(W_nd, torch.zeros(n_latents), W_nd, torch.full((d_model,), 5.0), k)


def test_fvu_is_zero_for_perfect_reconstruction():
    quality = measure_quality(perfect_sae(), rows())
    assert quality.fvu == pytest.approx(0, abs=1e-12)
    assert quality.cosine == pytest.approx(1)
    assert quality.l0 == 8
    assert quality.n_tokens == 400


def test_fvu_is_one_for_the_mean_baseline():
    x_td = rows()
    quality = measure_quality(mean_sae(x_td.mean(0)), x_td)
    assert quality.fvu == pytest.approx(1, abs=1e-6)
    assert (quality.l0, quality.dead_fraction, quality.dense_fraction) == (0, 1, 0)


def test_l0_equals_k_where_more_latents_could_fire():
    x_td = rows()
    assert measure_quality(random_sae(k=3), x_td).l0 == 3


def test_l0_counts_only_positive_activations():
    # 16 slots, but at most 8 of the 16 directions have a positive product with a row.
    sae = perfect_sae()
    full = SAE(sae.W_enc_nd, sae.b_enc_n, sae.W_dec_nd, sae.b_dec_d, 16)
    assert measure_quality(full, rows()).l0 == 8


def test_a_latent_planted_never_to_fire_is_dead():
    sae = random_sae(k=32)
    alive = measure_quality(sae, rows()).dead_fraction
    sae.b_enc_n[5] = -1e6
    assert measure_quality(sae, rows()).dead_fraction == alive + 1 / 32


def test_latents_are_dead_on_the_evaluated_rows_only():
    sae, x_td = perfect_sae(), rows().abs()
    # Positive rows use only the positive directions.
    assert measure_quality(sae, x_td).dead_fraction == 0.5
    assert measure_quality(sae, torch.cat([x_td, -x_td])).dead_fraction == 0


def test_latents_on_more_than_a_tenth_of_tokens_are_dense():
    x_td = torch.full((100, 8), 1.0)
    x_td[:10, 0] = -1.0  # exactly 10 %: not dense
    x_td[:11, 1] = -1.0  # 11 %: dense
    quality = measure_quality(perfect_sae(), x_td)
    assert quality.dense_fraction == (8 + 1) / 16


def test_fvu_is_the_ratio_written_out():
    sae, x_td = random_sae(), rows()
    error = (sae.reconstruct(x_td) - x_td).double().square().sum()
    expected = float(error / (x_td.double() - x_td.double().mean(0)).square().sum())
    assert measure_quality(sae, x_td).fvu == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("batch_size", [1, 7, 399, 10_000])
def test_batch_size_does_not_change_quality(batch_size):
    sae, x_td = random_sae(), rows()
    in_batches, whole = (asdict(measure_quality(sae, x_td, size)) for size in (batch_size, len(x_td)))
    assert (in_batches.pop("firings_n") == whole.pop("firings_n")).all()
    assert in_batches == pytest.approx(whole, rel=1e-6)


def test_half_precision_numpy_rows_are_measured():
    x_td = rows()
    assert measure_quality(random_sae(), x_td.half().numpy()).fvu == pytest.approx(
        measure_quality(random_sae(), x_td).fvu, rel=1e-2
    )


def test_densities_count_every_latent_that_fires_once():
    firings_n = np.array([10_000_000, 3_000_000, 3, 1, 0])
    quality = SAEQuality(0.4, 1.3, 0.2, 0.4, 0.75, n_tokens=10_000_000, firings_n=firings_n)
    # Rates: always, three times in ten, and so rarely that the first bin contains it.
    assert quality.density_counts() == [2, *[0] * 9, 1, 1]


@pytest.mark.parametrize(
    ("x_td", "what"),
    [
        (torch.zeros(0, 8), "0 rows"),
        (torch.zeros(5, 9), "width 9"),
        (torch.full((5, 8), torch.nan), "NaN or infinity"),
        (torch.full((5, 8), 0.1), "equal"),
    ],
)
def test_rows_that_cannot_be_measured_are_refused(x_td, what):
    with pytest.raises(EmergenceError, match=what):
        measure_quality(perfect_sae(), x_td)


def test_a_reconstruction_that_is_not_finite_is_refused():
    sae = perfect_sae()
    sae.W_enc_nd.mul_(3e38)
    with pytest.raises(EmergenceError, match="not finite"):
        measure_quality(sae, rows())
