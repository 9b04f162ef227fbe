"""The forward pass equals a dense implementation of its definition."""

from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from emergence_assets.saes.model import pre_activations as product
from emergence_assets.saes.model.pre_activations import pre_activations
from emergence_assets.saes.model.sae import SAE, input_rows
from resources.errors import EmergenceError


def random_sae(d_model=12, n_latents=40, k=5, seed=0) -> SAE:
    generator = torch.Generator().manual_seed(seed)
    return SAE(
        W_enc_nd=torch.randn(n_latents, d_model, generator=generator),
        b_enc_n=torch.randn(n_latents, generator=generator),
        W_dec_nd=F.normalize(torch.randn(n_latents, d_model, generator=generator), dim=1),
        b_dec_d=torch.randn(d_model, generator=generator),
        k=k,
    )


def dense_activations(sae: SAE, x_td: torch.Tensor) -> torch.Tensor:
    pre_tn = (x_td - sae.b_dec_d) @ sae.W_enc_nd.T + sae.b_enc_n
    top = pre_tn.topk(sae.k or 0, dim=1)
    return torch.zeros_like(pre_tn).scatter(1, top.indices, top.values.relu())


def test_encoding_equals_the_dense_definition():
    sae, x_td = random_sae(), torch.randn(300, 12, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(sae.encode(x_td).dense(40), dense_activations(sae, x_td), rtol=1e-5, atol=1e-5)


def test_reconstruction_equals_the_dense_definition():
    sae, x_td = random_sae(), torch.randn(300, 12, generator=torch.Generator().manual_seed(1))
    dense = dense_activations(sae, x_td) @ sae.W_dec_nd + sae.b_dec_d
    torch.testing.assert_close(sae.reconstruct(x_td), dense, rtol=1e-5, atol=1e-5)


def test_chunks_do_not_change_latents(monkeypatch):
    sae, x_td = random_sae(), torch.randn(101, 12, generator=torch.Generator().manual_seed(1))
    whole = sae.encode(x_td)
    monkeypatch.setattr(product, "CHUNK_ELEMENTS", 40 * 7)
    parts = sae.encode(x_td)
    assert torch.equal(whole.indices_s, parts.indices_s)
    torch.testing.assert_close(whole.values_s, parts.values_s, rtol=1e-6, atol=1e-6)


def test_encoding_no_rows_gives_no_latents():
    latents = random_sae().encode(torch.empty(0, 12))
    assert latents.values_s.shape == latents.indices_s.shape == (0,)
    assert latents.n_tokens == 0


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
    assert moved.k == sae.k


@pytest.mark.parametrize("k", [0, -1])
def test_k_below_one_is_refused(k):
    with pytest.raises(EmergenceError, match="k="):
        random_sae(k=k)


def test_k_above_the_number_of_latents_is_refused():
    with pytest.raises(EmergenceError, match="k=41 active latents do not fit a dictionary of 40"):
        random_sae(k=41)


def test_parameters_that_do_not_fit_are_refused():
    sae = random_sae()
    with pytest.raises(EmergenceError, match="b_dec_d has shape"):
        SAE(sae.W_enc_nd, sae.b_enc_n, sae.W_dec_nd, torch.zeros(13), 5)


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


def test_thresholds_let_through_what_exceeds_them_and_is_positive():
    sae = random_sae()
    threshold_n = torch.linspace(0, 2, 40)
    jump = replace(sae, k=None, threshold_n=threshold_n)
    x_td = torch.randn(300, 12, generator=torch.Generator().manual_seed(1))
    pre_tn = (x_td - sae.b_dec_d) @ sae.W_enc_nd.T + sae.b_enc_n
    expected_tn = torch.where((pre_tn > threshold_n) & (pre_tn > 0), pre_tn, 0.0)
    torch.testing.assert_close(jump.encode(x_td).dense(40), expected_tn, rtol=1e-5, atol=1e-5)
    values_tk, indices_tk = jump.encode(x_td).padded()
    torch.testing.assert_close(torch.zeros(300, 40).scatter_add(1, indices_tk, values_tk), expected_tn)


def test_an_sae_selects_in_one_way():
    sae = random_sae()
    with pytest.raises(ValueError, match="either"):
        replace(sae, threshold_n=torch.zeros(40))
    with pytest.raises(ValueError, match="either"):
        replace(sae, k=None)
