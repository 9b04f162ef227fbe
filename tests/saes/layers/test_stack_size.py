"""A stack has as many layers as a GPU holds, and says so when it holds none."""

import pytest

from emergence_assets.saes.layers.stack_size import USED_SHARE, layers_at_once
from resources.errors import EmergenceError


@pytest.mark.parametrize(("n_latents", "measured"), [(4096, 1.5e9), (16_384, 3.9e9)])
def test_six_layers_of_two_seeds_fit_into_the_memory_that_was_measured(n_latents: int, measured: float) -> None:
    assert layers_at_once(2, n_latents, 512, 2048, int(1.02 * measured / USED_SHARE)) == 6
    assert layers_at_once(2, n_latents, 512, 2048, int(0.95 * measured / USED_SHARE)) == 5


def test_a_stack_of_a_large_model_is_cut_to_a_gpu_of_80_gb() -> None:
    """Pythia-12b: 36 layers, three SAEs of 4,096 latents over 5,120 dimensions each."""
    assert layers_at_once(3, 4096, 5120, 2048, 80 * 10**9) == 18
    assert layers_at_once(3, 4096, 5120, 2048, 192 * 10**9) == 45


def test_without_a_gpu_nothing_is_cut() -> None:
    assert layers_at_once(3, 4096, 5120, 2048, None) is None


def test_a_layer_that_does_not_fit_is_refused_with_what_it_needs() -> None:
    with pytest.raises(EmergenceError, match=r"The 3 SAEs of one layer take 3\.8 GB of a GPU, and 2\.0 GB are free"):
        layers_at_once(3, 4096, 5120, 2048, 2 * 10**9)
