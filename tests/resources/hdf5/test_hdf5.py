"""Numbers on their way into a file: rounding and types."""

import numpy as np
import pytest
import torch

from resources.hdf5.hdf5 import to_float32, to_storage


def test_bfloat16_rounds_like_torch():
    bits = np.random.default_rng(0).integers(0, 1 << 32, 200_000, dtype=np.uint64).astype(np.uint32)
    special = np.array(
        [0, 1 << 31, 0x7F800000, 0xFF800000, 0x7F7FFFFF, 0x43808000, 0x43818000, 1, 0x7F800001], np.uint32
    )
    values = np.concatenate([bits, special]).view(np.float32)
    expected = torch.from_numpy(values).to(torch.bfloat16)
    stored = to_storage(values, "bfloat16")
    is_nan = np.isnan(values)
    np.testing.assert_array_equal(stored[~is_nan], expected.view(torch.uint16).numpy()[~is_nan])
    assert np.isnan(to_float32(stored, "bfloat16")[is_nan]).all()


def test_bfloat16_bits_pass_unchanged():
    bits = np.arange(1 << 16, dtype=np.uint16)
    np.testing.assert_array_equal(to_storage(bits, "bfloat16"), bits)
    finite = np.isfinite(to_float32(bits, "bfloat16"))
    np.testing.assert_array_equal(to_storage(to_float32(bits, "bfloat16"), "bfloat16")[finite], bits[finite])


def test_integers_are_refused_as_activations():
    with pytest.raises(TypeError, match="floats"):
        to_storage(np.zeros((2, 2), np.int32), "float16")
