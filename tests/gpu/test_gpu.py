"""The same work on an accelerator: close to the CPU, and recorded with its device. Opt in with -m gpu."""

from typing import get_args

import numpy as np
import pytest
import torch

from emergence_assets.saes.model.stack import Parameters
from emergence_assets.saes.quality.quality import measure_quality
from emergence_assets.saes.training.batches import SAEJob
from emergence_assets.saes.training.gradients import loss_and_gradients
from emergence_assets.saes.training.training import train_saes
from emergence_assets.saes.variants.topk import TopK
from emergence_assets.study.sae import AuxK, SAESettings, VariantName
from resources.compute.accelerator import choose_accelerator
from tests.saes.planted import random_parameters

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")]


def planted_rows(n_rows: int, d_model: int, n_atoms: int, n_active: int) -> torch.Tensor:
    """Make sums of a few unit directions, so that a sparse code exists."""
    generator = torch.Generator().manual_seed(0)
    atoms = torch.nn.functional.normalize(torch.randn(n_atoms, d_model, generator=generator), dim=1)
    chosen = torch.rand(n_rows, n_atoms, generator=generator).topk(n_active).indices
    strength = torch.rand(n_rows, n_active, generator=generator) + 0.5
    return (atoms[chosen] * strength[..., None]).sum(1)


def test_auto_chooses_the_gpu_and_names_it() -> None:
    chosen = choose_accelerator("auto")
    assert chosen.device.startswith("cuda:")
    assert chosen.name == torch.cuda.get_device_name(0)


@pytest.mark.parametrize("prefixes", [[], [64]])
@pytest.mark.parametrize("variant", get_args(VariantName))
def test_saes_trained_on_the_gpu_are_as_good_as_those_trained_on_the_cpu(
    variant: VariantName, prefixes: list[int]
) -> None:
    rows_td = planted_rows(20_000, 64, 128, 4)
    settings = SAESettings(
        variant=variant,
        k=4,
        prefixes=prefixes,
        n_latents=256,
        n_steps=300,
        batch_size=1024,
        learning_rate=4e-3,
        aux_k=AuxK(),
        dead_window_tokens=50_000,
    )
    jobs = [SAEJob(rows_td, 0), SAEJob(rows_td, 1), SAEJob(rows_td[:5000], 2)]
    fvu = {
        device: [measure_quality(trained.sae, rows_td.to(device)).fvu for trained in train_saes(jobs, settings, device)]
        for device in ("cpu", "cuda")
    }
    assert np.allclose(fvu["cpu"], fvu["cuda"], rtol=0.1), fvu


def test_gradients_on_the_gpu_are_those_on_the_cpu() -> None:
    y_gtd = torch.randn(3, 257, 24, generator=torch.Generator().manual_seed(0))
    parameters = random_parameters(n_members=3)
    on_gpu = Parameters(*(None if tensor is None else tensor.cuda() for tensor in parameters))  # pyright: ignore[reportArgumentType]
    expected = dict(loss_and_gradients(y_gtd, parameters, TopK(6)).gradients)
    for name, gradient in loss_and_gradients(y_gtd.cuda(), on_gpu, TopK(6)).gradients:
        torch.testing.assert_close(gradient.cpu(), expected[name], rtol=1e-4, atol=1e-6)
