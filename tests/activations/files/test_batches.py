"""Shuffled batches have the same rows in the same order, in memory and on disk."""

import itertools
import threading
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from emergence_assets.activations.files import batches as batches_module
from emergence_assets.activations.files.batches import Regime, ShuffledRows, choose_regime
from emergence_assets.activations.files.reading import Rows, open_rows
from tests.activations.files.fork_server import ForkServer
from tests.activations.files.layer_files import random_rows, stored_rows, write_layer
from tests.activations.files.sample_file import DTYPES, write

REGIMES: tuple[Regime, ...] = ("device", "memory", "disk")
N_ROWS, D_MODEL = 500, 16
ROW_BYTES = 2 * D_MODEL
SLABS = {"larger than the rows": 1 << 20, "smaller than the rows": 50 * ROW_BYTES, "a row": 1}


@pytest.fixture(scope="module")
def numbered(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make rows whose first column is their number."""
    rows = random_rows(N_ROWS, D_MODEL)
    rows["resid_post"][:, 0] = np.arange(N_ROWS)
    return write(tmp_path_factory.mktemp("rows") / "layer.h5", rows, "float16", {})


def kept_rows(share: float) -> np.ndarray | None:
    return None if share == 1 else np.random.default_rng(0).random(N_ROWS) < share


def take(shuffled: ShuffledRows, n_batches: int, first: int = 0) -> list[torch.Tensor]:
    """Take batches, and end the reader."""
    generator = shuffled.batches(first)
    taken = list(itertools.islice(generator, n_batches))
    generator.close()  # pyright: ignore[reportAttributeAccessIssue]
    return taken


def numbers(batches: list[torch.Tensor]) -> list[int]:
    return torch.cat(batches)[:, 0].int().tolist()


@pytest.mark.parametrize("regime", REGIMES)
@pytest.mark.parametrize("share", [1, 0.7, 0.02])
@pytest.mark.parametrize("slab", SLABS)
def test_every_epoch_is_a_permutation_of_the_kept_rows(numbered: Path, regime: Regime, share: float, slab: str) -> None:
    kept_t = kept_rows(share)
    rows = open_rows(numbered, "resid_post")
    shuffled = ShuffledRows(rows, 1, 0, kept_t=kept_t, slab_bytes=SLABS[slab], regime=regime)
    expected = list(range(N_ROWS)) if kept_t is None else np.flatnonzero(kept_t).tolist()
    assert shuffled.n_rows == len(expected)
    seen = numbers(take(shuffled, 3 * len(expected)))
    epochs = [seen[start : start + len(expected)] for start in range(0, len(seen), len(expected))]
    assert all(sorted(epoch) == expected for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) == 3


@settings(max_examples=40)
@given(
    batch_size=st.integers(1, 1300),
    seed=st.integers(0, 1 << 40),
    share=st.sampled_from([1, 0.7, 0.02]),
    slab_bytes=st.sampled_from([1600, 5000, 16_000, 1 << 20]),
    first=st.integers(0, 40),
)
def test_batches_are_equal_bit_for_bit_wherever_the_rows_are(
    numbered: Path, batch_size: int, seed: int, share: float, slab_bytes: int, first: int
) -> None:
    settled = {"kept_t": kept_rows(share), "slab_bytes": slab_bytes}
    found = {
        regime: take(
            ShuffledRows(open_rows(numbered, "resid_post"), batch_size, seed, regime=regime, **settled), 5, first
        )
        for regime in REGIMES
    }
    found["tensor"] = take(
        ShuffledRows(open_rows(numbered, "resid_post").tensor(), batch_size, seed, **settled), 5, first
    )
    expected = found["memory"]
    assert all(batch.shape == (batch_size, D_MODEL) for batch in expected)
    assert all(all(map(torch.equal, batches, expected)) for batches in found.values())


@settings(max_examples=25)
@given(
    batch_size=st.integers(1, 1300),
    first=st.integers(0, 30),
    share=st.sampled_from([1, 0.7, 0.02]),
    slab_bytes=st.sampled_from([1600, 5000, 1 << 20]),
    regime=st.sampled_from(REGIMES),
)
def test_going_on_at_a_batch_is_the_same_as_passing_over_those_before(
    numbered: Path, batch_size: int, first: int, share: float, slab_bytes: int, regime: Regime
) -> None:
    rows, settled = open_rows(numbered, "resid_post"), {"kept_t": kept_rows(share), "slab_bytes": slab_bytes}
    shuffled = ShuffledRows(rows, batch_size, 3, regime=regime, **settled)
    through = take(shuffled, first + 4)
    assert all(map(torch.equal, take(shuffled, 4, first), through[first:]))


def test_the_order_depends_on_the_seed_and_not_on_the_batch(numbered: Path) -> None:
    rows = open_rows(numbered, "resid_post")

    def in_order(batch_size: int, seed: int) -> list[int]:
        return numbers(
            take(ShuffledRows(rows, batch_size, seed, slab_bytes=SLABS["smaller than the rows"]), 1000 // batch_size)
        )

    assert in_order(1, 0) == in_order(100, 0) == in_order(250, 0)
    assert in_order(100, 1) != in_order(100, 0)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("regime", REGIMES)
def test_batches_have_the_type_and_the_bits_of_the_file(tmp_path: Path, dtype: str, regime: Regime) -> None:
    path = write_layer(tmp_path / "layer.h5", "stored", dtype, N_ROWS, D_MODEL)
    expected = stored_rows(dtype, N_ROWS, D_MODEL).tensor()
    (batch,) = take(ShuffledRows(open_rows(path, "resid_post"), N_ROWS, 0, slab_bytes=4000, regime=regime), 1)
    assert batch.dtype == getattr(torch, dtype)
    assert {row.numpy().tobytes() for row in batch.view(torch.uint8)} == {
        row.numpy().tobytes() for row in expected.view(torch.uint8)
    }


@pytest.mark.parametrize("regime", REGIMES)
@pytest.mark.parametrize("share", [1, 0.7])
def test_the_first_slab_of_few_rows_has_the_kept_rows_in_the_order_of_the_file(
    numbered: Path, regime: Regime, share: float
) -> None:
    kept_t, rows = kept_rows(share), open_rows(numbered, "resid_post")
    shuffled = ShuffledRows(rows, 10, 0, kept_t=kept_t, regime=regime)
    expected = rows.tensor() if kept_t is None else rows.tensor()[torch.from_numpy(kept_t)]
    for n_rows in (1, 7, 10_000):
        assert torch.cat(list(shuffled.first_slab(n_rows))).equal(expected)


@pytest.mark.parametrize("regime", REGIMES)
@pytest.mark.parametrize("share", [1, 0.7])
def test_the_first_slab_of_many_rows_is_what_the_first_batches_have(
    numbered: Path, regime: Regime, share: float
) -> None:
    rows = open_rows(numbered, "resid_post")
    shuffled = ShuffledRows(rows, 10, 5, kept_t=kept_rows(share), regime=regime, slab_bytes=50 * ROW_BYTES)
    (first,) = shuffled.first_slab()
    assert 40 <= len(first) <= 50
    batches = numbers(take(shuffled, len(first) // 10))
    assert set(batches) <= set(numbers([first]))
    assert numbers([first]) == sorted(numbers([first]))


def test_a_batch_is_not_overwritten_by_those_after_it(numbered: Path) -> None:
    shuffled = ShuffledRows(open_rows(numbered, "resid_post"), 20, 0, slab_bytes=1600, regime="disk")
    taken = take(shuffled, 60)
    assert len(set(numbers(taken[:25]))) == N_ROWS


def test_settings_that_cannot_be_are_refused(numbered: Path) -> None:
    rows = open_rows(numbered, "resid_post")
    with pytest.raises(ValueError, match="no rows"):
        ShuffledRows(rows, 10, 0, kept_t=np.zeros(N_ROWS, bool))
    for n_rows in (3, N_ROWS + 1):
        with pytest.raises(ValueError, match="kept_t"):
            ShuffledRows(rows, 10, 0, kept_t=np.ones(n_rows, bool))
    for in_memory in (rows.tensor(), Rows(np.array(rows.array), "float16")):
        with pytest.raises(ValueError, match="mapped"):
            ShuffledRows(in_memory, 10, 0, regime="disk")


def test_the_regime_follows_from_size_and_memory(numbered: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batches_module, "available_memory", lambda: 1000)
    cpu = torch.device("cpu")
    assert choose_regime(500, cpu, on_disk=True) == "memory"
    assert choose_regime(501, cpu, on_disk=True) == "disk"
    assert choose_regime(501, cpu, on_disk=False) == "memory"
    rows = open_rows(numbered, "resid_post")
    assert ShuffledRows(rows, 1, 0).regime == "disk"
    few_t = np.arange(N_ROWS) < 500 // ROW_BYTES
    assert ShuffledRows(rows, 1, 0, kept_t=few_t).regime == "memory"
    assert ShuffledRows(rows.tensor(), 1, 0).regime == "memory"
    monkeypatch.setattr(batches_module, "available_memory", lambda: 1 << 40)
    assert ShuffledRows(rows, 1, 0).regime == "memory"


@pytest.mark.parametrize("n_taken", [0, 1, 5, 70])
def test_no_thread_goes_on_when_the_batches_are_left_early(numbered: Path, n_taken: int) -> None:
    shuffled = ShuffledRows(open_rows(numbered, "resid_post"), 20, 0, slab_bytes=1600, regime="disk")
    generator = shuffled.batches()
    for _ in range(n_taken):
        next(generator)
    assert n_taken == 0 or any(thread.name.startswith("activation reader") for thread in threading.enumerate())
    generator.close()  # pyright: ignore[reportAttributeAccessIssue]
    assert not any(thread.name.startswith("activation reader") for thread in threading.enumerate())


@pytest.mark.slow
def test_memory_stays_within_two_slabs_and_two_batches(tmp_path: Path, forks: ForkServer) -> None:
    forks.start("epoch_from_disk", tmp_path / "layer.h5", 256 << 20, 32 << 20)
    assert forks.wait() == [0]
