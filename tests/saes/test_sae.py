"""The forward pass against its definition written densely."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from emergence_assets.errors import EmergenceError
from emergence_assets.saes import sae as sae_module
from emergence_assets.saes.sae import SAE, Latents, TopK, input_rows, pre_activations, select_top_k


def random_sae(d_model=12, n_latents=40, k=5, seed=0) -> SAE:
    generator = torch.Generator().manual_seed(seed)
    return SAE(
        W_enc_nd=torch.randn(n_latents, d_model, generator=generator),
        b_enc_n=torch.randn(n_latents, generator=generator),
        W_dec_nd=F.normalize(torch.randn(n_latents, d_model, generator=generator), dim=1),
        b_dec_d=torch.randn(d_model, generator=generator),
        activation=TopK(k),
    )


def dense_activations(sae: SAE, x_td: torch.Tensor) -> torch.Tensor:
    pre_tn = (x_td - sae.b_dec_d) @ sae.W_enc_nd.T + sae.b_enc_n
    top = pre_tn.topk(sae.activation.k, dim=1)
    return torch.zeros_like(pre_tn).scatter(1, top.indices, top.values.relu())


def as_dense(latents: Latents, n_latents: int) -> torch.Tensor:
    return torch.zeros(latents.values_tk.shape[0], n_latents).scatter(1, latents.indices_tk, latents.values_tk)


def test_encoding_equals_the_dense_definition():
    sae, x_td = random_sae(), torch.randn(300, 12, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(as_dense(sae.encode(x_td), 40), dense_activations(sae, x_td), rtol=1e-5, atol=1e-5)


def test_reconstruction_equals_the_dense_definition():
    sae, x_td = random_sae(), torch.randn(300, 12, generator=torch.Generator().manual_seed(1))
    dense = dense_activations(sae, x_td) @ sae.W_dec_nd + sae.b_dec_d
    torch.testing.assert_close(sae.reconstruct(x_td), dense, rtol=1e-5, atol=1e-5)


def test_chunks_do_not_change_latents(monkeypatch):
    sae, x_td = random_sae(), torch.randn(101, 12, generator=torch.Generator().manual_seed(1))
    whole = sae.encode(x_td)
    monkeypatch.setattr(sae_module, "CHUNK_ELEMENTS", 40 * 7)
    parts = sae.encode(x_td)
    assert torch.equal(whole.indices_tk, parts.indices_tk)
    torch.testing.assert_close(whole.values_tk, parts.values_tk, rtol=1e-6, atol=1e-6)


def test_encoding_no_rows_gives_no_latents():
    latents = random_sae().encode(torch.empty(0, 12))
    assert latents.values_tk.shape == latents.indices_tk.shape == (0, 5)


@given(
    n_latents=st.integers(1, 30),
    k_share=st.floats(0, 1),
    n_tokens=st.integers(1, 8),
    n_levels=st.integers(1, 60),
    seed=st.integers(0, 2**16),
)
@settings(max_examples=80, deadline=None)
def test_selection_is_the_k_largest_also_among_ties(n_latents, k_share, n_tokens, n_levels, seed):
    k = 1 + round(k_share * (n_latents - 1))
    # Few levels make ties, also at the threshold.
    pre_tn = torch.randint(-n_levels, n_levels, (n_tokens, n_latents), generator=torch.Generator().manual_seed(seed))
    pre_tn = pre_tn.float()
    chosen = select_top_k(pre_tn, k)
    assert (chosen.indices_tk.diff(dim=1) > 0).all()
    assert torch.equal(chosen.values_tk, pre_tn.gather(1, chosen.indices_tk).relu())
    assert torch.equal(chosen.values_tk.sort(descending=True).values, pre_tn.topk(k, dim=1).values.relu())


def test_selection_survives_nan():
    pre_tn = torch.arange(12.0).view(2, 6)
    pre_tn[0] = torch.nan
    chosen = select_top_k(pre_tn, 2)
    assert chosen.indices_tk[1].tolist() == [4, 5]
    assert chosen.indices_tk[0].unique().shape == (2,)


def test_fast_product_equals_the_plain_one():
    generator = torch.Generator().manual_seed(0)
    x_td, W_nd = torch.randn(65, 33, generator=generator), torch.randn(130, 33, generator=generator)
    b_n = torch.randn(130, generator=generator)
    exact = (x_td.double() @ W_nd.double().T + b_n.double()).float()
    torch.testing.assert_close(pre_activations(x_td, W_nd, b_n), exact, rtol=1e-5, atol=2e-5)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_half_and_double_rows_are_encoded_as_float32(dtype):
    sae, x_td = random_sae(), torch.randn(20, 12, generator=torch.Generator().manual_seed(1)).to(dtype)
    assert torch.equal(sae.reconstruct(x_td), sae.reconstruct(x_td.float()))


def test_moving_keeps_every_parameter():
    sae = random_sae()
    moved = sae.to("cpu")
    assert torch.equal(moved.W_enc_nd, sae.W_enc_nd)
    assert moved.activation == sae.activation


@pytest.mark.parametrize("k", [0, -1])
def test_k_below_one_is_refused(k):
    with pytest.raises(EmergenceError, match="k="):
        TopK(k)


def test_k_above_the_number_of_latents_is_refused():
    with pytest.raises(EmergenceError, match="k=41 active latents of only 40"):
        random_sae(k=41)


def test_parameters_that_do_not_fit_are_refused():
    sae = random_sae()
    with pytest.raises(EmergenceError, match="b_dec_d has shape"):
        SAE(sae.W_enc_nd, sae.b_enc_n, sae.W_dec_nd, torch.zeros(13), TopK(5))


@pytest.mark.parametrize("rows", [np.zeros(3, np.float32), np.zeros((2, 3), np.int64), torch.zeros(2, 2, 2)])
def test_input_that_is_not_rows_of_floats_is_refused(rows):
    with pytest.raises(EmergenceError, match="rows of floats"):
        input_rows(rows)


def test_read_only_arrays_are_accepted_and_not_shared():
    array = np.ones((2, 3), np.float32)
    array.flags.writeable = False
    rows = input_rows(array)
    rows += 1
    assert (array == 1).all()
