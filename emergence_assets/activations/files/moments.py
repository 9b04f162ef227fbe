"""Mean, variance, extremes and non-finite counts of columns, from blocks of rows.

Shape suffixes: t rows · d columns.
"""

import numpy as np
import torch
from torch import Tensor

BLOCK_VALUES = 1 << 18
"""Values per block; its float32 copy stays in cache from the first pass to the last."""


class ColumnMoments:
    """Running statistics of the finite values of each column; blocks are added, never averaged.

    Sums within a block are float32 about the mean of the block, sums across blocks are float64. Blocks are merged as in
    Chan, Golub & LeVeque (1983), "Algorithms for computing the sample variance".
    """

    def __init__(self, d_model: int):
        self.n_finite = np.zeros(d_model, np.int64)
        self.nan_count = np.zeros(d_model, np.int64)
        self.inf_count = np.zeros(d_model, np.int64)
        self._mean = np.zeros(d_model)
        self._squares = np.zeros(d_model)
        self._min = np.full(d_model, np.inf, np.float32)
        self._max = np.full(d_model, -np.inf, np.float32)
        self._block_td = torch.empty(max(1, BLOCK_VALUES // d_model), d_model)

    def add(self, x_td: Tensor) -> None:
        """Add rows of any float type, on the CPU."""
        for part_td in x_td.split(len(self._block_td)):
            self._add_block(part_td)

    def count_not_finite(self, x_td: Tensor) -> None:
        """Count NaN and infinity in rows that are otherwise left out."""
        for part_td in x_td.split(len(self._block_td)):
            # Minimum and maximum take a tenth of the time of a test of every value.
            if not bool(torch.isfinite(torch.stack(torch.aminmax(part_td))).all()):
                self.nan_count += part_td.isnan().sum(0).numpy()
                self.inf_count += part_td.isinf().sum(0).numpy()

    def _add_block(self, x_td: Tensor) -> None:
        wide_td = self._block_td[: len(x_td)]
        wide_td.copy_(x_td)  # torch converts half precision ten times as fast as numpy
        min_d, max_d = wide_td.amin(dim=0), wide_td.amax(dim=0)
        mean_d = wide_td.mean(dim=0)
        # A float32 mean has a rounding error, which matters if the mean is large; `left_d` is that error.
        left_d = wide_td.sub_(mean_d).mean(dim=0)
        squares_d = wide_td.mul_(wide_td).sum(dim=0) - len(x_td) * left_d.square()
        # NaN, infinity and an overflow of float32 propagate through all sums: the usual case needs no further test.
        if not bool(torch.isfinite(squares_d).all()):
            self._add_unusual_block(x_td.double().numpy())
            return
        n_d = np.full(x_td.shape[1], len(x_td), np.int64)
        exact_d = (mean_d.double() + left_d.double()).numpy()
        self._merge(n_d, exact_d, squares_d.clamp(min=0).double().numpy(), min_d.numpy(), max_d.numpy())

    def _add_unusual_block(self, x_td: np.ndarray) -> None:
        """Add a block with values that are not finite, or that overflow float32; computed in float64."""
        is_finite_td = np.isfinite(x_td)
        n_d = is_finite_td.sum(axis=0)
        self.nan_count += np.isnan(x_td).sum(axis=0)
        self.inf_count += np.isinf(x_td).sum(axis=0)
        min_d = np.where(is_finite_td, x_td, np.inf).min(axis=0)
        max_d = np.where(is_finite_td, x_td, -np.inf).max(axis=0)
        mean_d = np.where(is_finite_td, x_td, 0.0).sum(axis=0) / np.maximum(n_d, 1)
        centred_td = np.where(is_finite_td, x_td - mean_d, 0.0)
        self._merge(n_d, mean_d, np.einsum("td,td->d", centred_td, centred_td), min_d, max_d)

    def _merge(
        self, n_d: np.ndarray, mean_d: np.ndarray, squares_d: np.ndarray, min_d: np.ndarray, max_d: np.ndarray
    ) -> None:
        total_d = np.maximum(self.n_finite + n_d, 1)
        shift_d = mean_d - self._mean
        self._squares += squares_d + np.square(shift_d) * self.n_finite * n_d / total_d
        self._mean += shift_d * n_d / total_d
        self.n_finite += n_d
        self._min = np.minimum(self._min, min_d).astype(np.float32)
        self._max = np.maximum(self._max, max_d).astype(np.float32)

    def columns(self) -> dict[str, np.ndarray]:
        """Return mean, var (divided by n), min and max as float32, NaN without a finite value; counts as int64."""
        empty_d = self.n_finite == 0
        with np.errstate(over="ignore"):
            floats = {
                "mean": self._mean,
                "var": self._squares / np.maximum(self.n_finite, 1),
                "min": self._min,
                "max": self._max,
            }
            columns = {name: np.where(empty_d, np.nan, value_d).astype("<f4") for name, value_d in floats.items()}
        return columns | {"nan_count": self.nan_count.astype("<i8"), "inf_count": self.inf_count.astype("<i8")}
