"""False discovery rate over more p-values than fit into memory: a tally of distinct values."""

import numpy as np
from numpy.typing import ArrayLike, NDArray


class PValueTally:
    """Tally of the p-values of many cells: distinct values with their counts.

    Hypergeometric p-values depend on four counts of texts, and all cells are measured on the same texts. A study
    therefore has far fewer distinct p-values than tests. Memory grows with the distinct values, and q-values are exact.
    """

    def __init__(self) -> None:
        self.n_tests = 0
        self._value, self._count = np.zeros(0), np.zeros(0, dtype=np.int64)
        self._waiting: list[NDArray[np.float64]] = []
        self._n_waiting = 0

    def add(self, p: ArrayLike, n_tests: int) -> None:
        """Add the p-values of one cell.

        Args:
            p: known p-values.
            n_tests: number of tests of the cell, at least `len(p)`; missing p-values count as 1.
        """
        values = np.asarray(p, dtype=np.float64).ravel()
        if n_tests < len(values):
            raise ValueError(f"{len(values)} p-values of {n_tests} tests")
        self.n_tests += n_tests
        self._waiting.append(values)
        self._n_waiting += len(values)
        # Merging only when as many values wait as are stored keeps the work proportional to the number of values.
        if self._n_waiting > max(len(self._value), 1 << 16):
            self._merge()

    def q(self, p: ArrayLike) -> NDArray[np.float64]:
        """Return the q-values of added p-values (Benjamini and Hochberg 1995), as if all were sorted at once."""
        self._merge()
        wanted = np.asarray(p, dtype=np.float64)
        place = np.searchsorted(self._value, wanted)
        if len(self._value) == 0 or (self._value[np.minimum(place, len(self._value) - 1)] != wanted).any():
            raise ValueError("a p-value that was not taken in has no q-value")
        rank = np.cumsum(self._count)
        q = np.minimum.accumulate((self._value * self.n_tests / rank)[::-1])[::-1]
        return np.minimum(q, 1)[place]

    def _merge(self) -> None:
        every = np.concatenate([self._value, *self._waiting])
        count = np.concatenate([self._count, np.ones(self._n_waiting, dtype=np.int64)])
        self._value, place = np.unique(every, return_inverse=True)
        self._count = np.bincount(place, count, len(self._value)).astype(np.int64)
        self._waiting, self._n_waiting = [], 0
