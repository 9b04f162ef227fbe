"""Shuffled batches of rows that are kept on the device, in memory, or on a disk that is larger than memory.

The order of rows is defined in `row_order.py` and equal in all three places. Imports torch.

Shape suffixes: t rows · d d_model.
"""

import mmap
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor

from emergence_assets.activations.files.reading import Rows
from emergence_assets.activations.files.row_order import SLAB_BYTES, RowOrder
from resources.compute.machine import available_memory

Regime = Literal["device", "memory", "disk"]


class ShuffledRows:
    """Endless batches of rows across epochs, which can start at any batch.

    Args:
        rows: A mapped dataset, or a tensor [t, d].
        batch_size: Rows per batch.
        seed: Seed of the order, together with the number of the epoch.
        device: Device of the batches.
        kept_t: Mask of the rows to use, bool [t]; by default all.
        slab_bytes: See `RowOrder`; the disk regime takes twice as much memory.
        regime: Where rows are kept; by default the fastest place that holds them. Does not change batches.

    Raises:
        ValueError: No row is kept, `kept_t` has another length, or the regime is disk but the rows are not on a disk.
    """

    def __init__(
        self,
        rows: Rows | Tensor,
        batch_size: int,
        seed: int,
        device: torch.device | str = "cpu",
        *,
        kept_t: np.ndarray | None = None,
        slab_bytes: int = SLAB_BYTES,
        regime: Regime | None = None,
    ):
        self.device, self.batch_size = torch.device(device), batch_size
        self._rows_td = rows.tensor() if isinstance(rows, Rows) else rows
        if kept_t is not None and kept_t.shape != self._rows_td.shape[:1]:
            raise ValueError(f"kept_t has shape {kept_t.shape}; there are {len(self._rows_td)} rows")
        self._kept = None if kept_t is None or bool(kept_t.all()) else np.flatnonzero(kept_t)
        self.n_rows = len(self._rows_td) if self._kept is None else len(self._kept)
        if self.n_rows < 1:
            raise ValueError("there are no rows to shuffle")
        self.d_model = self._rows_td.shape[1]
        row_bytes = self.d_model * self._rows_td.element_size()
        self.order = RowOrder.for_rows(self.n_rows, row_bytes, seed, slab_bytes)
        self._mapped = rows if isinstance(rows, Rows) and rows.is_mapped else None
        n_bytes = self.n_rows * row_bytes
        self.regime: Regime = regime or choose_regime(n_bytes, self.device, on_disk=self._mapped is not None)
        if self.regime == "device":
            kept_td = self._rows_td if self._kept is None else self._rows_td[torch.from_numpy(self._kept)]
            self._rows_td, self._kept = kept_td.to(self.device), None
        if self.regime == "disk" and self._mapped is None:
            raise ValueError("the disk regime needs a mapped dataset")

    def blocks(self, n_rows: int = 65_536) -> Iterator[Tensor]:
        """Yield all kept rows in order on the device, `n_rows` at a time."""
        for start in range(0, self.n_rows, n_rows):
            stop = min(start + n_rows, self.n_rows)
            if self._kept is None:
                yield self._rows_td[start:stop].to(self.device)
            else:
                yield self._rows_td[torch.from_numpy(self._kept[start:stop])].to(self.device)

    def batches(self, first: int = 0) -> Iterator[Tensor]:
        """Yield batches [batch_size, d] on the device, in the data type of the rows, from batch number `first` on."""
        position = first * self.batch_size
        epoch, row = divmod(position, self.n_rows)
        pieces = self._pieces(epoch, row)
        piece, done = next(pieces), 0
        while True:
            batch_td = self._empty_batch()
            filled = 0
            while filled < self.batch_size:
                if done == len(piece.order_t):
                    piece, done = next(pieces), 0
                n = min(self.batch_size - filled, len(piece.order_t) - done)
                chosen_t = piece.order_t[done : done + n]
                torch.index_select(piece.rows_td, 0, chosen_t, out=batch_td[filled : filled + n])
                filled, done = filled + n, done + n
            yield batch_td.to(self.device, non_blocking=True)

    def _empty_batch(self) -> Tensor:
        # Pinned memory is copied to a GPU without a wait; torch does not reuse it before the copy is done.
        staged = self.device.type == "cuda" and self.regime != "device"
        place = torch.device("cpu") if staged else self._rows_td.device
        return torch.empty((self.batch_size, self.d_model), dtype=self._rows_td.dtype, device=place, pin_memory=staged)

    def _pieces(self, first_epoch: int, row: int) -> Iterator["_Piece"]:
        """Yield slab after slab, starting at a row of an epoch."""
        if self.regime == "disk":
            yield from self._read_pieces(first_epoch, row)
        for epoch, slab, skipped in self._slabs(first_epoch, row):
            order = self.order.within_slab(epoch, slab)[skipped:]
            if not self.order.is_uniform:
                starts, ends = self.order.slab_blocks(epoch, slab).T
                order = np.concatenate([np.arange(a, b) for a, b in zip(starts, ends, strict=True)])[order]
            chosen = order if self._kept is None else self._kept[order]
            yield _Piece(self._rows_td, torch.from_numpy(chosen).to(self._rows_td.device))

    def _slabs(self, epoch: int, row: int) -> Iterator[tuple[int, int, int]]:
        """Yield epoch, slab, and the number of its rows to skip, without end."""
        while True:
            for slab in range(self.order.n_slabs):
                n_rows = int(np.diff(self.order.slab_blocks(epoch, slab), axis=1).sum())
                if row < n_rows:
                    yield epoch, slab, row
                row = max(0, row - n_rows)
            epoch += 1

    def _read_pieces(self, epoch: int, row: int) -> Iterator["_Piece"]:
        """Read the next slab while batches are taken from this one; copying releases the interpreter lock."""
        slabs = self._slabs(epoch, row)
        shape = (min(self.order.slab_rows, self.n_rows), self.d_model)
        buffers = [torch.empty(shape, dtype=self._rows_td.dtype) for _ in range(2)]
        with ThreadPoolExecutor(1, "activation reader") as reader:
            pending = reader.submit(self._read, next(slabs), buffers[0])
            turn = 0
            while True:
                piece = pending.result()
                turn = 1 - turn
                pending = reader.submit(self._read, next(slabs), buffers[turn])
                yield piece

    def _read(self, position: tuple[int, int, int], buffer_td: Tensor) -> "_Piece":
        epoch, slab, skipped = position
        filled = 0
        for start, end in self.order.slab_blocks(epoch, slab).tolist():
            target_td = buffer_td[filled : filled + end - start]
            if self._kept is None:
                self._advise(mmap.MADV_WILLNEED, start, end)
                target_td.copy_(self._rows_td[start:end])
            else:
                self._advise(mmap.MADV_WILLNEED, int(self._kept[start]), int(self._kept[end - 1]) + 1)
                torch.index_select(self._rows_td, 0, torch.from_numpy(self._kept[start:end]), out=target_td)
            filled += end - start
        # Pages that were read stay in the page cache but no longer count as memory of this process.
        self._advise(mmap.MADV_DONTNEED, 0, len(self._rows_td))
        return _Piece(buffer_td, torch.from_numpy(self.order.within_slab(epoch, slab)[skipped:]))

    def _advise(self, advice: int, start: int, end: int) -> None:
        if self._mapped is not None:
            self._mapped.expect(advice, start, end)


class _Piece(NamedTuple):
    """Rows with their order."""

    rows_td: Tensor
    order_t: Tensor


def choose_regime(n_bytes: int, device: torch.device, *, on_disk: bool) -> Regime:
    """Choose the fastest memory that holds the rows in half of its free bytes."""
    if device.type == "cuda" and n_bytes <= torch.cuda.mem_get_info(device)[0] // 2:
        return "device"
    return "disk" if on_disk and n_bytes > available_memory() // 2 else "memory"
