"""Order of rows: every row once per epoch, determined by seed and epoch, with neighbours far apart."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import spearmanr

from emergence_assets.activations.files.row_order import BLOCK_BYTES, RowOrder


def rows_in_order(order: RowOrder, epoch: int) -> np.ndarray:
    """Return the row numbers of an epoch in their order."""
    slabs = []
    for slab in range(order.n_slabs):
        rows = np.concatenate([np.arange(start, end) for start, end in order.slab_blocks(epoch, slab)])
        slabs.append(rows[order.within_slab(epoch, slab)])
    return np.concatenate(slabs)


orders = st.builds(
    lambda n_rows, seed, block_rows, blocks: RowOrder(n_rows, seed, block_rows, block_rows * blocks),
    st.integers(1, 300),
    st.integers(0, 1 << 40),
    st.integers(1, 20),
    st.integers(1, 20),
)


@given(orders, st.integers(0, 1000))
def test_every_epoch_has_every_row_once(order: RowOrder, epoch: int) -> None:
    assert sorted(rows_in_order(order, epoch)) == list(range(order.n_rows))


@given(orders, st.integers(0, 1000))
def test_no_slab_is_larger_than_it_may_be(order: RowOrder, epoch: int) -> None:
    for slab in range(order.n_slabs):
        n_rows = int(np.diff(order.slab_blocks(epoch, slab), axis=1).sum())
        assert 0 < n_rows <= min(order.slab_rows, order.n_rows)


@given(orders, st.integers(0, 1000))
def test_equal_settings_give_an_equal_order(order: RowOrder, epoch: int) -> None:
    again = RowOrder(order.n_rows, order.seed, order.block_rows, order.slab_rows)
    np.testing.assert_array_equal(rows_in_order(order, epoch), rows_in_order(again, epoch))


@pytest.mark.parametrize("slab_rows", [1 << 62, 128])
def test_every_seed_and_every_epoch_has_an_order_of_its_own(slab_rows: int) -> None:
    seen = {
        rows_in_order(RowOrder(1000, seed, 16, slab_rows), epoch).tobytes() for seed in range(8) for epoch in range(8)
    }
    assert len(seen) == 64


def test_slabs_of_all_seeds_have_the_same_rows_and_those_of_other_epochs_have_others() -> None:
    """One pass over the rows of a slab serves every SAE."""
    blocks = [RowOrder(1000, seed, 16, 128).slab_blocks(epoch, 3) for epoch in (0, 1) for seed in (0, 1)]
    np.testing.assert_array_equal(blocks[0], blocks[1])
    assert not np.array_equal(blocks[0], blocks[2])


@given(
    st.lists(st.integers(1, 30), min_size=1, max_size=60), st.integers(1, 40), st.integers(1, 4), st.integers(0, 1000)
)
def test_texts_are_not_divided_between_blocks(lengths: list[int], block_rows: int, blocks: int, epoch: int) -> None:
    starts = np.concatenate([[0], np.cumsum(lengths)])
    order = RowOrder(int(starts[-1]), 7, block_rows, block_rows * blocks, text_starts=starts[:-1])
    assert sorted(rows_in_order(order, epoch)) == list(range(order.n_rows))
    for slab in range(order.n_slabs):
        assert np.isin(order.slab_blocks(epoch, slab), starts).all()
        assert order.slab_size(epoch, slab) <= order.most_rows
    assert order.most_rows <= max(order.slab_rows, max(lengths) + block_rows)


def test_large_seeds_and_epochs_are_not_confused() -> None:
    # numpy splits a number above 2 ** 32 in two: seed 5 + 7 * 2 ** 32 in epoch 0 must not be seed 5 in epoch 7.
    large = rows_in_order(RowOrder(1000, 5 + (7 << 32), 16, 128), 0)
    assert not np.array_equal(large, rows_in_order(RowOrder(1000, 5, 16, 128), 7))


def test_rows_that_fit_into_a_slab_come_in_an_order_that_does_not_depend_on_its_size() -> None:
    orders = [
        RowOrder(1000, 3, block_rows, slab_rows) for block_rows, slab_rows in ((1, 1000), (16, 5000), (1, 1 << 62))
    ]
    first, *others = (rows_in_order(order, 2).tolist() for order in orders)
    assert all(order.is_uniform for order in orders)
    assert all(other == first for other in others)


@pytest.mark.parametrize("slab_rows", [1 << 62, 4096])
def test_the_order_has_little_to_do_with_that_of_the_file(slab_rows: int) -> None:
    n_rows = 65_536  # 1024 blocks, 64 in each of 16 slabs
    for epoch in range(3):
        rows = rows_in_order(RowOrder(n_rows, 0, 64, slab_rows), epoch)
        # The correlation of a random order has standard deviation 1 / sqrt(n); that of 1024 random blocks 1 / 32.
        assert abs(spearmanr(rows, np.arange(n_rows)).statistic) < 4 / 32
        assert abs(spearmanr(rows[1:], rows[:-1]).statistic) < 0.2


@pytest.mark.parametrize("slab_rows", [1 << 62, 4096])
def test_neighbours_in_the_file_seldom_come_into_one_batch(slab_rows: int) -> None:
    n_rows, batch_size = 65_536, 256
    rows = rows_in_order(RowOrder(n_rows, 0, 64, slab_rows), 0)
    batch_of = np.empty(n_rows, np.int64)
    batch_of[rows] = np.arange(n_rows) // batch_size
    together = float((batch_of[1:] == batch_of[:-1]).mean())
    n_batches_of_a_slab = min(n_rows, slab_rows) // batch_size
    assert together < 1.2 / n_batches_of_a_slab


def test_a_batch_draws_from_many_blocks() -> None:
    rows = rows_in_order(RowOrder(65_536, 0, 64, 4096), 0)
    blocks_of_batches = [len(np.unique(batch // 64)) for batch in rows.reshape(-1, 256)]
    assert min(blocks_of_batches) > 50  # of 64 in the slab


def test_all_rows_reach_every_place_alike() -> None:
    places = np.zeros((12, 12))
    for epoch in range(2000):
        places[rows_in_order(RowOrder(12, 0, 2, 4), epoch), np.arange(12)] += 1
    assert np.abs(places - 2000 / 12).max() < 6 * np.sqrt(2000 / 12)


@pytest.mark.parametrize("row_bytes", [64, 1024, 32_768, 4 << 20])
@pytest.mark.parametrize("slab_bytes", [1 << 10, 1 << 24, 1 << 30])
def test_slabs_and_blocks_have_the_requested_bytes(row_bytes: int, slab_bytes: int) -> None:
    order = RowOrder.for_rows(1 << 40, row_bytes, 0, slab_bytes)
    assert order.block_rows == 1 or order.block_rows * row_bytes <= min(BLOCK_BYTES, slab_bytes // 16)
    assert order.slab_rows == 1 or order.slab_rows * row_bytes <= slab_bytes
    if row_bytes * 16 <= slab_bytes:
        assert order.blocks_per_slab >= 15


@pytest.mark.parametrize(
    "wrong", [{"n_rows": 0}, {"block_rows": 0}, {"slab_rows": 0}, {"block_rows": 9, "slab_rows": 8}]
)
def test_orders_that_cannot_be_are_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="at least one row"):
        RowOrder(**{"n_rows": 5, "seed": 0} | wrong)
