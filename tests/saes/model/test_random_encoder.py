"""Random encoders: as sparse as SAEs, about the mean, and the codes of an SAE whose encoder was never trained."""

import torch

from emergence_assets.saes.model.random_encoder import random_encoder
from emergence_assets.saes.model.stack import fold_input_scale
from emergence_assets.saes.seeds import derived_seed
from emergence_assets.saes.training.batches import SAEJob, batches_of
from emergence_assets.saes.training.initialisation import initial_parameters
from emergence_assets.study.sae import SAESettings
from tests.saes.planted import planted


def test_codes_are_those_of_an_sae_before_its_training() -> None:
    x_td = planted(2000, 24, 48, 3)[0]
    settings = SAESettings(k=4, n_latents=64, n_steps=10, batch_size=256)
    batches = batches_of(SAEJob(x_td, 5), 256, "cpu")
    start = fold_input_scale(initial_parameters(settings, SAEJob(x_td, 5), batches), batches.mean_d, batches.scale, 4)
    random = random_encoder(x_td.mean(0), 64, 4, 5)
    (values, indices), (of_start, same) = random.encode(x_td).padded(), start.encode(x_td).padded()
    assert (indices == same).float().mean() > 0.999  # ties and the rounding of the mean
    ratio = (of_start / values)[values > 0]
    assert ratio.std() / ratio.mean() < 1e-3  # a common length, which no rank depends on


def test_every_row_has_k_latents_and_the_mean_is_subtracted() -> None:
    x_td = planted(500, 24, 48, 3)[0] + 5.0
    sae = random_encoder(x_td.mean(0), 64, 4, 1)
    assert sae.k == 4
    torch.testing.assert_close(sae.W_dec_nd.norm(dim=1), torch.ones(64))
    assert float((sae.encode(x_td).values_s > 0).float().mean()) > 0.9


def test_seeds_depend_on_every_name() -> None:
    names = [("random_encoder", seed, layer, draw) for seed in (0, 1) for layer in (-1, 0, 11) for draw in (0, 1, 11)]
    seeds = {derived_seed(*one) for one in names}
    assert len(seeds) == len(names)
    assert min(seeds) > 1_000_000
    assert derived_seed(*names[0]) in seeds
