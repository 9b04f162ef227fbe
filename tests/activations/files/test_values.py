"""Stored rows as tensors, and the moments of their columns."""

from pathlib import Path

import numpy as np
import torch

from emergence_assets.activations.files.layout import ROW_DATASETS
from emergence_assets.activations.files.moments import ColumnMoments
from emergence_assets.activations.files.reading import open_rows, read_stats
from tests.activations.files.sample_file import SAMPLE, sample_rows, write


def test_rows_go_to_torch_as_bfloat16_without_a_copy():
    rows = open_rows(SAMPLE, "resid_post")
    resid_td = rows.tensor()
    assert resid_td.dtype == torch.bfloat16
    assert resid_td.data_ptr() == rows.array.ctypes.data
    np.testing.assert_array_equal(resid_td.float().numpy(), sample_rows()["resid_post"])


def test_non_finite_values_are_counted_per_column(tmp_path: Path):
    rows = {name: np.ones((5, 3), np.float32) for name in ROW_DATASETS}
    rows["resid_post"][:2, 0] = np.nan
    rows["resid_post"][1, 1] = 1e6  # infinity in float16
    rows["resid_post"][:, 2] = np.inf
    stats = read_stats(write(tmp_path / "layer.h5", rows, "float16", {}))
    assert stats["nan_count"].tolist() == [2, 0, 0]
    assert stats["inf_count"].tolist() == [0, 1, 5]
    np.testing.assert_array_equal(stats["mean"], [1, 1, np.nan])
    np.testing.assert_array_equal(stats["max"], [1, 1, np.nan])


def test_moments_keep_a_small_variance_on_a_large_mean():
    x_td = (1e4 + np.random.default_rng(1).normal(0, 0.1, (9000, 4))).astype(np.float32)
    moments = ColumnMoments(4)
    for part in np.array_split(x_td, 7):
        moments.add(torch.from_numpy(part))
    np.testing.assert_allclose(moments.columns()["var"], x_td.astype(np.float64).var(0), rtol=1e-5)
