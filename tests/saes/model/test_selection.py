"""Selections equal their definitions, including ties and hostile values."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from emergence_assets.saes.model.selection import BLOCK, BLOCKS_PAY_FROM, select_above, select_top_k, top_k_by_torch


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
    # Sorted rows put the largest values into few blocks, shuffled rows do not.
    pre_tn = torch.randint(
        -n_levels, n_levels, (9, BLOCKS_PAY_FROM), generator=torch.Generator().manual_seed(k)
    ).float()
    check_top_k(pre_tn, k)
    check_top_k(pre_tn.sort(dim=1).values, k)


@pytest.mark.parametrize("n_levels", [2, 50, 10**6])
@pytest.mark.parametrize("k", [1, 4, 8, 9])
def test_few_of_512_are_the_k_largest(n_levels: int, k: int) -> None:
    pre_tn = torch.randint(-n_levels, n_levels, (9, 512), generator=torch.Generator().manual_seed(k)).float()
    check_top_k(pre_tn, k)
    check_top_k(pre_tn.sort(dim=1).values, k)


@pytest.mark.parametrize("n_latents", [6, 512, BLOCKS_PAY_FROM])
def test_selection_survives_nan(n_latents):
    pre_tn = torch.arange(2.0 * n_latents).view(2, n_latents)
    pre_tn[0] = torch.nan
    indices_tk = select_top_k(pre_tn, 2).indices_s.view(2, 2)
    assert indices_tk[1].tolist() == [n_latents - 2, n_latents - 1]
    assert indices_tk[0].unique().shape == (2,)


def test_a_value_equal_to_its_threshold_is_not_above_it():
    latents = select_above(torch.tensor([[1.0, 2.0, -1.0], [0.0, 2.5, 3.0]]), torch.tensor([0.5, 2.0, 0.0]))
    assert latents.indices_s.tolist() == [0, 1, 2]
    assert latents.offsets_t.tolist() == [0, 1, 3]


def test_torch_selects_the_same() -> None:
    pre_tn = torch.randn(20, 90, generator=torch.Generator().manual_seed(0))
    assert all(torch.equal(*pair) for pair in zip(select_top_k(pre_tn, 7), top_k_by_torch(pre_tn, 7), strict=True))
