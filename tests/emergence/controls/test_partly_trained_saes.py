"""Controls of an SAE: frozen parts stay, random parts are random, Gaussian rows have the right moments only."""

import numpy as np
import torch

from emergence_assets.emergence.controls.partly_trained_saes import frozen_decoder, gaussian_rows
from emergence_assets.saes.model.random_encoder import random_encoder
from emergence_assets.saes.quality.quality import measure_quality
from emergence_assets.saes.training.batches import SAEJob
from emergence_assets.saes.training.options import TrainingOptions
from emergence_assets.study.sae import SAESettings
from tests.saes.planted import planted, train_sae

SETTINGS = SAESettings(k=4, n_latents=64, n_steps=60, batch_size=256)


def rows() -> torch.Tensor:
    return planted(4000, 24, 48, 3)[0]


def test_a_frozen_decoder_keeps_its_directions_and_its_encoder_learns() -> None:
    x_td = rows()
    one_step, frozen = SETTINGS.model_copy(update={"n_steps": 1}), TrainingOptions(frozen_decoder=True)
    start, end = train_sae(x_td, one_step, 3, options=frozen).sae, frozen_decoder([SAEJob(x_td, 3)], SETTINGS, "cpu")[0]
    torch.testing.assert_close(end.W_dec_nd, start.W_dec_nd, atol=1e-5, rtol=0)
    assert not torch.allclose(end.W_enc_nd, start.W_enc_nd, atol=1e-2)
    random, trained = random_encoder(x_td.mean(0), 64, 4, 3), train_sae(x_td, SETTINGS, 3).sae
    fvu = [measure_quality(sae, x_td).fvu for sae in (trained, end, random)]
    assert fvu[0] < fvu[1] < fvu[2]


def test_gaussian_rows_have_mean_and_covariance_and_no_other_structure() -> None:
    x_td = rows().numpy() * np.linspace(0.1, 3, 24, dtype=np.float32) + 2.0
    made = gaussian_rows(x_td, seed=1)
    assert made.dtype == np.float32
    assert made.shape == x_td.shape
    np.testing.assert_allclose(made.mean(0), x_td.mean(0), atol=0.1 * x_td.std())
    ratio = np.linalg.norm(np.cov(made.T) - np.cov(x_td.T)) / np.linalg.norm(np.cov(x_td.T))
    assert ratio < 0.1
    z = (made - made.mean(0)) / made.std(0)
    assert np.abs((z**4).mean(0) - 3).max() < 0.5  # planted rows are far from Gaussian
    assert np.array_equal(made, gaussian_rows(x_td, seed=1))
