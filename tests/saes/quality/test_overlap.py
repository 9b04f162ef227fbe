"""Shared latents equal a dense implementation of their definition, and a known overlap."""

import itertools
import math
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F

from emergence_assets.saes.model import pre_activations as product
from emergence_assets.saes.model.sae import SAE
from emergence_assets.saes.quality import overlap
from emergence_assets.saes.quality.overlap import MIN_COSINE, matched_cosine, nearest_neighbours, shared_fraction


def directions(n_latents: int, seed: int, d_model: int = 24) -> torch.Tensor:
    return F.normalize(torch.randn(n_latents, d_model, generator=torch.Generator().manual_seed(seed)), dim=1)


def sae_of(W_dec_nd: torch.Tensor) -> SAE:
    n_latents, d_model = W_dec_nd.shape
    return SAE(W_dec_nd.clone(), torch.zeros(n_latents), W_dec_nd, torch.zeros(d_model), k=1)


@pytest.mark.parametrize("chunk", [1, 7 * 30, 2**21])
def test_nearest_neighbours_equal_the_dense_definition(monkeypatch: pytest.MonkeyPatch, chunk: int) -> None:
    monkeypatch.setattr(product, "CHUNK_ELEMENTS", chunk)
    one_nd, other_md = directions(50, 0), directions(30, 1)
    cosines_nm = one_nd @ other_md.T
    nearest_n, cosine_n, nearest_m = nearest_neighbours(one_nd, other_md)
    assert torch.equal(nearest_n, cosines_nm.argmax(1))
    torch.testing.assert_close(cosine_n, cosines_nm.max(1).values)
    assert torch.equal(nearest_m, cosines_nm.argmax(0))


def test_an_sae_shares_everything_with_itself_in_another_order() -> None:
    W_dec_nd = directions(40, 0)
    order = torch.randperm(40, generator=torch.Generator().manual_seed(0))
    assert shared_fraction(sae_of(W_dec_nd), sae_of(W_dec_nd[order])) == 1.0


def test_random_directions_share_nothing() -> None:
    assert shared_fraction(sae_of(directions(200, 0, 96)), sae_of(directions(200, 1, 96))) == 0.0


def test_only_counted_latents_count() -> None:
    one_nd, other_nd = directions(40, 0, 96), directions(40, 1, 96)
    other_nd[:10] = one_nd[:10]
    one, other = sae_of(one_nd), sae_of(other_nd)
    assert shared_fraction(one, other) == pytest.approx(0.25)
    assert shared_fraction(one, other, torch.arange(40) < 20) == pytest.approx(0.5)
    assert math.isnan(shared_fraction(one, other, torch.zeros(40, dtype=torch.bool)))


def test_two_latents_cannot_share_one() -> None:
    one_nd = directions(40, 0, 96)
    one_nd[1] = F.normalize(one_nd[0] + 0.1 * one_nd[1], dim=0)
    other = sae_of(one_nd[:1])
    assert float(one_nd[1] @ one_nd[0]) > MIN_COSINE
    assert shared_fraction(sae_of(one_nd[:2]), other) == 0.5
    assert shared_fraction(replace(other, k=1), sae_of(one_nd[:2])) == 1.0


def test_matched_latents_are_the_best_assignment() -> None:
    one, other = sae_of(directions(6, 0, 8)), sae_of(directions(5, 1, 8))
    every_n, every_m = torch.ones(6, dtype=torch.bool), torch.ones(5, dtype=torch.bool)
    cosines = (one.W_dec_nd @ other.W_dec_nd.T).numpy()
    best = max(cosines[list(rows), range(5)].mean() for rows in itertools.permutations(range(6), 5))
    assert matched_cosine(one, other, every_n, every_m) == pytest.approx(best, abs=1e-6)
    same = sae_of(one.W_dec_nd[torch.tensor([3, 1, 5, 0, 4, 2])])
    assert matched_cosine(one, same, every_n, every_n) == pytest.approx(1.0)


def test_only_counted_latents_are_matched(monkeypatch: pytest.MonkeyPatch) -> None:
    one_nd, other_nd = directions(40, 0, 96), directions(40, 1, 96)
    other_nd[:10] = one_nd[:10]
    first, every, none = torch.arange(40) < 10, torch.ones(40, dtype=torch.bool), torch.zeros(40, dtype=torch.bool)
    assert matched_cosine(sae_of(one_nd), sae_of(other_nd), first, every) == pytest.approx(1.0)
    assert matched_cosine(sae_of(one_nd), sae_of(other_nd), every, every) < 0.6
    assert math.isnan(matched_cosine(sae_of(one_nd), sae_of(other_nd), first, none))
    monkeypatch.setattr(overlap, "MAX_ASSIGNED", 9)
    assert math.isnan(matched_cosine(sae_of(one_nd), sae_of(other_nd), first, every))
