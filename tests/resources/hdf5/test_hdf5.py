"""Numbers on their way into a file: rounding, types, moments."""

import numpy as np
import pytest
import torch

from emergence_assets.activations.files.layout import ROW_DATASETS
from emergence_assets.activations.files.moments import ColumnMoments
from emergence_assets.activations.files.reading import open_rows, read_stats
from resources.hdf5.hdf5 import to_float32, to_storage
from tests.activations.files.sample_file import SAMPLE, sample_rows, write


def test_bfloat16_rounds_like_torch():
    import torch

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


def test_rows_go_to_torch_as_bfloat16_without_a_copy():
    rows = open_rows(SAMPLE, "resid_post")
    resid_td = rows.tensor()
    assert resid_td.dtype == torch.bfloat16
    assert resid_td.data_ptr() == rows.array.ctypes.data
    np.testing.assert_array_equal(resid_td.float().numpy(), sample_rows()["resid_post"])


def test_integers_are_refused_as_activations():
    with pytest.raises(TypeError, match="floats"):
        to_storage(np.zeros((2, 2), np.int32), "float16")


def test_non_finite_values_are_counted_per_column(tmp_path):
    rows = {name: np.ones((5, 3), np.float32) for name in ROW_DATASETS}
    rows["resid_post"][:2, 0] = np.nan
    rows["resid_post"][1, 1] = 1e6  # infinity in float16
    rows["resid_post"][:, 2] = np.inf
    stats = read_stats(write(tmp_path / "layer.h5", rows, "float16", {}))
    assert stats.nan_count.tolist() == [2, 0, 0]
    assert stats.inf_count.tolist() == [0, 1, 5]
    np.testing.assert_array_equal(stats.mean, [1, 1, np.nan])
    np.testing.assert_array_equal(stats.max, [1, 1, np.nan])


def test_moments_keep_a_small_variance_on_a_large_mean():
    x_td = (1e4 + np.random.default_rng(1).normal(0, 0.1, (9000, 4))).astype(np.float32)
    moments = ColumnMoments(4)
    for part in np.array_split(x_td, 7):
        moments.add(torch.from_numpy(part))
    np.testing.assert_allclose(moments.columns()["var"], x_td.astype(np.float64).var(0), rtol=1e-5)
