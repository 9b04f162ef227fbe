"""Selection of latents in training equals its definition; the GPU code gives the same result on the CPU."""

from typing import get_args

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from emergence_assets.saes.model import pre_activations as product
from emergence_assets.saes.training.sparse_gradients import group_by_latent, grouped_by_sorting
from emergence_assets.saes.variants.batchtopk import BatchTopK, BatchTopKSelector, select_at_once
from emergence_assets.saes.variants.registry import VARIANTS
from emergence_assets.saes.variants.topk import TopK, top_k_together
from emergence_assets.study.sae import VariantName
from tests.saes.planted import random_parameters


def test_every_name_that_a_study_may_give_has_its_variant():
    assert set(VARIANTS) == set(get_args(VariantName))


@given(
    shape=st.tuples(st.integers(1, 7), st.integers(1, 12)),
    n_slots=st.integers(1, 90),
    n_levels=st.integers(1, 40),
    guess=st.floats(0, 50),
    n_chunks=st.integers(1, 4),
    seed=st.integers(0, 2**16),
)
@settings(max_examples=150, deadline=None)
def test_the_largest_of_a_batch_are_found_whatever_was_guessed(shape, n_slots, n_levels, guess, n_chunks, seed):
    pre_tn = torch.randint(-n_levels, n_levels, shape, generator=torch.Generator().manual_seed(seed)).float()

    def found(guess: float):
        largest, first = BatchTopKSelector(n_slots, guess), 0
        for chunk in pre_tn.tensor_split(n_chunks):
            largest.add(chunk, first)
            first += chunk.numel()
        return largest.result()

    values, places = found(0.0) or pytest.fail("without a guess there is always a result")
    expected = np.sort(pre_tn[pre_tn > 0].numpy())[::-1][:n_slots]
    assert np.array_equal(np.sort(values)[::-1], expected)
    assert np.array_equal(pre_tn.numpy().ravel()[places], values)
    assert (np.diff(places) > 0).all()
    guessed = found(guess)
    if guessed is None:
        assert len(expected) < n_slots or guess >= expected[-1]
    else:
        assert np.array_equal(guessed[1], places)


@pytest.mark.parametrize("guess", [0.0, 0.5, 1e9])
def test_a_guessed_threshold_changes_nothing(guess):
    parameters = random_parameters(n_members=2)
    centred_gtd = torch.randn(2, 50, 24, generator=torch.Generator().manual_seed(3))
    plain = BatchTopK(3).encode(centred_gtd, parameters)
    guessed = BatchTopK(3).encode(centred_gtd, parameters, torch.full((2,), guess))
    assert all(torch.equal(*pair) for pair in zip(plain.latents, guessed.latents, strict=True))
    assert plain.latents.offsets_t[50] == 150
    assert len(plain.latents.values_s) == 2 * 150


def test_latents_of_a_member_are_numbered_after_those_of_the_members_before():
    parameters = random_parameters(n_members=3)
    centred_gtd = torch.randn(3, 20, 24, generator=torch.Generator().manual_seed(3))
    latents = TopK(4).encode(centred_gtd, parameters).latents
    assert torch.equal(latents.indices_s.view(3, -1) // 80, torch.arange(3)[:, None].expand(3, 80))


def test_members_of_a_stack_select_as_they_do_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(product, "CHUNK_ELEMENTS", 3 * 80 * 7)
    parameters = random_parameters(n_members=3)
    centred_gtd = torch.randn(3, 20, 24, generator=torch.Generator().manual_seed(3))
    together = top_k_together(centred_gtd, parameters, 4).dense(3 * 80)
    alone = TopK(4).encode(centred_gtd, parameters).latents.dense(3 * 80)
    torch.testing.assert_close(together, alone)


def test_the_largest_of_a_batch_are_the_same_at_once() -> None:
    parameters = random_parameters()
    centred_gtd = torch.randn(1, 50, 24, generator=torch.Generator().manual_seed(3))
    by_chunks = BatchTopK(5).encode(centred_gtd, parameters).latents
    values_s, places_s = select_at_once(centred_gtd[0], parameters, 250)
    assert torch.equal(values_s, by_chunks.values_s)
    assert torch.equal(places_s % 80, by_chunks.indices_s)


def test_sorting_groups_as_counting_does() -> None:
    parameters = random_parameters()
    centred_gtd = torch.randn(1, 50, 24, generator=torch.Generator().manual_seed(3))
    latents = BatchTopK(5).encode(centred_gtd, parameters).latents
    for one, other in zip(group_by_latent(latents, 80), grouped_by_sorting(latents, 80), strict=True):
        assert torch.equal(one.long(), other)
