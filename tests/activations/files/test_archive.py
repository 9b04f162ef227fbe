"""The archive's codec: every array of bits comes back, and nothing else decompresses."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from emergence_assets.activations.files import archive
from emergence_assets.activations.files.archive import block_rows, compress, decompress
from resources.hdf5.hdf5 import NUMERIC_TYPES
from tests.activations.files.sample_file import DTYPES

shapes = st.tuples(st.integers(1, 70), st.integers(1, 40))


def round_trip(stored_td: np.ndarray) -> np.ndarray:
    blocks = list(compress(stored_td))
    offsets = [0, *np.cumsum([len(block) for block in blocks]).tolist()]
    compressed = np.frombuffer(b"".join(blocks), np.uint8)
    n_block_rows = block_rows(stored_td.shape[1] * stored_td.itemsize)
    return np.concatenate(list(decompress(compressed, offsets, n_block_rows, stored_td.shape, stored_td.dtype)))


@pytest.mark.parametrize("block_bytes", [1, 200, 4 << 20])
@settings(max_examples=60)
@given(data=st.data(), dtype=st.sampled_from(DTYPES), shape=shapes)
def test_any_bits_come_back(data: st.DataObject, dtype: str, shape: tuple[int, int], block_bytes: int) -> None:
    memory_dtype = NUMERIC_TYPES[dtype][1]
    bits_td = data.draw(arrays(f"<u{memory_dtype.itemsize}", shape))  # NaN of every kind among them
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(archive, "BLOCK_BYTES", block_bytes)
        found_td = round_trip(bits_td.view(memory_dtype))
    assert found_td.dtype == memory_dtype
    assert found_td.shape == shape
    assert found_td.tobytes() == bits_td.tobytes()


def test_rows_of_another_memory_order_come_back() -> None:
    stored_td = np.random.default_rng(0).normal(size=(16, 50)).astype("<f4").T
    np.testing.assert_array_equal(round_trip(stored_td), stored_td)
    np.testing.assert_array_equal(round_trip(stored_td[::-2]), stored_td[::-2])


def test_equal_rows_give_equal_archives() -> None:
    stored_td = np.random.default_rng(0).normal(size=(500, 16)).astype("<f2")
    assert list(compress(stored_td)) == list(compress(stored_td.copy()))


@settings(max_examples=100)
@given(st.integers(0, 1 << 30), st.integers(0, 7))
def test_a_changed_archive_fails_or_gives_arrays_of_the_right_shape(place: int, bit: int) -> None:
    stored_td = np.random.default_rng(0).normal(size=(64, 8)).astype("<f2")
    (block,) = compress(stored_td)
    changed = np.frombuffer(block, np.uint8).copy()
    changed[place % len(changed)] ^= 1 << bit
    try:
        (found_td,) = decompress(changed, [0, len(block)], 1000, stored_td.shape, stored_td.dtype)
    except ValueError:
        return
    assert (found_td.shape, found_td.dtype) == (stored_td.shape, stored_td.dtype)
