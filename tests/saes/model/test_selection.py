"""Selections against their definitions, ties and hostile values included."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from emergence_assets.saes.model import pre_activations as product
from emergence_assets.saes.model.selection import (
    BLOCK,
    BLOCKS_PAY_FROM,
    BatchTopKSelector,
    select_above,
    select_top_k,
    top_k_by_torch,
)
from emergence_assets.saes.model.variants import BatchTopK, TopK
from emergence_assets.saes.training.encoding import chosen_at_once, encode_stack, top_k_together
from emergence_assets.saes.training.sparse_gradients import group_by_latent, grouped_by_sorting
from tests.saes.planted import random_parameters


def check_top_k(pre_tn: torch.Tensor, k: int) -> None:
    chosen = select_top_k(pre_tn, k)
    indices_tk, values_tk = chosen.indices_s.view(-1, k), chosen.values_s.view(-1, k)
    assert chosen.offsets_t.tolist() == list(range(0, k * len(pre_tn) + 1, k))
    assert (indices_tk.diff(dim=1) > 0).all()
    assert torch.equal(values_tk, pre_tn.gather(1, indices_tk).relu())
    assert torch.equal(values_tk.sort(descending=True).values, pre_tn.topk(k, dim=1).values.relu())


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
    check_top_k(pre_tn.float(), k)


@pytest.mark.parametrize("n_levels", [2, 50, 10**6])
@pytest.mark.parametrize("k", [1, 7, BLOCKS_PAY_FROM // BLOCK // 2, 500])
def test_selection_in_wide_rows_is_the_k_largest(n_levels, k):
    # Sorted rows put all the largest into few blocks, shuffled ones do not.
    pre_tn = torch.randint(
        -n_levels, n_levels, (9, BLOCKS_PAY_FROM), generator=torch.Generator().manual_seed(k)
    ).float()
    check_top_k(pre_tn, k)
    check_top_k(pre_tn.sort(dim=1).values, k)


@pytest.mark.parametrize("n_latents", [6, BLOCKS_PAY_FROM])
def test_selection_survives_nan(n_latents):
    pre_tn = torch.arange(2.0 * n_latents).view(2, n_latents)
    pre_tn[0] = torch.nan
    indices_tk = select_top_k(pre_tn, 2).indices_s.view(2, 2)
    assert indices_tk[1].tolist() == [n_latents - 2, n_latents - 1]
    assert indices_tk[0].unique().shape == (2,)


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
    activations = [BatchTopK(3), BatchTopK(5)]
    plain = encode_stack(centred_gtd, parameters, activations)
    guessed = encode_stack(centred_gtd, parameters, activations, torch.full((2,), guess))
    assert all(torch.equal(*pair) for pair in zip(plain.latents, guessed.latents, strict=True))
    assert plain.latents.offsets_t[50] == 150
    assert len(plain.latents.values_s) == 50 * (3 + 5)


def test_latents_of_a_member_are_numbered_after_those_of_the_members_before():
    parameters = random_parameters(n_members=3)
    centred_gtd = torch.randn(3, 20, 24, generator=torch.Generator().manual_seed(3))
    latents = encode_stack(centred_gtd, parameters, [TopK(4)] * 3).latents
    assert torch.equal(latents.indices_s.view(3, -1) // 80, torch.arange(3)[:, None].expand(3, 80))


def test_what_equals_its_threshold_is_not_above():
    latents = select_above(torch.tensor([[1.0, 2.0, -1.0], [0.0, 2.5, 3.0]]), torch.tensor([0.5, 2.0, 0.0]))
    assert latents.indices_s.tolist() == [0, 1, 2]
    assert latents.offsets_t.tolist() == [0, 1, 3]


# What runs on a GPU, on the CPU: the same results as what runs there otherwise.


def test_torch_selects_the_same() -> None:
    pre_tn = torch.randn(20, 90, generator=torch.Generator().manual_seed(0))
    assert all(torch.equal(*pair) for pair in zip(select_top_k(pre_tn, 7), top_k_by_torch(pre_tn, 7), strict=True))


@pytest.mark.parametrize("ks", [(4, 4, 4), (2, 5, 1)])
def test_members_select_together_what_they_select_alone(monkeypatch: pytest.MonkeyPatch, ks: tuple[int, ...]) -> None:
    monkeypatch.setattr(product, "CHUNK_ELEMENTS", 3 * 80 * 7)
    parameters = random_parameters(n_members=3)
    centred_gtd = torch.randn(3, 20, 24, generator=torch.Generator().manual_seed(3))
    together = top_k_together(centred_gtd, parameters, ks).dense(3 * 80)
    alone = encode_stack(centred_gtd, parameters, [TopK(k) for k in ks]).latents.dense(3 * 80)
    torch.testing.assert_close(together, alone)


def test_the_largest_of_a_batch_are_the_same_at_once() -> None:
    parameters = random_parameters()
    centred_gtd = torch.randn(1, 50, 24, generator=torch.Generator().manual_seed(3))
    by_chunks = encode_stack(centred_gtd, parameters, [BatchTopK(5)]).latents
    values_s, places_s = chosen_at_once(centred_gtd[0], parameters, 250)
    assert torch.equal(values_s, by_chunks.values_s)
    assert torch.equal(places_s % 80, by_chunks.indices_s)


def test_sorting_groups_as_counting_does() -> None:
    parameters = random_parameters()
    centred_gtd = torch.randn(1, 50, 24, generator=torch.Generator().manual_seed(3))
    latents = encode_stack(centred_gtd, parameters, [BatchTopK(5)]).latents
    for one, other in zip(group_by_latent(latents, 80), grouped_by_sorting(latents, 80), strict=True):
        assert torch.equal(one.long(), other)
