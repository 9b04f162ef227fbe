"""The same work on an accelerator: close to the CPU, and recorded as done there. Opt in with -m gpu."""

import numpy as np
import pytest
import torch

from emergence_assets.saes.activation import TopK
from emergence_assets.saes.quality import measure_quality
from emergence_assets.saes.recipe import SAERecipe
from emergence_assets.saes.training import train_sae
from resources.accelerator import choose_accelerator

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")]


def planted_rows(n_rows: int, d_model: int, n_atoms: int, n_active: int) -> torch.Tensor:
    """Sums of a few unit directions, so that a sparse code exists."""
    generator = torch.Generator().manual_seed(0)
    atoms = torch.nn.functional.normalize(torch.randn(n_atoms, d_model, generator=generator), dim=1)
    chosen = torch.rand(n_rows, n_atoms, generator=generator).topk(n_active).indices
    strength = torch.rand(n_rows, n_active, generator=generator) + 0.5
    return (atoms[chosen] * strength[..., None]).sum(1)


def test_auto_chooses_the_gpu_and_names_it() -> None:
    chosen = choose_accelerator("auto")
    assert chosen.device.startswith("cuda:")
    assert chosen.name == torch.cuda.get_device_name(0)


def test_an_sae_trained_on_the_gpu_is_as_good_as_one_trained_on_the_cpu() -> None:
    rows_td = planted_rows(20_000, 64, 128, 4)
    recipe = SAERecipe(activation=TopK(4), n_latents=256, n_steps=300, batch_size=1024)
    fvu = {
        device: measure_quality(train_sae(rows_td, recipe, 0, device).sae, rows_td.to(device)).fvu
        for device in ("cpu", "cuda")
    }
    assert np.isclose(fvu["cpu"], fvu["cuda"], rtol=0.1), fvu
