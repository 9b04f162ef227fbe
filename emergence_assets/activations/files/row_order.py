"""Order of shuffled rows, decided by seed and epoch alone, independent of where the rows are stored.

Rows that fit into one slab are shuffled uniformly. More rows are shuffled in an order that can be read from a disk, or
computed by a model: blocks of neighbouring rows are drawn into slabs at random, and rows are shuffled within each slab.
The blocks of a slab are equal for all seeds, so that one pass serves all SAEs; the order within it is not. The order is
equal for rows on a device, in memory, on a disk, and rows that a model computes.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from math import ceil

import numpy as np
import torch

BLOCK_BYTES = 1 << 20
"""Neighbouring rows that are read together: reads of 1 MiB are as fast as a sequential scan, reads of single rows 60
times slower."""
SLAB_BYTES = 1 << 30
"""Default bytes of rows that are shuffled together; fixed, not derived from free memory, because it decides
the order of rows."""


@dataclass(frozen=True, eq=False)
class RowOrder:
    """The order of the rows of every epoch.

    Raises:
        ValueError: A number is below 1, or blocks are larger than slabs.
    """

    n_rows: int
    seed: int
    block_rows: int = 1
    """Least rows of a block but the last; without effect if all rows fit into a slab."""
    slab_rows: int = 1 << 62
    """Largest number of rows of a slab, which holds whole blocks."""
    text_starts: np.ndarray | None = None
    """First row of every text, ascending from 0: texts are not divided between blocks. By default every row is a
    text."""

    def __post_init__(self) -> None:
        if min(self.n_rows, self.block_rows, self.slab_rows) < 1 or self.block_rows > self.slab_rows:
            raise ValueError(f"rows, blocks and slabs have at least one row, and slabs hold blocks: {self}")

    @classmethod
    def for_rows(
        cls,
        n_rows: int,
        row_bytes: int,
        seed: int,
        slab_bytes: int = SLAB_BYTES,
        text_starts: np.ndarray | None = None,
    ) -> "RowOrder":
        """Make the order for rows of a size, with slabs of `slab_bytes` and blocks of 1 MiB (less in small slabs)."""
        block_rows = max(1, min(BLOCK_BYTES, slab_bytes // 16) // row_bytes)
        return cls(n_rows, seed, block_rows, max(block_rows, slab_bytes // row_bytes), text_starts)

    @property
    def is_uniform(self) -> bool:
        """Whether every order of the rows is equally likely."""
        return self.n_rows <= self.slab_rows

    @cached_property
    def _text_blocks(self) -> np.ndarray:
        """First row of every block of whole texts, and the number of rows: [blocks + 1]."""
        ends = np.append([] if self.text_starts is None else self.text_starts[1:], self.n_rows).astype(np.int64)
        starts = [0]
        while starts[-1] < self.n_rows:
            wanted = min(starts[-1] + self.block_rows, self.n_rows)
            starts.append(int(ends[np.searchsorted(ends, wanted)]))
        return np.array(starts)

    @property
    def _n_blocks(self) -> int:
        return ceil(self.n_rows / self.block_rows) if self.text_starts is None else len(self._text_blocks) - 1

    @property
    def _largest_block(self) -> int:
        return self.block_rows if self.text_starts is None else int(np.diff(self._text_blocks).max())

    @property
    def blocks_per_slab(self) -> int:
        """Blocks per slab; the last slab may have fewer, and a slab has at least one."""
        return 1 if self.is_uniform else max(1, self.slab_rows // self._largest_block)

    @property
    def most_rows(self) -> int:
        """Rows that a slab may have; more than `slab_rows` only where a single text is longer."""
        return self.n_rows if self.is_uniform else min(self.n_rows, self.blocks_per_slab * self._largest_block)

    @property
    def n_slabs(self) -> int:
        """Slabs of an epoch."""
        return 1 if self.is_uniform else ceil(self._n_blocks / self.blocks_per_slab)

    def slab_blocks(self, epoch: int, slab: int) -> np.ndarray:
        """Return first row and end of each block of a slab, ascending: [blocks, 2]; equal for all seeds."""
        if self.is_uniform:
            return np.array([[0, self.n_rows]])
        drawn = _permutation(self._n_blocks, [epoch])
        chosen = np.sort(drawn[slab * self.blocks_per_slab : (slab + 1) * self.blocks_per_slab]).astype(np.int64)
        if self.text_starts is not None:
            return np.stack([self._text_blocks[chosen], self._text_blocks[chosen + 1]], axis=1)
        starts = chosen * self.block_rows
        return np.stack([starts, np.minimum(starts + self.block_rows, self.n_rows)], axis=1)

    def slab_size(self, epoch: int, slab: int) -> int:
        """Return the number of rows of a slab."""
        return int(np.diff(self.slab_blocks(epoch, slab), axis=1).sum())

    def within_slab(self, epoch: int, slab: int) -> np.ndarray:
        """Return the shuffled positions of rows in a slab, counted over its blocks in order; int32 below 2^31 rows."""
        return _permutation(self.slab_size(epoch, slab), [self.seed, epoch, slab + 1])


def _permutation(n: int, entropy: Sequence[int]) -> np.ndarray:
    """Permute with torch: a third of the time of numpy, and half the memory while 32 bits are enough."""
    state = np.random.SeedSequence(entropy).generate_state(1, np.uint64)
    generator = torch.Generator().manual_seed(int(state[0]))
    return torch.randperm(n, generator=generator, dtype=torch.int32 if n < 1 << 31 else torch.int64).numpy()
