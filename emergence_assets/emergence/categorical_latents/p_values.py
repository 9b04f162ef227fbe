"""False discovery rate over more p-values than there is memory for: a tally of those that differ."""

import numpy as np
from numpy.typing import ArrayLike, NDArray


class PValueTally:
    """p-values of many cells, each kept once with how often it came.

    Hypergeometric p-values hang on four counts of texts, and all cells are measured on the same texts: a study has far
    fewer different ones than tests. What is kept grows with those, and the q-values are exact.
    """

    def __init__(self) -> None:
        self.n_tests = 0
        self._value, self._count = np.zeros(0), np.zeros(0, dtype=np.int64)
        self._waiting: list[NDArray[np.float64]] = []
        self._n_waiting = 0

    def add(self, p: ArrayLike, n_tests: int) -> None:
        """Take in the p-values of one cell.

        Args:
            p: those that are known.
            n_tests: tests of the cell, at least as many; p-values not given count as 1.
        """
        values = np.asarray(p, dtype=np.float64).ravel()
        if n_tests < len(values):
            raise ValueError(f"{len(values)} p-values of {n_tests} tests")
        self.n_tests += n_tests
        self._waiting.append(values)
        self._n_waiting += len(values)
        # Merged when as many wait as are kept, so that the work stays in proportion to what comes.
        if self._n_waiting > max(len(self._value), 1 << 16):
            self._merge()

    def q(self, p: ArrayLike) -> NDArray[np.float64]:
        """q-values of p-values that were taken in (Benjamini and Hochberg 1995), as if all were sorted at once."""
        self._merge()
        asked = np.asarray(p, dtype=np.float64)
        place = np.searchsorted(self._value, asked)
        if len(self._value) == 0 or (self._value[np.minimum(place, len(self._value) - 1)] != asked).any():
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
