"""Removal of latents: as by hand, without effect for a silent latent, with a loss where a planted model needs it."""

import numpy as np
import pytest
import torch
from transformers import GPTNeoXForCausalLM

from emergence_assets.activations.forward import replaced
from emergence_assets.checkpoints.models.stream import changed_stream, residual_stream
from emergence_assets.emergence.use.losses import Removal, latent_energies, losses_without
from emergence_assets.saes.model.sae import SAE
from tests.tiny_decoder import D_MODEL, tiny_decoder

VOCABULARY = 24


@pytest.fixture(scope="module")
def model() -> GPTNeoXForCausalLM:
    return tiny_decoder(VOCABULARY, n_layers=2)


@pytest.fixture(scope="module")
def texts() -> list[np.ndarray]:
    draw = np.random.default_rng(0)
    return [draw.integers(0, VOCABULARY, length).astype(np.int32) for length in draw.integers(3, 12, 21)]


@pytest.fixture(scope="module")
def saes() -> list[SAE]:
    """Two dictionaries, selected by number and by threshold; latent 0 of the first is never active."""
    torch.manual_seed(1)
    W_nd = torch.nn.functional.normalize(torch.randn(20, D_MODEL), dim=1)
    silent_n = torch.zeros(20)
    silent_n[0] = -1e6
    return [
        SAE(W_nd, silent_n, W_nd, torch.zeros(D_MODEL), k=3),
        SAE(W_nd, torch.zeros(20), W_nd, torch.full((D_MODEL,), 0.1), threshold_n=torch.full((20,), 0.2)),
    ]


@pytest.mark.parametrize("layer", [-1, 0, 1])
def test_each_removal_is_the_removal_by_hand(model, texts, saes, layer: int) -> None:
    removals = [Removal(saes[0], 4), Removal(saes[1], 7), Removal(saes[0], 0), Removal(saes[0], 11)]
    found = losses_without(model, texts, layer, removals)
    energies = latent_energies(model, texts, layer, saes)
    by_hand = [np.zeros(20), np.zeros(20)]
    for number, text in enumerate(texts):
        ids = torch.from_numpy(text.astype(np.int64))[None]
        with residual_stream(model, [layer]) as stream:
            plain = model(input_ids=ids).logits[0, 1:-1].log_softmax(-1)
            x_td = stream[layer][0, 1:]
        rows = torch.arange(len(text) - 2)
        assert found.n_tokens_p[number] == len(text) - 2
        assert found.clean_p[number] == pytest.approx(-float(plain[rows, ids[0, 2:]].sum()), rel=1e-4)
        for r, removal in enumerate(removals):
            codes_tn = removal.sae.encode(x_td).dense(20)
            value_t = codes_tn[:, removal.latent]
            less_td = torch.cat([torch.zeros(1, D_MODEL), value_t[:, None] * removal.sae.W_dec_nd[removal.latent]])
            with changed_stream(model, {layer: lambda one, less_td=less_td: one - less_td}):
                without = model(input_ids=ids).logits[0, 1:-1].log_softmax(-1)
            loss = -float(without[rows, ids[0, 2:]].sum())
            assert found.without_rp[r, number] == pytest.approx(loss, rel=1e-4)
            assert found.active_rp[r, number] == int((value_t > 0).sum())
        for total, sae in zip(by_hand, saes, strict=True):
            total += (sae.encode(x_td).dense(20).double() ** 2).sum(0).numpy()
    assert np.abs(found.without_rp[2] - found.clean_p).max() < 1e-4
    assert found.active_rp[2].sum() == 0
    for energy_n, total in zip(energies, by_hand, strict=True):
        np.testing.assert_allclose(energy_n, total, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("logits_at_once", [1, 100 * VOCABULARY])
def test_batches_change_nothing(model, texts, saes, monkeypatch: pytest.MonkeyPatch, logits_at_once: int) -> None:
    removals = [Removal(saes[0], 4), Removal(saes[1], 7)]
    whole, energies = losses_without(model, texts, 0, removals), latent_energies(model, texts, 0, saes)
    monkeypatch.setitem(replaced.LOGITS_AT_ONCE, "cpu", logits_at_once)
    parts = losses_without(model, texts, 0, removals)
    np.testing.assert_allclose(parts.clean_p, whole.clean_p, rtol=1e-5)
    np.testing.assert_allclose(parts.without_rp, whole.without_rp, rtol=1e-5)
    np.testing.assert_array_equal(parts.active_rp, whole.active_rp)
    for one, other in zip(latent_energies(model, texts, 0, saes), energies, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5)


def planted_model() -> GPTNeoXForCausalLM:
    """Make a model that predicts token 2 after token 1 and 4 after 3, each from a direction of its own."""
    model = tiny_decoder(VOCABULARY, n_layers=2)
    for block in model.gpt_neox.layers:
        for part in (block.attention.dense, block.mlp.dense_4h_to_h):
            part.weight.zero_()
            part.bias.zero_()
    model.gpt_neox.embed_in.weight.copy_(3 * torch.eye(VOCABULARY, D_MODEL))
    unembedding = model.get_output_embeddings().weight.zero_()
    unembedding[2, 1] = unembedding[4, 3] = 4.0
    return model


def test_a_model_that_needs_a_direction_loses_its_texts_and_no_others() -> None:
    axes = SAE(torch.eye(D_MODEL), torch.zeros(D_MODEL), torch.eye(D_MODEL), torch.zeros(D_MODEL), k=2)
    own, other = np.array([0, 1, 2, 1, 2, 1, 2]), np.array([0, 3, 4, 3, 4, 3, 4])
    found = losses_without(planted_model(), [own, other], 1, [Removal(axes, 1), Removal(axes, 3), Removal(axes, 9)])
    rise_rp = (found.without_rp - found.clean_p) / found.n_tokens_p
    assert rise_rp[0, 0] > 0.5
    assert rise_rp[1, 1] > 0.5
    assert np.abs(rise_rp[[0, 1, 2, 2], [1, 0, 0, 1]]).max() < 1e-5
    assert found.active_rp.tolist() == [[3, 0], [0, 3], [0, 0]]
