"""Fidelity of the model: no loss with a perfect SAE, a total loss with the mean; only marked positions change."""

import numpy as np
import pytest
import torch
from transformers import GPTNeoXForCausalLM

from emergence_assets.activations.forward import replaced
from emergence_assets.activations.forward.replaced import replaced_stream
from emergence_assets.saes.model.sae import SAE
from emergence_assets.saes.quality.fidelity import kl_divergence, measure_fidelity
from tests.tiny_decoder import D_MODEL, tiny_decoder

VOCABULARY = 40


@pytest.fixture(scope="module")
def model() -> GPTNeoXForCausalLM:
    return tiny_decoder(VOCABULARY, n_layers=3)


@pytest.fixture(scope="module")
def texts() -> list[np.ndarray]:
    draw = np.random.default_rng(0)
    return [draw.integers(0, VOCABULARY, length).astype(np.int32) for length in draw.integers(2, 12, 37)]


def perfect_sae() -> SAE:
    """Make an SAE with every direction and its opposite: it reconstructs all rows."""
    W_nd = torch.cat([torch.eye(D_MODEL), -torch.eye(D_MODEL)])
    return SAE(W_nd, torch.zeros(2 * D_MODEL), W_nd, torch.zeros(D_MODEL), k=D_MODEL)


def mean_sae(mean_d: torch.Tensor) -> SAE:
    """Make an SAE that always returns the mean."""
    W_nd = torch.eye(D_MODEL)
    return SAE(W_nd, torch.full((D_MODEL,), -1e6), W_nd, mean_d, k=1)


@pytest.mark.parametrize("layer", [-1, 0, 1, 2])
@pytest.mark.parametrize("last_only", [True, False])
def test_a_perfect_sae_loses_nothing_and_the_mean_everything(model, texts, layer: int, last_only: bool) -> None:
    mean_d = torch.linspace(-1, 1, D_MODEL)
    perfect, mean = measure_fidelity(
        model, texts, layer, [perfect_sae(), mean_sae(mean_d)], mean_d, last_only=last_only
    )
    assert perfect.kl_recovered == pytest.approx(1, abs=1e-5)
    assert mean.kl_recovered == pytest.approx(0, abs=1e-5)
    assert perfect.fidelity_tokens == (len(texts) if last_only else sum(len(text) - 1 for text in texts))
    if last_only:
        assert perfect.loss_recovered is None
    else:
        assert perfect.loss_recovered == pytest.approx(1, abs=1e-4)
        assert mean.loss_recovered == pytest.approx(0, abs=1e-4)


def test_padding_changes_nothing(model, texts) -> None:
    mean_d = torch.zeros(D_MODEL)
    half = SAE(torch.eye(D_MODEL), torch.zeros(D_MODEL), torch.eye(D_MODEL), torch.zeros(D_MODEL), k=4)
    together = measure_fidelity(model, texts, 1, [half], mean_d, last_only=False)[0]
    kl_sae = kl_mean = clean = ablated = own = 0.0
    for text in texts:  # one by one
        ids = torch.from_numpy(text.astype(np.int64))[None]
        where = torch.ones(1, len(text), dtype=torch.bool)
        where[0, 0] = False

        def logits(change, ids=ids, where=where):
            with replaced_stream(model, 1, where, 1, lambda x_td: [change(x_td)]):
                return model(input_ids=ids).logits[0, 1:].log_softmax(-1)

        plain = model(input_ids=ids).logits[0, 1:].log_softmax(-1)
        mean, sae = logits(torch.zeros_like), logits(half.reconstruct)
        kl_sae += float((plain.exp() * (plain - sae)).sum())
        kl_mean += float((plain.exp() * (plain - mean)).sum())
        following = ids[0, 2:]
        rows = torch.arange(len(following))
        clean, ablated, own = (
            total - float(found[rows, following].sum())
            for total, found in ((clean, plain), (ablated, mean), (own, sae))
        )
    assert together.kl_recovered == pytest.approx(1 - kl_sae / kl_mean, rel=1e-4)
    assert together.loss_recovered == pytest.approx((ablated - own) / (ablated - clean), rel=1e-3)


@pytest.mark.parametrize("logits_at_once", [1, 40 * VOCABULARY, 2**26])
def test_batches_change_nothing(model, texts, monkeypatch: pytest.MonkeyPatch, logits_at_once: int) -> None:
    half = SAE(torch.eye(D_MODEL), torch.zeros(D_MODEL), torch.eye(D_MODEL), torch.zeros(D_MODEL), k=4)
    whole = measure_fidelity(model, texts, 1, [half, perfect_sae()], torch.zeros(D_MODEL), last_only=False)
    monkeypatch.setitem(replaced.LOGITS_AT_ONCE, "cpu", logits_at_once)
    parts = measure_fidelity(model, texts, 1, [half, perfect_sae()], torch.zeros(D_MODEL), last_only=False)
    for one, other in zip(whole, parts, strict=True):
        assert one.kl_recovered == pytest.approx(other.kl_recovered, rel=1e-4)
        assert one.loss_recovered == pytest.approx(other.loss_recovered, rel=1e-3)
        assert one.fidelity_tokens == other.fidelity_tokens


def test_a_divergence_is_never_below_zero_and_equals_its_definition() -> None:
    draw = torch.Generator().manual_seed(0)
    logits = torch.randn(50, 3000, generator=draw)
    log_p, far = logits.log_softmax(-1), torch.randn(50, 3000, generator=draw).log_softmax(-1)
    exact = (log_p.double().exp() * (log_p.double() - far.double())).sum()
    assert float(kl_divergence(log_p, far)) == pytest.approx(float(exact), rel=1e-4)
    for shift in (0, 1e-7, 1e-6, 1e-5):
        near = (logits + shift * torch.randn(50, 3000, generator=draw)).log_softmax(-1)
        assert kl_divergence(log_p, near) >= 0
